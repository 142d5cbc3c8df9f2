"""A linear 3D face model in memory, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class FaceBasis:
    """Mean face, its modes of variation, and what is needed to fit, texture and draw it.

    Face frame: x to the viewer's right, y up, z towards the camera (see operators.types). Modes are scaled by their
    standard deviation, so that coefficients have unit variance: `vertices = mean + identity.T c_i + expression.T c_e`.

    Albedo lives on `texels`: on the vertices when `texture_px` is 0 (texels = vertices), else on a square UV texture of
    `texture_px` pixels a side in row order (texels = texture_px ** 2, texel (row r, column c) covers
    u in [c, c+1] / texture_px and v in [r, r+1] / texture_px, so v runs down). Albedo is linear-light-free RGB in [0, 1].
    """

    name: str
    licence: str
    unit: str
    mean: Float[np.ndarray, "vertices 3"]
    identity: Float[np.ndarray, "identity vertices 3"]
    expression: Float[np.ndarray, "expression vertices 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    uv: Float[np.ndarray, "uvs 2"]
    uv_triangles: Int[np.ndarray, "triangles 3"]
    albedo_mean: Float[np.ndarray, "texels 3"]
    albedo: Float[np.ndarray, "albedo texels 3"]
    texture_px: int
    landmarks68: Int[np.ndarray, "68 2"]
    """Two vertices whose mean is the landmark (twice the same where one suffices)."""
    landmarks468: Int[np.ndarray, "mesh_points"]
    """Vertex of each face-mesh point; empty when the basis has no such correspondence."""
    mirror: Int[np.ndarray, "vertices"]
    """Vertex on the other side of the face."""
    light_mean: Float[np.ndarray, "9 3"]
    """Mean spherical-harmonics light over the training photos; frontal white light when unknown."""
    light_std: Float[np.ndarray, "9 3"]
