"""One upright crop per face, and the map back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.geometry import invert_similarity, square_to_crop, transform_points, warp
from operators.types import OperatorConfig, OperatorInfo, option

_EYE_CORNERS_LEFT, _EYE_CORNERS_RIGHT = (33, 133), (362, 263)


@dataclass(frozen=True)
class FaceAlignerConfig(OperatorConfig):
    """Size and framing of the crop."""

    crop_px: int = option(256, "side of the crop in pixels")
    margin: float = option(1.6, "side of the crop relative to the larger side of the upright mesh box")


class FaceAligner:
    """Similarity-transformed crop: the eye line level, the mesh's upright bounding box in the middle.

    Beyond the photo its edge is repeated and `crop_valid` is False.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FaceAligner",
        version="1",
        reads=("image_bytes", "landmarks468_px"),
        writes=("crop_from_image", "crop", "crop_valid"),
    )

    def __init__(self, config: FaceAlignerConfig = FaceAlignerConfig(), assets: AssetStore | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        if not len(live):
            return batch
        matrices = self.matrices(batch.faces["landmarks468_px"][live])
        size = self.config.crop_px
        crops, valid = [], []
        for j, matrix in zip(live, matrices, strict=True):
            frame = batch.frame(int(batch.face_row[j]))
            crops.append(warp(frame, matrix, size))
            valid.append(_inside(matrix, size, frame.shape[1], frame.shape[0]))
        batch.put("crop_from_image", matrices, live)
        batch.put("crop", np.stack(crops), live)
        batch.put("crop_valid", np.stack(valid), live)
        return batch

    def matrices(self, mesh_px: np.ndarray) -> np.ndarray:
        """(faces 2 3) full-image to crop pixels, from the mesh (faces 468 k)."""
        points = mesh_px[..., :2].astype(np.float64)
        left, right = points[:, list(_EYE_CORNERS_LEFT)].mean(1), points[:, list(_EYE_CORNERS_RIGHT)].mean(1)
        x, y = (right - left).T
        angle = np.arctan2(y, x)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.stack((np.stack((cos, sin), -1), np.stack((-sin, cos), -1)), 1)
        upright = np.einsum("fij,fpj->fpi", turn, points)
        low, high = upright.min(1), upright.max(1)
        centre = np.einsum("fji,fj->fi", turn, (low + high) / 2)
        side = np.maximum((high - low).max(1), 1.0) * self.config.margin
        return square_to_crop(centre, side, angle, self.config.crop_px).astype(np.float32)


def _inside(matrix: np.ndarray, size: int, width: int, height: int) -> np.ndarray:
    """Crop pixels whose centre lies inside the photo."""
    ys, xs = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5, indexing="ij")
    points = transform_points(invert_similarity(matrix.astype(np.float64)), np.stack((xs, ys), -1).reshape(-1, 2))
    good = (points >= 0).all(1) & (points[:, 0] <= width) & (points[:, 1] <= height)
    return good.reshape(size, size)
