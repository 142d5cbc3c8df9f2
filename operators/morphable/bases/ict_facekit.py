"""ICT-FaceKit (USC ICT, MIT licence; Li et al. 2020) as a face basis: the face region, closed at eyes and mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from operators.morphable.basis import FaceBasis
from operators.morphable.light import frontal_light

FACE_VERTICES = 9409
"""The face region is the first vertices of the file."""
EXPRESSION_STD = 0.3
"""Spread given to blendshape activations, which the kit leaves open: one unit of a coefficient moves a shape by this much."""
SKIN_RGB = (0.76, 0.58, 0.49)


def load_ict_facekit(path: str | Path, identity: int = 100, expression: int = 57) -> FaceBasis:
    """Basis from `ict_facekit.npz` with the first `identity` and `expression` modes; unit centimetre.

    The kit has no albedo: a plain skin colour with brightness, tint and left-right modes stands in.
    """
    with np.load(path, allow_pickle=False) as data:
        mean = data["neutral"][:FACE_VERTICES].astype(np.float32)
        inside = (data["faces"] < FACE_VERTICES).all(1)
        triangles, uv_triangles = data["faces"][inside].astype(np.int32), data["faces_uv"][inside].astype(np.int32)
        uv = data["uv"].astype(np.float32)
        identities = data["identity"][:identity, :FACE_VERTICES].astype(np.float32)
        expressions = data["expression"][:expression, :FACE_VERTICES].astype(np.float32) * np.float32(EXPRESSION_STD)
        landmarks = data["landmarks68"].astype(np.int32)
    triangles, uv_triangles = close_holes(triangles, uv_triangles)
    used, uv_index = np.unique(uv_triangles, return_inverse=True)
    uv = uv[used] * [1, -1] + [0, 1]
    light = frontal_light().numpy()
    albedo_mean = np.tile(np.array(SKIN_RGB, np.float32), (len(mean), 1))
    return FaceBasis(
        name="ict_facekit", licence="MIT", unit="cm", mean=mean, identity=identities, expression=expressions,
        triangles=triangles, uv=uv.astype(np.float32), uv_triangles=uv_index.reshape(-1, 3).astype(np.int32),
        albedo_mean=albedo_mean, albedo=_albedo_modes(mean), texture_px=0, landmarks68=np.stack((landmarks, landmarks), 1),
        landmarks468=np.zeros(0, np.int32), mirror=mirror_by_position(mean), light_mean=light,
        light_std=np.full((9, 3), 0.3, np.float32),
    )  # fmt: skip


def _albedo_modes(mean: Float[np.ndarray, "vertices 3"]) -> Float[np.ndarray, "5 vertices 3"]:
    x, y, z = ((mean - mean.mean(0)) / mean.std(0)).T
    one = np.ones_like(x)
    colours = ((0.12, 0.12, 0.12), (0.04, 0.0, -0.04), (0.03, 0.02, 0.02), (0.03, 0.02, 0.02), (0.03, 0.02, 0.02))
    return np.stack([s[:, None] * np.array(c) for s, c in zip((one, one, x, y, z), colours, strict=True)]).astype(np.float32)


def mirror_by_position(mean: Float[np.ndarray, "vertices 3"]) -> Int[np.ndarray, " vertices"]:
    """Vertex nearest to each vertex's reflection in the plane x = 0."""
    from scipy.spatial import KDTree

    return np.asarray(KDTree(mean).query(mean * [-1, 1, 1])[1], np.int32)


def close_holes(
    triangles: Int[np.ndarray, "triangles 3"], uv_triangles: Int[np.ndarray, "triangles 3"]
) -> tuple[Int[np.ndarray, "more 3"], Int[np.ndarray, "more 3"]]:
    """Strips of triangles over every boundary loop but the longest (eyes, mouth), with the UV points of their rims."""
    edges = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    known = set(map(tuple, edges.tolist()))
    follower = {b: a for a, b in known if (b, a) not in known}
    uv_of = dict(zip(triangles.ravel().tolist(), uv_triangles.ravel().tolist(), strict=True))
    loops = []
    while follower:
        loop = [next(iter(follower))]
        while loop[-1] in follower:
            loop.append(follower.pop(loop[-1]))
        loops.append(loop[:-1])
    extra = []
    for loop in sorted(loops, key=len)[:-1]:
        low, high = 0, len(loop) - 1
        while high - low >= 2:
            extra.append((loop[low], loop[low + 1], loop[high]))
            low += 1
            if high - low >= 2:
                extra.append((loop[low], loop[high - 1], loop[high]))
                high -= 1
    if not extra:
        return triangles, uv_triangles
    added = np.array(extra, dtype=triangles.dtype)
    added_uv = np.array([[uv_of[v] for v in t] for t in extra], dtype=uv_triangles.dtype)
    return np.concatenate((triangles, added)), np.concatenate((uv_triangles, added_uv))
