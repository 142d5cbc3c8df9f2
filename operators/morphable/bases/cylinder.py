"""UV coordinates for a base that has none: a cylinder around the vertical axis, unrolled, without overlaps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

MARGIN = 0.02
"""Empty rim of the texture, as a share of its side."""
BANDS = 48


def cylindrical_uv(
    vertices: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    landmarks: Float[np.ndarray, "68 3"],
    rounds: int = 12,
) -> tuple[Float[np.ndarray, "vertices 2"], int]:
    """UV in [0, 1], v down, and how many triangles are still turned over.

    The axis stands midway between the ends of the jaw line (landmarks 0 and 16), half the face's width behind the eyes at least.
    u is the angle, v the arc length down the surface: each height's share is the area of its band over the band's width. Where
    the surface hangs over (nostrils, under chin and lips), vertices are moved to the mean of their neighbours until no triangle
    is turned over (Tutte 1963, on the turned patches only).
    """
    points = vertices.astype(np.float64)
    width = float(landmarks[16, 0] - landmarks[0, 0])
    middle = landmarks[[0, 16], 0].mean()
    depth = min(float(landmarks[[0, 16], 2].mean()), float(landmarks[36:48, 2].mean()) - 0.5 * abs(width))
    across, deep = points[:, 0] - middle, points[:, 2] - depth
    angle = np.arctan2(across, deep)
    down = _arc_length(points, triangles, np.hypot(across, deep), angle)
    plane = np.stack((angle * float(np.median(np.hypot(across, deep))), down), 1)
    plane, turned = _untangle(plane, triangles, rounds)
    low, span = plane.min(0), np.ptp(plane, axis=0).max()
    centred = (plane - low - np.ptp(plane, axis=0) / 2) / span * (1 - 2 * MARGIN) + 0.5
    return centred.astype(np.float32), turned


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


def turned_triangles(plane: Float[np.ndarray, "vertices 2"], triangles: Int[np.ndarray, "triangles 3"]) -> np.ndarray:
    """Which triangles turn the other way than on the outside of the face (v runs down: clockwise in numbers)."""
    a, b, c = (plane[triangles[:, k]] for k in range(3))
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) >= 0


def _untangle(plane: np.ndarray, triangles: np.ndarray, rounds: int) -> tuple[np.ndarray, int]:
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    n = len(plane)
    pairs = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    neighbours = sparse.csr_matrix((np.ones(2 * len(pairs)), (pairs.ravel(), pairs[:, ::-1].ravel())), (n, n))
    neighbours.data[:] = 1
    once = sparse.csr_matrix((np.ones(len(pairs)), (pairs.min(1), pairs.max(1))), (n, n))
    rim = np.zeros(n, bool)
    rim[np.concatenate([part[once.data == 1] for part in once.nonzero()])] = True
    best, fewest = plane, len(triangles) + 1
    for ring in range(rounds):
        turned = turned_triangles(plane, triangles)
        if turned.sum() < fewest:
            best, fewest = plane.copy(), int(turned.sum())
        if not fewest:
            break
        moving = np.zeros(n, bool)
        moving[triangles[turned]] = True
        for _ in range(1 + ring):
            moving |= neighbours @ moving > 0
        free = np.flatnonzero(moving & ~rim)
        if not len(free):
            break
        rows = neighbours[free]
        degree = np.asarray(rows.sum(1)).ravel()
        system = sparse.diags(degree) - rows[:, free]
        held = plane.copy()
        held[free] = 0
        plane = plane.copy()
        plane[free] = spsolve(system.tocsc(), rows @ held).reshape(-1, 2)
    return best, fewest
