"""Masks that lie on the fitted face: they turn and bulge with the head, and the photo's own light falls on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from operators.morphable.bases import load_basis
from operators.morphable.basis import FaceBasis
from operators.synthesize.base import Layer, Outfit


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
    albedo: Float[np.ndarray, " albedo"] | None = None

    @classmethod
    def of(cls, faces: dict[str, np.ndarray], index: int, crop_px: int = 256) -> FittedFace:
        """Face `index` of a batch's face columns."""
        names = ("identity", "expression", "light", "rotation_deg", "translation", "crop_from_image", "landmarks468_px", "albedo")
        parts: dict[str, Any] = {name: np.asarray(faces[name][index]) for name in names}
        return cls(**parts, focal_px=float(faces["focal_px"][index]), crop_px=crop_px)


@dataclass(frozen=True)
class WearStyle:
    """How a mask is worn. None leaves a property to the seed.

    `height` moves the upper edge: 0 = on the bridge of the nose, 1 = just under the nose, 2 = on the chin, below 0 =
    towards the eyes. `tilt_deg` turns the mask in the face's plane; `size` scales it; `gap_mm` is the air between cloth and skin; `wrinkles` and
    `shadow` scale folds and the shadow on the skin.
    """

    height: float | None = None
    tilt_deg: float | None = None
    size: float | None = None
    gap_mm: float | None = None
    wrinkles: float | None = None
    shadow: float = 1.0
    straps: bool = True


@dataclass(frozen=True)
class Worn:
    """A mask on a face: the layer to `lay` on the photo, and the share of the projected face (hull of the 468 landmarks) it
    covers; `height` is the upper edge's (see `WearStyle`)."""

    layer: Layer
    coverage: float
    height: float


class MaskWearer:
    """Puts masks of every type on fitted faces of one base; the same seed gives the same pixels."""

    def __init__(self, basis: FaceBasis | str = "open_face"):
        self.basis = load_basis(basis) if isinstance(basis, str) else basis

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        face: FittedFace,
        outfit: Outfit,
        seed: int,
        coverage: float | None = None,
        style: WearStyle = WearStyle(),
    ) -> Worn:
        """The mask as a layer of the whole picture. `coverage` is a target share of the face, reached by moving the upper edge and,
        beyond that, by size; `Worn.coverage` says what was reached. A face outside the picture gives an empty layer.

        Errors: ValueError for an outfit whose type is no mask.
        """
        raise NotImplementedError
