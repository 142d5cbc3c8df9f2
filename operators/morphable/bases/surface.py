"""Geometry that every converter needs: nearest surface points, orientation of triangles, mirror images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from operators.morphable.basis import SurfacePoints
from operators.morphable.uv import vertex_normals

NEAR = 12
"""Vertices around a query point whose triangles are looked at."""


def nearest_points(
    query: Float[np.ndarray, "points 3"],
    vertices: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    normals: Float[np.ndarray, "points 3"] | None = None,
) -> SurfacePoints:
    """Nearest point of a mesh to each query point; with `normals`, on triangles that face the same way where there are any."""
    from scipy.spatial import KDTree

    used = np.unique(triangles)
    near = used[KDTree(vertices[used]).query(query, k=min(NEAR, len(used)))[1].reshape(len(query), -1)]
    order = np.argsort(triangles.ravel(), kind="stable")
    owner, corner = order // 3, triangles.ravel()[order]
    start = np.searchsorted(corner, np.arange(len(vertices) + 1))
    face = np.cross(vertices[triangles[:, 1]] - vertices[triangles[:, 0]], vertices[triangles[:, 2]] - vertices[triangles[:, 0]])
    corners, weights = np.empty((len(query), 3), np.int32), np.empty((len(query), 3), np.float32)
    for i, point in enumerate(query):
        candidates = np.unique(np.concatenate([owner[start[v] : start[v + 1]] for v in near[i]]))
        if normals is not None:
            same = candidates[face[candidates] @ normals[i] > 0]
            candidates = same if len(same) else candidates
        bary, distance = _closest(point, vertices[triangles[candidates]])
        best = int(distance.argmin())
        corners[i], weights[i] = triangles[candidates[best]], bary[best]
    return SurfacePoints(corners, weights)


def _closest(point: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric coordinates of the point of each triangle that is nearest to one point, and squared distances."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, point - a
    d00, d01, d11 = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    d20, d21 = (ap * ab).sum(1), (ap * ac).sum(1)
    area = d00 * d11 - d01 * d01
    safe = np.where(area > 0, area, 1)
    v, w = (d11 * d20 - d01 * d21) / safe, (d00 * d21 - d01 * d20) / safe
    options = [np.stack((1 - v - w, v, w), 1)]
    inside = (options[0] >= 0).all(1) & (area > 0)
    for i, j in ((0, 1), (1, 2), (2, 0)):  # the nearest point of each side, for points that fall outside
        side = corners[:, j] - corners[:, i]
        length = (side * side).sum(1)
        t = np.clip(((point - corners[:, i]) * side).sum(1) / np.where(length > 0, length, 1), 0, 1)
        weights = np.zeros_like(options[0])
        weights[:, i], weights[:, j] = 1 - t, t
        options.append(weights)
    stacked = np.stack(options, 1)
    distance = np.square((stacked[..., None] * corners[:, None]).sum(2) - point).sum(-1)
    distance[~inside, 0] = np.inf
    best = distance.argmin(1)
    rows = np.arange(len(corners))
    return stacked[rows, best], distance[rows, best]


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
