"""A small made-up face basis: ground truth for tests and benchmarks, drawn from a seed."""

from __future__ import annotations

import numpy as np

from operators.morphable.basis import FaceBasis
from operators.morphable.light import frontal_light


def synthetic_basis(
    seed: int = 0,
    rows: int = 33,
    columns: int = 33,
    identity: int = 10,
    expression: int = 6,
    albedo: int = 4,
    texture_px: int = 32,
) -> FaceBasis:
    """A mirror-symmetric half-ellipsoid with a nose, smooth random modes, a grid of UVs, albedo on vertices or texels.

    About 16 cm wide; `columns` odd keeps a middle line. Albedo lies on the vertices when `texture_px` is 0. A bump
    with landmarks, not a likeness.
    """
    rng = np.random.default_rng(seed)
    v, u = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij"))
    across, down = (u - 0.5) * np.pi * 0.9, (v - 0.5) * np.pi * 0.8
    mean = np.stack((8 * np.sin(across), -11 * np.sin(down), 8 * np.cos(across) * np.cos(down)), 1)
    mean[:, 2] += 2.5 * np.exp(-((across / 0.18) ** 2) - ((down - 0.1) / 0.3) ** 2)
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack((first, first + columns, first + 1), 1)
    upper = np.stack((first + 1, first + columns, first + columns + 1), 1)
    triangles = np.concatenate((lower, upper)).astype(np.int32)
    grid = np.arange(rows * columns).reshape(rows, columns)
    mirror = grid[:, ::-1].ravel().astype(np.int32)

    def smooth(count: int, x: np.ndarray, y: np.ndarray, top: int) -> np.ndarray:
        waves = np.stack([np.cos(np.pi * i * x) * np.cos(np.pi * j * y) for i in range(top) for j in range(top)])
        return np.einsum("kwc,wn->knc", rng.normal(size=(count, len(waves), 3)) / top, waves)

    side = max(texture_px, 1)
    ty, tx = (g.ravel() for g in np.meshgrid(*(2 * [(np.arange(side) + 0.5) / side]), indexing="ij"))
    at = (u, v) if texture_px == 0 else (tx, ty)
    colour = np.clip(np.array((0.7, 0.55, 0.5)) + 0.1 * smooth(1, *at, 4)[0], 0.2, 0.9)
    light = frontal_light().numpy()
    return FaceBasis(
        name="synthetic", licence="Apache-2.0", unit="cm", mean=mean.astype(np.float32),
        identity=(0.35 * smooth(identity, u, v, 4)).astype(np.float32),
        expression=(0.2 * smooth(expression, u, v, 5) * (v > 0.5)[None, :, None]).astype(np.float32),
        triangles=triangles, uv=np.stack((u, v), 1).astype(np.float32), uv_triangles=triangles,
        albedo_mean=colour.astype(np.float32),
        albedo=(0.05 * smooth(albedo, *at, 4)).astype(np.float32), texture_px=texture_px,
        landmarks68=_landmarks(grid), landmarks468=np.sort(rng.choice(grid.size, 468, replace=False)).astype(np.int32),
        mirror=mirror, light_mean=light, light_std=np.full((9, 3), 0.3, np.float32),
    )  # fmt: skip


def _landmarks(grid: np.ndarray) -> np.ndarray:
    """Vertex pairs near where iBUG-68 points lie on a frontal face."""

    def line(x0: float, x1: float, y0: float, y1: float, n: int) -> list[tuple[float, float]]:
        return list(zip(np.linspace(x0, x1, n), np.linspace(y0, y1, n), strict=True))

    def ring(x: float, y: float, rx: float, ry: float, n: int) -> list[tuple[float, float]]:
        a = np.pi + 2 * np.pi * np.arange(n) / n
        return list(zip(x + rx * np.cos(a), y + ry * np.sin(a), strict=True))

    turn = np.linspace(np.pi, 0, 17)
    points = list(zip(0.5 + 0.42 * np.cos(turn), 0.5 + 0.45 * np.sin(turn), strict=True))
    points += line(0.2, 0.42, 0.3, 0.3, 5) + line(0.58, 0.8, 0.3, 0.3, 5)
    points += line(0.5, 0.5, 0.38, 0.56, 4) + line(0.42, 0.58, 0.6, 0.6, 5)
    points += ring(0.32, 0.4, 0.06, 0.025, 6) + ring(0.68, 0.4, 0.06, 0.025, 6)
    points += ring(0.5, 0.75, 0.12, 0.05, 12) + ring(0.5, 0.75, 0.08, 0.025, 8)
    rows, columns = grid.shape
    xy = np.array(points)
    x, y = xy[:, 0] * (columns - 1), np.rint(xy[:, 1] * (rows - 1)).astype(int)
    return np.stack((grid[y, np.floor(x).astype(int)], grid[y, np.ceil(x).astype(int)]), 1).astype(np.int32)
