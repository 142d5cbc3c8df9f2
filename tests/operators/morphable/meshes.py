"""Small meshes for tests."""

import numpy as np


def grid_mesh(side: int, bump: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(side^2, 3) points over [-1, 1]^2, symmetric about x = 0 for odd sides, and their counter-clockwise triangles."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    points = np.stack([x.ravel(), y.ravel(), bump * np.cos(2 * x.ravel()) * np.cos(2 * y.ravel())], axis=1)
    triangles = []
    for r in range(side - 1):
        for c in range(side - 1):
            a, b, d, e = r * side + c, r * side + c + 1, (r + 1) * side + c, (r + 1) * side + c + 1
            triangles += [[a, b, d], [b, e, d]] if c < (side - 1) / 2 else [[a, b, e], [a, e, d]]
    return points, np.array(triangles)


def grid_uv(points: np.ndarray, margin: float = 0.1) -> np.ndarray:
    """UV points of a grid mesh, v down."""
    return 0.5 + points[:, :2] * [0.5 - margin, margin - 0.5]
