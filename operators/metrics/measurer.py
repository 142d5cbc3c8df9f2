"""Measure every picture of a batch against its truth, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from operators.assets import AssetStore
from operators.batch import Batch
from operators.columns import REGIONS
from operators.metrics.conventions import ConventionName
from operators.metrics.pairs import PairConfig, pairs
from operators.metrics.pixels import compare, rim_of
from operators.metrics.segmentation import boundary_f, iou
from operators.types import OperatorInfo, option


def _columns(region: str) -> tuple[str, str, str]:
    return f"psnr_{region}_db", f"ssim_{region}", f"l1_{region}"


_SCORES = ("segmentation_iou", "boundary_f")


@dataclass(frozen=True)
class PixelMeasurerConfig(PairConfig):
    """How pictures are compared."""

    convention: ConventionName = option("ours", "whose PSNR, SSIM and L1: ours, or as a paper's evaluation code computes them")
    rim_px: float = option(16.0, "width of the rim outside the hole, pixels")


class PixelMeasurer:
    """PSNR, SSIM and L1 inside the hole, in its rim and over the picture; IoU and boundary F of the occluder that was found.

    `image_bytes` is the result, `truth_bytes` the truth, `given_mask_bytes` the hole (white; none = empty), and
    `given_alpha_bytes` the true occluder's opacity (without it the hole is the true occluder), compared with
    `result_mask_bytes`. A row whose pictures cannot be decoded, or are of different sizes, is rejected and says why.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="PixelMeasurer",
        version="1",
        reads=("image_bytes", "truth_bytes", "given_mask_bytes", "given_alpha_bytes", "result_mask_bytes"),
        writes=("hole_pixels", "rim_pixels", *(column for region in REGIONS for column in _columns(region)), *_SCORES),
    )

    def __init__(
        self, config: PixelMeasurerConfig = PixelMeasurerConfig(), assets: AssetStore | None = None, device: str = "cpu"
    ):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        values: dict[str, np.ndarray] = {name: np.full(len(batch), np.nan) for name in self.info.writes}
        for name in ("hole_pixels", "rim_pixels"):
            values[name] = np.zeros(len(batch), np.int64)
        for pair in pairs(batch, self.config, self.info.name, masks=True):
            i, hole = pair.row, pair.hole
            rim = rim_of(hole, self.config.rim_px)
            values["hole_pixels"][i], values["rim_pixels"][i] = hole.sum(), rim.sum()
            regions: dict[str, Bool[np.ndarray, "h w"] | None] = {"hole": hole, "rim": rim, "image": None}
            for region, measured in compare(pair.image, pair.truth, regions, self.config.convention).items():
                for name, measure in zip(_columns(region), (measured.psnr_db, measured.ssim, measured.l1), strict=True):
                    values[name][i] = measure.value
            if pair.found is not None:
                values["segmentation_iou"][i] = iou(pair.found, pair.occluder).value
                values["boundary_f"][i] = boundary_f(pair.found, pair.occluder).value
        for name, column in values.items():
            batch.put_row(name, column)
        return batch
