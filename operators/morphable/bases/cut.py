"""A base cut to some of its vertices."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool

from operators.morphable.bases.cylinder import cylindrical_uv
from operators.morphable.bases.holes import close_holes
from operators.morphable.bases.labels import LIPS, region
from operators.morphable.basis import BasisError, FaceBasis, SurfacePoints

NOT_FACE = ("ear", "neck", "scalp", "head")


def face_only(basis: FaceBasis) -> FaceBasis:
    """For drawing over photos: without ears, neck, scalp and what else lies outside the face, and with the mouth closed.

    UVs are laid out anew, so that the face fills the texture, unless a texture is tied to them.
    Errors: BasisError when the base has no region labels.
    """
    if not len(basis.regions):
        raise BasisError(f"{basis.name}: has no region labels, so nothing to cut by: use it whole")
    keep = _smooth(~np.isin(basis.regions, [region(name) for name in NOT_FACE]), basis)
    face = close_mouth(cut(replace(basis, name=f"{basis.name}_face"), keep))
    if face.texture_px:
        return face
    uv, corners = cylindrical_uv(face.mean, face.triangles, face.surface_points("68").at(face.mean))
    return replace(face, uv=uv, uv_triangles=corners.astype(np.int32))


def _smooth(keep: np.ndarray, basis: FaceBasis, rounds: int = 3) -> np.ndarray:
    """A selection with what anchors the landmarks, and without teeth along its border: kept is what has kept neighbours."""
    needed = np.zeros(len(keep), bool)
    for anchors in (basis.surface_points("68"), basis.surface_points("468")):
        needed[anchors.vertices.ravel()] = True
    share = (keep | needed).astype(float)
    pairs = np.concatenate([basis.triangles[:, [i, j]] for i in range(3) for j in range(3) if i != j])
    count = np.bincount(pairs[:, 0], minlength=len(keep))
    for _ in range(rounds):
        share = (share + np.bincount(pairs[:, 0], share[pairs[:, 1]], len(keep)) / np.maximum(count, 1)) / 2
    return needed | (share > 0.4)


def close_mouth(basis: FaceBasis) -> FaceBasis:
    """A strip of triangles over the opening between the lips, where there is one: the loop whose middle lies within them."""
    mesh = basis.surface_points("468").at(basis.mean)
    lips = mesh[list(LIPS), :2].astype(np.float32)

    def in_mouth(loop: list[int]) -> bool:
        x, y = basis.mean[loop, :2].mean(0)
        return cv2.pointPolygonTest(lips.reshape(-1, 1, 2), (float(x), float(y)), False) > 0

    triangles, uv_triangles = close_holes(basis.mean, basis.triangles, basis.uv_triangles, in_mouth)
    return replace(basis, triangles=triangles, uv_triangles=uv_triangles)


def cut(basis: FaceBasis, keep: Bool[np.ndarray, " vertices"]) -> FaceBasis:
    """The triangles whose corners are all kept, and the vertices that they use.

    Errors: BasisError when a landmark would be lost.
    """
    inside = keep[basis.triangles].all(1)
    triangles, uv_triangles = basis.triangles[inside], basis.uv_triangles[inside]
    used = np.unique(triangles)
    place = np.full(len(basis.mean), -1, np.int32)
    place[used] = np.arange(len(used))
    uv_used, uv_index = np.unique(uv_triangles, return_inverse=True)
    mirror = place[basis.mirror[used]]
    lost = mirror < 0
    if lost.any():
        from scipy.spatial import KDTree

        mean = basis.mean[used]
        mirror[lost] = KDTree(mean).query(basis.mean[basis.mirror[used[lost]]])[1]

    def anchors(points: SurfacePoints | None) -> SurfacePoints | None:
        return None if points is None else SurfacePoints(place[points.vertices], points.weights)

    on_vertices = basis.texture_px == 0
    small = replace(
        basis, mean=basis.mean[used], identity=basis.identity[:, used], expression=basis.expression[:, used],
        triangles=place[triangles], uv=basis.uv[uv_used], uv_triangles=uv_index.reshape(-1, 3).astype(np.int32),
        albedo_mean=basis.albedo_mean[used] if on_vertices else basis.albedo_mean,
        albedo=basis.albedo[:, used] if on_vertices else basis.albedo, landmarks68=place[basis.landmarks68],
        landmarks468=place[basis.landmarks468], mirror=mirror, regions=basis.regions[used if len(basis.regions) else []],
        anchors68=anchors(basis.anchors68), anchors468=anchors(basis.anchors468),
    )  # fmt: skip
    tables = [small.landmarks68, small.landmarks468]
    tables += [points.vertices for points in (small.anchors68, small.anchors468) if points is not None]
    if min(int(table.min(initial=0)) for table in tables) < 0:
        raise BasisError(f"{basis.name}: the cut would lose a landmark")
    return small
