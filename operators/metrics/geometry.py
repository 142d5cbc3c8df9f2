"""Errors of meshes and poses against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class VertexErrors:
    """Distances between two meshes in correspondence, as shares of the outer eye distance, one per face."""

    mean: Float[np.ndarray, " faces"]
    rms: Float[np.ndarray, " faces"]


def vertex_errors(
    vertices: Float[np.ndarray, "faces vertices 3"], truth: Float[np.ndarray, "faces vertices 3"], outer_eyes: tuple[int, int],
    where: Bool[np.ndarray, " vertices"] | None = None,
) -> VertexErrors:  # fmt: skip
    """Vertex distances after the similarity that brings all vertices onto the truth best (Umeyama 1991).

    `outer_eyes` are the vertices of the outer eye corners, whose distance in the truth is the unit. Distances are taken over
    the vertices `where`, the similarity over all.
    """
    moved = similarity_aligned(vertices, truth)
    distance = np.linalg.norm(moved - truth, axis=-1)
    if where is not None:
        distance = distance[:, where]
    unit = np.linalg.norm(truth[:, outer_eyes[0]] - truth[:, outer_eyes[1]], axis=-1)
    return VertexErrors(distance.mean(1) / unit, np.sqrt((distance**2).mean(1)) / unit)


def similarity_aligned(
    points: Float[np.ndarray, "faces points 3"], target: Float[np.ndarray, "faces points 3"]
) -> Float[np.ndarray, "faces points 3"]:
    """Each set of points after the rotation, scale and shift that bring it closest to its target (Umeyama 1991)."""
    p, t = (x.astype(np.float64) for x in (points, target))
    p0, t0 = p.mean(1, keepdims=True), t.mean(1, keepdims=True)
    p, t = p - p0, t - t0
    u, s, vt = np.linalg.svd(np.swapaxes(p, 1, 2) @ t)
    sign = np.ones_like(s)
    sign[:, -1] = np.sign(np.linalg.det(u @ vt))
    scale = (s * sign).sum(1) / (p**2).sum((1, 2))
    return (p @ ((u * sign[:, None]) @ vt)) * scale[:, None, None] + t0


def rotation_error_deg(
    rotation: Float[np.ndarray, "faces 3 3"], truth: Float[np.ndarray, "faces 3 3"]
) -> Float[np.ndarray, " faces"]:
    """Angle of the rotation between two rotations, in degrees."""
    trace = (rotation.astype(np.float64) * truth).sum((1, 2))
    return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def similarity_onto(points: Float[np.ndarray, "points 2"], target: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "2 3"]:
    """The rotation, scale and shift (no mirror) that bring points of the plane closest to their targets, least squares.

    In complex numbers target = a point + b, which is a linear problem. Points that are all in one place only shift.
    """
    p, t = (x[:, 0] + 1j * x[:, 1] for x in (points.astype(np.float64), target.astype(np.float64)))
    centred = p - p.mean()
    spread = float((abs(centred) ** 2).sum())
    a = (np.conj(centred) * (t - t.mean())).sum() / spread if spread else 1.0 + 0j
    b = t.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
