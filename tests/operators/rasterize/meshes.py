"""Made-up meshes, and slow exact answers to hold a rasterizer against."""

import numpy as np
import torch

from operators.rasterize.base import SUBPIXEL


def brute_force(vertices: np.ndarray, triangles: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle at every pixel, in float64, no edge rule: which triangle is in front, and its weights."""
    y, x = np.mgrid[:height, :width] + 0.5
    best, index, weights = np.full((height, width), np.inf), np.full((height, width), -1), np.zeros((height, width, 3))
    for t, (a, b, c) in enumerate(vertices[triangles]):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        wb = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        wc = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        w = np.stack((1 - wb - wc, wb, wc), -1) / np.array([a[2], b[2], c[2]])
        z = 1 / w.sum(-1)
        front = (w >= 0).all(-1) & (z < best)
        best[front], index[front], weights[front] = z[front], t, (w * z[..., None])[front]
    return index, weights


def soup(seed: int, count: int = 40, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vertices = np.concatenate((rng.uniform(-5, size + 5, (3 * count, 2)), rng.uniform(5, 9, (3 * count, 1))), 1)
    vertices[:, :2] = np.round(vertices[:, :2] * SUBPIXEL) / SUBPIXEL
    return vertices.astype(np.float32), np.arange(3 * count).reshape(-1, 3).astype(np.int32)


def grid(seed: int, n: int = 9, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """A jittered grid over the whole picture, vertices on sub-pixel positions; some lie exactly on pixel centres."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, size, n), np.linspace(0, size, n), indexing="ij")
    inner = np.zeros((n, n), bool)
    inner[1:-1, 1:-1] = True
    x, y = x + inner * rng.integers(-2, 3, (n, n)) * 0.5, y + inner * rng.integers(-2, 3, (n, n)) * 0.5
    cells = np.arange(n * n).reshape(n, n)
    a, b, c, d = (v.ravel() for v in (cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]))
    triangles = np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1)))
    return torch.tensor(np.stack((x, y, np.ones_like(x)), -1).reshape(1, -1, 3), dtype=torch.float32), torch.tensor(triangles)


def exact_coverage(vertices: np.ndarray, height: int, width: int) -> np.ndarray:
    """(triangles height width) by the integer edge rule, one triangle per row of `vertices` (triangles 3 2)."""
    fixed = np.rint(vertices.astype(np.float64) * SUBPIXEL).astype(object)
    y, x = (v.astype(object) for v in np.mgrid[:height, :width] * SUBPIXEL + SUBPIXEL // 2)
    hit = np.zeros((len(vertices), height, width), bool)
    for t, (a, b, c) in enumerate(fixed):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0:
            continue
        if area < 0:
            b, c = c, b
        hit[t] = True
        for p, q in ((a, b), (b, c), (c, a)):
            dx, dy = q[0] - p[0], q[1] - p[1]
            side = dx * (y - p[1]) - dy * (x - p[0])
            hit[t] &= (side > 0) | ((side == 0) & (dy < 0 or (dy == 0 and dx > 0)))
    return hit
