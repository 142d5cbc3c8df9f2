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

    `landmarks68_in_hole` says which of them the hole hides. NaN and False where no face was found: the row's other numbers
    stand, and its status stays.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "FaceChooser",
        "2",
        ("given_mask_bytes", "landmarks68_px", "box_xyxy_px"),
        ("result_landmarks68_px", "landmarks68_in_hole"),
    )

    def __init__(self, config: FaceChooserConfig = FaceChooserConfig(), assets: object | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        found = np.full((len(batch), 68, 2), np.nan, np.float32)
        hidden = np.zeros((len(batch), 68), bool)
        for i in range(len(batch)):
            faces = np.flatnonzero(batch.face_row == i)
            points = (
                batch.faces["landmarks68_px"][faces] if len(faces) and "landmarks68_px" in batch.faces else np.zeros((0, 68, 2))
            )
            known = np.isfinite(points).all((1, 2))
            if known.any():
                inside = _hidden(points[known], batch.rows["given_mask_bytes"][i])
                chosen = inside.sum(1).argmax()
                found[i], hidden[i] = points[known][chosen], inside[chosen]
        batch.put_row("result_landmarks68_px", found)
        batch.put_row("landmarks68_in_hole", hidden)
        return batch


def _hidden(points: np.ndarray, mask: bytes | None) -> np.ndarray:
    """Which landmarks (faces, 68) lie inside the hole; those outside the picture do not."""
    try:
        hole = decode_rgb(mask).max(-1) >= 128 if mask else np.zeros((1, 1), bool)
    except ImageError:
        hole = np.zeros((1, 1), bool)
    index = np.floor(points).astype(int)
    size = np.array([hole.shape[1], hole.shape[0]])
    x, y = np.moveaxis(np.clip(index, 0, size - 1), -1, 0)
    return hole[y, x] & ((index >= 0) & (index < size)).all(-1)
