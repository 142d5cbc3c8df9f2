"""Procrustes alignment of face meshes and their mirror images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def similarity(
    source: Float[np.ndarray, "*faces vertices 3"], target: Float[np.ndarray, "vertices 3"]
) -> Float[np.ndarray, "*faces vertices 3"]:
    """Each source moved onto the target by the best rotation, scale and shift (Umeyama 1991); never a reflection."""
    mean = source.mean(-2, keepdims=True)
    goal = target.mean(0)
    centred = source - mean
    u, s, vt = np.linalg.svd(np.swapaxes(centred, -1, -2) @ (target - goal))
    sign = np.ones_like(s)
    sign[..., 2] = np.sign(np.linalg.det(u @ vt))
    scale = (s * sign).sum(-1) / (centred**2).sum((-1, -2))
    return scale[..., None, None] * centred @ ((u * sign[..., None, :]) @ vt) + goal


def mirrored(
    points: Float[np.ndarray, "*faces vertices 3"], mirror: Int[np.ndarray, " vertices"]
) -> Float[np.ndarray, "*faces vertices 3"]:
    """The mirror image with each vertex renamed to its partner, so that it is a face of the same topology."""
    return points[..., mirror, :] * np.array([-1.0, 1.0, 1.0])


def align_faces(
    faces: Float[np.ndarray, "faces vertices 3"],
    mirror: Int[np.ndarray, " vertices"],
    start: Float[np.ndarray, "vertices 3"],
    rounds: int = 6,
) -> Float[np.ndarray, "faces vertices 3"]:
    """Landmark meshes (face frame, any scale) aligned to their own symmetric mean, in the pose and size of `start`.

    Generalized Procrustes analysis (Gower 1975).
    """
    mean, moved = start, faces
    for _ in range(rounds):
        moved = similarity(faces, mean)
        mean = moved.mean(0)
        mean = similarity((mean + mirrored(mean, mirror)) / 2, start)
    return moved
