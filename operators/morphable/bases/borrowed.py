"""Albedo for a base that has none: the shipped base's, carried over by the face mesh."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from operators.morphable.bases.labels import LIPS, inside_outline
from operators.morphable.bases.register import canonical_triangles
from operators.morphable.bases.surface import nearest_points
from operators.morphable.basis import FaceBasis

SKIN = (50, 280, 205, 425, 151)
"""Face-mesh points on cheeks and forehead, whose mean stands for the skin beyond the face mesh."""
LIP_LINE = (61, 78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 291)
"""Face-mesh points along the closed mouth, from the viewer's left."""
MOUTH = np.float32(0.25)
"""Brightness of what lies behind the lips, as a share of the skin's."""
FADE = 0.12
"""Distance from the face mesh, in outer-eye distances, over which albedo turns into that mean, or into the mouth's dark."""


def borrowed_albedo(
    vertices: Float[np.ndarray, "vertices 3"], mesh: Float[np.ndarray, "468 3"]
) -> tuple[Float[np.ndarray, "vertices 3"], Float[np.ndarray, "albedo vertices 3"], FaceBasis]:
    """Mean and modes of `open_face`'s albedo on a mesh whose face-mesh points lie at `mesh`, and the base that they come from."""
    from operators.morphable.bases import load_basis

    lender = load_basis("open_face")
    mesh = mesh.astype(np.float64)
    reach = FADE * np.linalg.norm(mesh[263] - mesh[33])
    low, high = mesh.min(0) - reach, mesh.max(0) + reach
    near = np.flatnonzero(((vertices >= low) & (vertices <= high)).all(1))
    surface = nearest_points(vertices[near].astype(np.float64), mesh, canonical_triangles(), near=5)
    distance = np.linalg.norm(vertices[near] - surface.at(mesh), axis=1)
    share = np.clip(1 - distance / reach, 0, 1).astype(np.float32)
    place = (lender.uv[surface.vertices] * surface.weights[..., None]).sum(1)
    stacked = np.concatenate((lender.albedo_mean[None], lender.albedo))
    there = _sample(stacked, lender.texture_px, place)
    skin = _sample(stacked, lender.texture_px, lender.uv[list(SKIN)]).mean(1, keepdims=True)
    blended = np.repeat(skin, len(vertices), 1)
    line = mesh[list(LIP_LINE)]
    depth = np.interp(vertices[:, 0], line[:, 0], line[:, 2]) - vertices[:, 2]
    behind = (depth > 0.1 * reach) & (depth < 5 * reach)  # beyond lies the neck
    blended[:, behind & inside_outline(vertices, mesh[list(LIPS)])] = MOUTH * skin
    blended[:, near] += share[:, None] * (there - blended[:, near])
    return blended[0], blended[1:], lender


def _sample(texture: np.ndarray, px: int, uv: np.ndarray) -> np.ndarray:
    """Bilinear values (layers, points, 3) of a square texture (layers, texels, 3) in row order, v down."""
    at = np.clip(uv * px - 0.5, 0, px - 1)
    low = np.minimum(np.floor(at).astype(int), px - 2)
    part = (at - low).astype(np.float32)
    out = np.zeros((len(texture), len(uv), 3), np.float32)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            out += texture[:, (low[:, 1] + dy) * px + low[:, 0] + dx] * weight[:, None]
    return out
