"""A `FaceBasis` as tensors: vertices, landmark points and normals from coefficients, batched over faces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from operators.faces.ibug68 import VERTICES
from operators.morphable.basis import FaceBasis
from operators.morphable.normals import vertex_normals


@dataclass(frozen=True)
class LinearPoints:
    """Points linear in the coefficients: `mean + modes . c`; the first `identity` of the modes are identity."""

    mean: Float[Tensor, "points 3"]
    modes: Float[Tensor, "points 3 modes"]
    identity: int

    def only(self, index: Any) -> LinearPoints:
        """Some of the points."""
        return LinearPoints(self.mean[index], self.modes[index].contiguous(), self.identity)

    @cached_property
    def padded(self) -> Float[Tensor, "points 3 padded"]:
        """The modes with zero columns up to a multiple of 16."""
        return torch.nn.functional.pad(self.modes, (0, -self.modes.shape[-1] % _ROWS)).contiguous()

    def at(self, coefficients: Float[Tensor, "faces modes"]) -> Float[Tensor, "faces points 3"]:
        """Points in the face frame."""
        return self.mean + rows_times(self.modes.flatten(0, 1), coefficients).unflatten(1, (-1, 3))


_ROWS = 16


def rows_times(matrix: Float[Tensor, "rows modes"], coefficients: Float[Tensor, "faces modes"]) -> Float[Tensor, "faces rows"]:
    # Products of one fixed size: the bits of a face must not depend on how many others share its batch.
    padded = torch.nn.functional.pad(coefficients, (0, 0, 0, -len(coefficients) % _ROWS))
    return torch.cat([chunk @ matrix.T for chunk in padded.split(_ROWS)])[: len(coefficients)]


class MorphableModel:
    """Tensors of a face basis on one device, with the modes of identity and expression side by side."""

    def __init__(self, basis: FaceBasis, device: str = "cpu", dtype: torch.dtype = torch.float32):
        self.basis, self.device, self.dtype = basis, torch.device(device), dtype
        modes = np.concatenate((basis.identity, basis.expression)).astype(np.float32)
        self.identity_count, self.expression_count = len(basis.identity), len(basis.expression)
        self.shape = LinearPoints(
            self._tensor(basis.mean), self._tensor(modes.transpose(1, 2, 0)).contiguous(), self.identity_count
        )
        self.triangles = torch.as_tensor(np.ascontiguousarray(basis.triangles), dtype=torch.int64, device=self.device)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=self.dtype, device=self.device)

    def points(self, kind: str) -> LinearPoints:
        """The landmark rows of the model alone: `68` or `468`, each a weighted mean of a few vertices.

        Errors: ValueError when the basis has no face-mesh correspondence.
        """
        anchors = self.basis.surface_points(kind)
        index = torch.as_tensor(anchors.vertices.astype(np.int64), device=self.device)
        weights = self._tensor(anchors.weights)
        mean, modes = (
            self.shape.mean[index[:, 0]] * weights[:, 0, None],
            self.shape.modes[index[:, 0]] * weights[:, 0, None, None],
        )
        for k in range(1, index.shape[1]):
            mean = mean + self.shape.mean[index[:, k]] * weights[:, k, None]
            modes = modes + self.shape.modes[index[:, k]] * weights[:, k, None, None]
        return LinearPoints(mean, modes.contiguous(), self.identity_count)

    def mouth(self, kind: str) -> Bool[Tensor, " points"]:
        """Which of the `points` lie on the lips."""
        if kind == "68":
            lips = np.arange(68) >= 48
        elif self.basis.anchors468 is not None:
            lips = np.isin(np.arange(468), VERTICES[48:])
        else:
            lips = np.isin(self.basis.landmarks468, self.basis.landmarks68[48:])
        return torch.as_tensor(lips, device=self.device)

    def vertices(self, coefficients: Float[Tensor, "faces modes"]) -> Float[Tensor, "faces vertices 3"]:
        """All vertices in the face frame from identity and expression coefficients, in the basis's unit."""
        return self.shape.at(coefficients)

    def normals(self, vertices: Float[Tensor, "faces vertices 3"]) -> Float[Tensor, "faces vertices 3"]:
        """Unit vertex normals, as `operators.morphable.normals` has them."""
        return vertex_normals(vertices, self.triangles)
