"""Geometry that every converter needs: nearest surface points, orientation of triangles, mirror images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from operators.morphable.basis import SurfacePoints
from operators.morphable.uv import vertex_normals

CHUNK = 1024


def nearest_points(
    query: Float[np.ndarray, "points 3"],
    vertices: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    normals: Float[np.ndarray, "points 3"] | None = None,
    near: int = 12,
) -> SurfacePoints:
    """Nearest point of a mesh to each query point, among the triangles of its `near` nearest vertices.

    With `normals`, on triangles that face the same way where there are any.
    """
    from scipy.spatial import KDTree

    used = np.unique(triangles)
    near = min(near, len(used))
    close = used[np.reshape(KDTree(vertices[used]).query(query, k=near)[1], (len(query), near))]
    around = _triangles_of_vertices(triangles, len(vertices))
    face = np.cross(vertices[triangles[:, 1]] - vertices[triangles[:, 0]], vertices[triangles[:, 2]] - vertices[triangles[:, 0]])
    corners, weights = np.empty((len(query), 3), np.int32), np.empty((len(query), 3), np.float32)
    for start in range(0, len(query), CHUNK):
        part = slice(start, start + CHUNK)
        candidates = around[close[part]].reshape(len(close[part]), -1)
        bary, distance = _closest(query[part, None], vertices[triangles[candidates]])
        distance[candidates < 0] = np.inf
        if normals is not None:
            away = (face[candidates] * normals[part, None]).sum(-1) <= 0
            away &= ~(away | (candidates < 0)).all(1, keepdims=True)
            distance[away] = np.inf
        best = distance.argmin(1)
        rows = np.arange(len(best))
        corners[part], weights[part] = triangles[candidates[rows, best]], bary[rows, best]
    return SurfacePoints(corners, weights)


def _triangles_of_vertices(triangles: np.ndarray, count: int) -> np.ndarray:
    """(count, most) triangles of each vertex, -1 where it has fewer."""
    order = np.argsort(triangles.ravel(), kind="stable")
    corner = triangles.ravel()[order]
    start = np.searchsorted(corner, np.arange(count + 1))
    most = int(np.diff(start).max())
    out = np.full((count, most), -1)
    out[corner, np.arange(len(corner)) - start[corner]] = order // 3
    return out


def _closest(point: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric coordinates of the point of each triangle (..., 3, 3) that is nearest to a point, and squared distances.

    The foot of the perpendicular where it falls inside, else the best of the three sides (Ericson 2005, 5.1.5 as a minimum).
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    ab, ac, ap = b - a, c - a, point - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = d00 * d11 - d01 * d01
    safe = np.where(area > 0, area, 1)
    v, w = (d11 * d20 - d01 * d21) / safe, (d00 * d21 - d01 * d20) / safe
    best = np.stack((1 - v - w, v, w), -1)
    distance = np.square((best[..., None] * corners).sum(-2) - point).sum(-1)
    distance[~((best >= 0).all(-1) & (area > 0))] = np.inf
    for i, j in ((0, 1), (1, 2), (2, 0)):
        side = corners[..., j, :] - corners[..., i, :]
        length = (side * side).sum(-1)
        t = np.clip(((point - corners[..., i, :]) * side).sum(-1) / np.where(length > 0, length, 1), 0, 1)
        weights = np.zeros_like(best)
        weights[..., i], weights[..., j] = 1 - t, t
        there = np.square(corners[..., i, :] + t[..., None] * side - point).sum(-1)
        best = np.where((there < distance)[..., None], weights, best)
        distance = np.minimum(there, distance)
    return best, distance


def nearest_vertices(points: SurfacePoints) -> Int[np.ndarray, " points"]:
    """The corner with the largest weight."""
    return points.vertices[np.arange(len(points.vertices)), points.weights.argmax(1)].astype(np.int32)


def outward(
    vertices: Float[np.ndarray, "vertices 3"], triangles: Int[np.ndarray, "triangles 3"]
) -> Int[np.ndarray, "triangles 3"]:
    """The triangles, all turned round if most of the surface that faces the camera's axis faces inwards.

    A face looks along +z: seen as a whole, the area of its triangles projected on that axis is positive when they turn
    counter-clockwise. A closed head has no such net area: there the enclosed volume decides.
    """
    a, b, c = (vertices[triangles[:, k]].astype(np.float64) for k in range(3))
    area = np.cross(b - a, c - a)
    net = area[:, 2].sum()
    if abs(net) < 0.1 * np.abs(area[:, 2]).sum():
        net = ((a - vertices.mean(0)) * area).sum()
    return triangles if net > 0 else np.ascontiguousarray(triangles[:, ::-1])


def mirror_by_position(mean: Float[np.ndarray, "vertices 3"]) -> Int[np.ndarray, " vertices"]:
    """Vertex nearest to each vertex's reflection in the plane x = 0."""
    from scipy.spatial import KDTree

    return np.asarray(KDTree(mean).query(mean * [-1, 1, 1])[1], np.int32)


def mirror_about_middle(
    mean: Float[np.ndarray, "vertices 3"], landmarks: Float[np.ndarray, "68 3"]
) -> Int[np.ndarray, " vertices"]:
    """Vertex nearest to each vertex's reflection in the plane that the landmark pairs imply, perpendicular to x."""
    pairs = np.array([(36, 45), (39, 42), (31, 35), (48, 54), (0, 16), (17, 26)])
    middle = landmarks[pairs, 0].mean()
    return mirror_by_position(mean - [middle, 0, 0])


def normals_of(
    vertices: Float[np.ndarray, "vertices 3"], triangles: Int[np.ndarray, "triangles 3"]
) -> Float[np.ndarray, "vertices 3"]:
    """Unit vertex normals in float64."""
    return vertex_normals(vertices.astype(np.float64), triangles)
