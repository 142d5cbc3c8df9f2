"""The 468 face-mesh points on any face: the canonical face mesh laid over the base's mean face.

A similarity on the inner landmarks, then a smooth warp (biharmonic in space, r; Duchon 1977) through all 68, then the nearest
point of the surface. Points of the mesh whose place is known (`known`) steer the warp as further landmarks.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from operators.faces.canonical import canonical_mesh
from operators.faces.ibug68 import VERTICES
from operators.morphable.bases.surface import nearest_points, normals_of
from operators.morphable.basis import SurfacePoints
from operators.segment.regions import JAW

LOOSE = range(17, 30)
"""Brows and the bridge of the nose: sources place these landmarks differently along the line, so the warp passes near them, not
through them (smoothing weight one outer-eye distance)."""


def register_mesh(
    vertices: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    landmarks: Float[np.ndarray, "68 3"] | None,
    known: tuple[Int[np.ndarray, " known"], Float[np.ndarray, "known 3"]] | None = None,
) -> SurfacePoints:
    """Anchors of the 468 face-mesh points in a mesh whose iBUG-68 landmarks are at `landmarks`, or that `known` points tell."""
    from scipy.interpolate import RBFInterpolator

    canonical = canonical_mesh() * [1.0, -1.0, -1.0]
    source, target, loose = np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    if known is not None:
        source, target, loose = canonical[known[0]], known[1].astype(np.float64), np.zeros(len(known[0]))
    if landmarks is not None:
        of68 = canonical[np.array(VERTICES)].mean(1)
        new = np.linalg.norm(of68[:, None] - source[None], axis=-1).min(1, initial=np.inf) > 1e-6
        source, target = np.concatenate((source, of68[new])), np.concatenate((target, landmarks[new].astype(np.float64)))
        loose = np.concatenate((loose, np.isin(np.arange(68), LOOSE)[new].astype(float)))
    source, first = np.unique(source, axis=0, return_index=True)
    target, loose = target[first], loose[first]
    inner = np.linalg.norm(source[:, None] - canonical[list(JAW)][None], axis=-1).min(1) > 1e-6
    fixed = source[inner], target[inner]
    source, placed = (_similar(*fixed, p) for p in (source, canonical))
    size = np.linalg.norm(placed[263] - placed[33])
    warped = RBFInterpolator(source, target, kernel="linear", degree=1, smoothing=loose * size)(placed)  # type: ignore[arg-type]
    return nearest_points(warped, vertices.astype(np.float64), triangles, normals_of(warped, canonical_triangles()))


def _similar(source: np.ndarray, target: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points after the similarity that takes source to target best (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    scale = (s * sign).sum() / np.square(a).sum()
    return scale * (points - source.mean(0)) @ ((u * sign) @ vt).T + target.mean(0)


def canonical_triangles() -> Int[np.ndarray, "898 3"]:
    """Triangles of the canonical face mesh, counter-clockwise seen from outside."""
    from operators.faces.canonical import _FILE

    with np.load(_FILE, allow_pickle=False) as file:
        return file["triangles"].astype(np.int64)
