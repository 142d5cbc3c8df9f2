"""One fitted face as masks need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class FittedFace:
    """One face as `MorphableFitter` left it (units of `operators.columns`), with the photo's landmarks."""

    identity: Float[np.ndarray, " identity"]
    expression: Float[np.ndarray, " expression"]
    light: Float[np.ndarray, "9 3"]
    rotation_deg: Float[np.ndarray, "3"]
    translation: Float[np.ndarray, "3"]
    focal_px: float
    crop_from_image: Float[np.ndarray, "2 3"]
    crop_px: int
    landmarks468_px: Float[np.ndarray, "468 k"]

    @classmethod
    def of(cls, faces: Mapping[str, np.ndarray], index: int, crop_px: int | None = None) -> FittedFace:
        """Face `index` of a batch's face columns; `crop_px` is the crop's size where the column `crop` is gone."""
        names = ("identity", "expression", "light", "rotation_deg", "translation", "crop_from_image", "landmarks468_px")
        parts: dict[str, Any] = {name: np.asarray(faces[name][index]) for name in names}
        return cls(**parts, focal_px=float(faces["focal_px"][index]), crop_px=crop_px or int(faces["crop"].shape[1]))

    @property
    def complete(self) -> bool:
        """Whether the fit succeeded: coefficients of faces that could not be fitted are NaN."""
        fit = (self.identity, self.expression, self.light, self.rotation_deg, self.translation, self.crop_from_image)
        found = np.isfinite(self.landmarks468_px[:, :2]).all(1).any()
        return bool(all(np.isfinite(part).all() for part in fit) and np.isfinite(self.focal_px) and found)

    @property
    def points_px(self) -> Float[np.ndarray, "468 2"]:
        """The landmarks' places in the photo."""
        return np.asarray(self.landmarks468_px)[:, :2]
