"""Baselines on whole pictures, with the exact hole given: what any method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from operators.batch import Batch
from operators.images import ImageError, decode_rgb, encode
from operators.inpaint.telea import Kind, continued
from operators.types import REJECTED, OperatorConfig, OperatorInfo, option

BASELINES = ("truth", "masked", "telea", "navier_stokes")


@dataclass(frozen=True)
class BaselineFillerConfig(OperatorConfig):
    """How baselines fill."""

    radius_px: float = option(3.0, "telea, navier_stokes: radius of the neighbourhood that each pixel is made from")


class BaselineFiller:
    """Puts the baseline's picture in place of `image_bytes` in rows whose `baseline` names one; the others pass.

    truth = the picture without the mask; masked = the input; telea and navier_stokes = cv2.inpaint with the exact hole. A
    row that lacks what its baseline needs is rejected.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "BaselineFiller", "1", ("baseline", "image_bytes", "truth_bytes", "given_mask_bytes"), ("image_bytes", "input_bytes")
    )

    def __init__(self, config: BaselineFillerConfig = BaselineFillerConfig(), assets: object | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        before = batch.rows["image_bytes"]
        images = list(before)
        for i in batch.live_rows():
            baseline = batch.rows["baseline"][i]
            if baseline == "truth":
                images[i] = batch.rows["truth_bytes"][i] or b""
                if not images[i]:
                    batch.mark_row(i, REJECTED, self.info.name, "MissingTruthError", "the sample has no truth beside it")
            elif baseline == "telea" or baseline == "navier_stokes":
                try:
                    images[i] = encode(self._filled(images[i], batch.rows["given_mask_bytes"][i], baseline))
                except (ImageError, ValueError) as error:
                    batch.mark_row(i, REJECTED, self.info.name, type(error).__name__, str(error))
        batch.replace_images(images)
        batch.rows["input_bytes"] = [old if old is not new else None for old, new in zip(before, images, strict=True)]
        return batch

    def _filled(self, image: bytes, mask: bytes | None, baseline: Kind) -> UInt8[np.ndarray, "h w 3"]:
        picture = decode_rgb(image)
        if not mask:
            return picture
        hole = decode_rgb(mask).max(-1) >= 128
        if hole.shape != picture.shape[:2]:
            raise ValueError(f"the mask is {hole.shape[1]}x{hole.shape[0]}, its picture {picture.shape[1]}x{picture.shape[0]}")
        return continued(picture, hole, baseline, self.config.radius_px)
