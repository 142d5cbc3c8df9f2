"""Which of a picture's faces an evaluation looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from operators.batch import Batch
from operators.images import ImageError, decode_rgb
from operators.types import OperatorConfig, OperatorInfo


@dataclass(frozen=True)
class FaceChooserConfig(OperatorConfig):
    """Nothing to choose."""


class FaceChooser:
    """`result_landmarks68_px`: iBUG-68 of the face that most of the hole lies on; of the most confident one without a hole.

    NaN where no face was found: the row's other numbers stand, and its status stays.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "FaceChooser", "1", ("given_mask_bytes", "landmarks68_px", "box_xyxy_px"), ("result_landmarks68_px",)
    )

    def __init__(self, config: FaceChooserConfig = FaceChooserConfig(), assets: object | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        found = np.full((len(batch), 68, 2), np.nan, np.float32)
        for i in range(len(batch)):
            faces = np.flatnonzero(batch.face_row == i)
            points = (
                batch.faces["landmarks68_px"][faces] if len(faces) and "landmarks68_px" in batch.faces else np.zeros((0, 68, 2))
            )
            known = np.isfinite(points).all((1, 2))
            if known.any():
                mask = batch.rows["given_mask_bytes"][i]
                found[i] = points[known][_most_hidden(points[known], mask)]
        batch.put_row("result_landmarks68_px", found)
        return batch


def _most_hidden(points: np.ndarray, mask: bytes | None) -> int:
    """The face with most of its landmarks inside the hole, the first of equals."""
    try:
        hole = decode_rgb(mask).max(-1) >= 128 if mask else np.zeros((1, 1), bool)
    except ImageError:
        return 0
    index = np.clip(np.floor(points).astype(int), 0, [hole.shape[1] - 1, hole.shape[0] - 1])
    return int(hole[index[..., 1], index[..., 0]].sum(1).argmax())
