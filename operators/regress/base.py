"""What a regressor of face model parameters is, once its own conventions have been taken off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from operators.morphable.basis import BasisError, FaceBasis
from operators.morphable.model import LinearPoints
from operators.regress.alignment import Aligned


@dataclass(frozen=True)
class Regressed:
    """A face of our basis as a network sees it in its aligned picture.

    `rotation` is our R in the aligned picture; `projected` where sample points of the basis fall in it (pixels of the picture,
    v down); `focal_px` the focal length there, NaN where the camera has none; `light` holds in the frame in which the face is
    turned by `light_rotation`.
    """

    coefficients: Float[Tensor, "faces modes"]
    albedo: Float[Tensor, "faces albedo"]
    light: Float[Tensor, "faces 9 3"]
    light_rotation: Float[Tensor, "faces 3 3"]
    rotation: Float[Tensor, "faces 3 3"]
    projected: Float[Tensor, "faces points 2"]
    focal_px: Float[Tensor, " faces"]


class Regressor(Protocol):
    """A network, how its picture is cut, and what its numbers mean."""

    def align(self, photo: np.ndarray, landmarks: Float[np.ndarray, "68 2"]) -> Aligned:
        """Its picture of one face. Errors: AlignmentError."""
        ...

    def __call__(self, pictures: Float[Tensor, "faces 3 side side"]) -> Regressed:
        """Faces from pictures in [0, 1]."""
        ...


def own_coefficients(
    basis: FaceBasis, official: dict[str, Float[Tensor, "faces modes"]]
) -> dict[str, Float[Tensor, "faces modes"]]:
    """Unit-variance coefficients of the basis from official ones; modes of the basis that the network does not know stay 0."""
    assert basis.native is not None
    out = {}
    for part, values in official.items():
        count = values.shape[1]
        scale, offset = (
            torch.as_tensor(getattr(basis.native, f"{part}_{what}"), dtype=values.dtype, device=values.device)
            for what in ("scale", "offset")
        )
        own = (values - offset[:count]) / scale[:count]
        out[part] = torch.nn.functional.pad(own, (0, len(getattr(basis, part)) - count))
    return out


def need_basis(basis: FaceBasis, network: str, convention: str, counts: dict[str, int], use: str) -> FaceBasis:
    """The basis, if a network's coefficients are its coefficients. Errors: BasisError that says which basis to use."""
    if basis.native is None or not basis.native.convention.startswith(convention):
        raise BasisError(f"basis {basis.name}: {network}'s coefficients are not of this base: use {use}")
    for part, count in counts.items():
        have = len(getattr(basis, part))
        if have < count:
            modes = " ".join(str(value) for value in counts.values())
            raise BasisError(
                f"basis {basis.name}: has {have} {part} modes, {network} gives {count}: "
                f"convert the base again with --modes {modes}"
            )
    return basis


def some_vertices(points: LinearPoints, most: int = 512) -> LinearPoints:
    """Vertices at even steps through the mesh."""
    count = len(points.mean)
    return points.only(torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).round().long())
