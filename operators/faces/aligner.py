"""One upright square crop per face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.geometry import inside_image, square_to_crop, warp_to_crop
from operators.faces.landmarker import regions_of_meshes
from operators.types import OperatorConfig, OperatorInfo, option


@dataclass(frozen=True)
class FaceAlignerConfig(OperatorConfig):
    """Size and framing of the crops."""

    crop_px: int = option(256, "side of the crop in pixels")
    margin: float = option(1.6, "side of the crop in sides of the levelled face mesh's bounding box")


class FaceAligner:
    """Writes the crop, the similarity that leads to it, and which of its pixels lie inside the photo.

    The eyes become level, the mesh's bounding box central. Outside the photo its edge is repeated.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="face_aligner",
        version="1",
        reads=("image_bytes", "landmarks468_px"),
        writes=("crop_from_image", "crop", "crop_valid"),
    )

    def __init__(self, config: FaceAlignerConfig = FaceAlignerConfig(), assets: AssetStore | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        index = batch.live_faces()
        if not len(index):
            return batch
        crop_px = self.config.crop_px
        regions = regions_of_meshes(batch.faces["landmarks468_px"][index].astype(np.float64), self.config.margin)
        # What is stored is float32: warp with exactly that.
        matrices = square_to_crop(*regions, crop_px).astype(np.float32)
        rows = [int(i) for i in batch.face_row[index]]
        crops = [warp_to_crop(batch.frame(i), m, crop_px, replicate=True) for i, m in zip(rows, matrices, strict=True)]
        sizes = np.array([batch.frame(i).shape[1::-1] for i in rows], np.float64)
        batch.put("crop_from_image", matrices, index)
        batch.put("crop", np.stack(crops), index)
        batch.put("crop_valid", inside_image(matrices, crop_px, sizes), index)
        return batch
