"""UV coordinates for a base that has none: a cylinder around the vertical axis, unrolled, without overlaps on the face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

MARGIN = 0.02
"""Empty rim of the texture, as a share of its side."""
STRIP = 0.14
"""Side of the boxes along the bottom that hold what is not connected to the face (eyeballs)."""
BANDS = 48


def cylindrical_uv(
    vertices: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    landmarks: Float[np.ndarray, "68 3"],
    rounds: int = 12,
) -> tuple[Float[np.ndarray, "uvs 2"], Int[np.ndarray, "triangles 3"]]:
    """UV points in [0, 1], v down, and the triangles among them.

    The axis stands midway between the ends of the jaw line (landmarks 0 and 16), half the face's width behind the eyes at least.
    u is the angle, v the arc length down the surface: each height's share is the area of its band over the band's width. Where
    the surface hangs over (nostrils, under chin and lips), points are moved to the mean of their neighbours until no triangle
    is turned over (Tutte 1963, on the turned patches only). A closed head is cut open along its back: points there come twice.
    Parts that are not connected to the face lie in boxes along the bottom, seen from the front.
    """
    points = vertices.astype(np.float64)
    parts = _parts(len(points), triangles)
    main = parts[triangles[:, 0]] == np.bincount(parts[triangles[:, 0]]).argmax()
    width = abs(float(landmarks[16, 0] - landmarks[0, 0]))
    middle = landmarks[[0, 16], 0].mean()
    depth = min(float(landmarks[[0, 16], 2].mean()), float(landmarks[36:48, 2].mean()) - 0.5 * width)
    across, deep = points[:, 0] - middle, points[:, 2] - depth
    angle, corners, source = _cut_back(across, deep, triangles)
    radius = np.hypot(across, deep)
    down = _arc_length(points, triangles[main], radius, angle[: len(points)])[source]
    plane = np.stack((angle * float(np.median(radius)), down), 1)
    plane = _untangle(plane, points[source], corners[main], rounds)
    others = list(np.unique(parts[triangles[~main, 0]])) if not main.all() else []
    inside = np.unique(corners[main])
    low, span = plane[inside].min(0), np.ptp(plane[inside], axis=0)
    room = np.array([1 - 2 * MARGIN, 1 - 2 * MARGIN - (STRIP if others else 0)])
    scale = (room / span).min()
    uv = (plane - low - span / 2) * scale + MARGIN + room / 2
    for k, part in enumerate(others):
        rows = np.unique(corners[parts[triangles[:, 0]] == part])
        flat = points[source[rows], :2] * [1, -1]
        box = STRIP * 0.9 / max(float(np.ptp(flat, axis=0).max()), 1e-12)
        uv[rows] = (flat - flat.min(0)) * box + [MARGIN + STRIP * (k % 6), 1 - MARGIN - STRIP * 0.95]
    return np.clip(uv, 0, 1).astype(np.float32), corners


def turned_triangles(
    plane: Float[np.ndarray, "uvs 2"], triangles: Int[np.ndarray, "triangles 3"]
) -> Bool[np.ndarray, " triangles"]:
    """Which triangles turn the other way than on the outside of the face (v runs down: clockwise in numbers)."""
    a, b, c = (plane[triangles[:, k]] for k in range(3))
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) >= 0


def _parts(count: int, triangles: np.ndarray) -> np.ndarray:
    """Number of the connected part of each vertex."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate((triangles[:, :2], triangles[:, 1:]))
    return connected_components(sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count)))[1]


def _cut_back(across: np.ndarray, deep: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles, with a second one at +360 degrees for the points that triangles across the back need, those triangles, and the
    vertex of each angle. The triangle at the crown through which the axis runs is left as it is."""
    angle = np.arctan2(across, deep)
    flat = np.stack((across, deep), 1)[triangles]
    sides = np.stack([flat[:, i, 0] * flat[:, j, 1] - flat[:, i, 1] * flat[:, j, 0] for i, j in ((0, 1), (1, 2), (2, 0))])
    crown = (sides > 0).all(0) | (sides < 0).all(0)
    back = (np.ptp(angle[triangles], axis=1) > np.pi) & ~crown
    doubled = np.unique(triangles[back][angle[triangles[back]] < 0])
    place = np.arange(len(angle))
    place[doubled] = len(angle) + np.arange(len(doubled))
    corners = triangles.copy()
    corners[back] = np.where(angle[triangles[back]] < 0, place[triangles[back]], triangles[back])
    again = np.minimum(angle[doubled] + 2 * np.pi, 1.08 * np.pi)  # beside the crown a triangle may reach half round the head
    return np.concatenate((angle, again)), corners, np.concatenate((np.arange(len(angle)), doubled))


def _arc_length(points: np.ndarray, triangles: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Distance down the surface from the top, the same for all vertices of one height."""
    height = points[:, 1]
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    edges = np.linspace(height.max(), height.min(), BANDS + 1)
    band = np.clip(np.searchsorted(-edges, -height[triangles].mean(1)) - 1, 0, BANDS - 1)
    total = np.bincount(band, area, BANDS)
    of_vertex = np.clip(np.searchsorted(-edges, -height) - 1, 0, BANDS - 1)
    wide = np.array([np.ptp((angle * radius)[of_vertex == k]) if (of_vertex == k).any() else 0 for k in range(BANDS)])
    step = (edges[0] - edges[1]) * np.ones(BANDS)
    known = wide > 0.2 * wide.max()
    step[known] = np.clip(total[known] / wide[known], step[known], 3 * step[known])
    step = np.convolve(np.pad(step, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return np.interp(-height, -edges, np.concatenate(([0.0], np.cumsum(step))))


def _untangle(plane: np.ndarray, points: np.ndarray, triangles: np.ndarray, rounds: int) -> np.ndarray:
    """Points of turned triangles, and more around them every round, moved to the mean of their neighbours.

    Near neighbours weigh more. The outer rim stays. Every other hole is spanned by a point in its middle, which keeps it open.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import spsolve

    n = len(plane)
    pairs = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    low, high = pairs.min(1), pairs.max(1)
    once = sparse.coo_matrix((np.ones(len(pairs)), (low, high)), (n, n)).tocsr().tocoo()
    border = once.data == 1
    loop = connected_components(sparse.coo_matrix((once.data[border], (once.row[border], once.col[border])), (n, n)), False)[1]
    on_loop = np.unique(np.concatenate((once.row[border], once.col[border])))
    loops = np.unique(loop[on_loop])
    longest = loops[np.argmax([np.ptp(plane[on_loop[loop[on_loop] == k]], axis=0).sum() for k in loops])] if len(loops) else -1
    rim = np.zeros(n + len(loops), bool)
    rim[on_loop[loop[on_loop] == longest]] = True
    spokes = [(n + k, v) for k, one in enumerate(loops) if one != longest for v in on_loop[loop[on_loop] == one]]
    centres = np.array([points[on_loop[loop[on_loop] == k]].mean(0) for k in loops]).reshape(-1, 3)
    middles = np.array([plane[on_loop[loop[on_loop] == k]].mean(0) for k in loops]).reshape(-1, 2)
    edges = np.concatenate((np.stack((once.row, once.col), 1), np.array(spokes, int).reshape(-1, 2)))
    points, plane = np.concatenate((points, centres)), np.concatenate((plane, middles))
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    weight = 1 / np.maximum(length, 0.1 * np.median(length))
    both = np.concatenate((edges, edges[:, ::-1]))
    neighbours = sparse.csr_matrix((np.tile(weight, 2), (both[:, 0], both[:, 1])), (len(plane), len(plane)))
    best, fewest = plane, len(triangles) + 1
    for ring in range(rounds):
        turned = turned_triangles(plane, triangles)
        if turned.sum() < fewest:
            best, fewest = plane, int(turned.sum())
        moving = np.zeros(len(plane), bool)
        moving[triangles[turned]] = True
        for _ in range(1 + ring):
            moving |= neighbours @ moving > 0
        free = np.flatnonzero(moving & ~rim)
        if not len(free):
            break
        rows = neighbours[free]
        system = sparse.diags(np.asarray(rows.sum(1)).ravel()) - rows[:, free]
        held, plane = plane.copy(), plane.copy()
        held[free] = 0
        plane[free] = spsolve(system.tocsc(), rows @ held).reshape(-1, 2)
    return best[:n]
