"""Rasterizer on the CPU: a bounding-box z-buffer, parallel over faces."""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from operators.rasterize.base import Fragments, check_input

SUBPIXEL = 4096
"""Vertices snap to 1 / SUBPIXEL px, so that edge functions are exact integers and shared edges watertight."""
_LIMIT_PX = 65536.0


class NumbaRasterizer:
    """CPU backend. Threads: as many as torch uses. Gradients do not flow into barycentrics or depth.

    `cull_backfaces` drops triangles that turn clockwise as the viewer sees them.
    """

    def __init__(self, near: float = 1e-3, cull_backfaces: bool = False, perspective: bool = True):
        self.near, self.cull_backfaces, self.perspective = near, cull_backfaces, perspective

    def __call__(
        self,
        vertices_px: Float[Tensor, "faces vertices 3"],
        triangles: Int[Tensor, "triangles 3"],
        height: int,
        width: int,
    ) -> Fragments:
        check_input(vertices_px, triangles, height, width)
        vertices = np.ascontiguousarray(vertices_px.detach().cpu().numpy(), dtype=np.float32)
        corners = np.ascontiguousarray(triangles.cpu().numpy(), dtype=np.int32)
        n = len(vertices)
        index = np.empty((n, height, width), np.int32)
        weights = np.empty((n, height, width, 3), np.float32)
        depth = np.empty((n, height, width), np.float32)
        before = numba.get_num_threads()
        numba.set_num_threads(min(before, torch.get_num_threads()))
        try:
            _rasterize(vertices, corners, self.near, self.cull_backfaces, self.perspective, index, weights, depth)
        finally:
            numba.set_num_threads(before)
        device = vertices_px.device
        return Fragments(*(torch.from_numpy(array).to(device) for array in (index, weights, depth)))


@numba.njit(cache=True, inline="always")
@no_type_check
def _edge(ax, ay, bx, by, px, py):
    """Twice the signed area of a, b, p: exact in int64."""
    return (bx - ax) * (py - ay) - (by - ay) * (px - ax)


@numba.njit(cache=True, inline="always")
@no_type_check
def _bias(ax, ay, bx, by):
    """0 for a top or left edge of a triangle with positive area (y down), else -1: a centre on it is then outside."""
    dx, dy = bx - ax, by - ay
    return 0 if dy < 0 or (dy == 0 and dx > 0) else -1


@numba.njit(cache=True, parallel=True)
@no_type_check
def _rasterize(vertices, triangles, near, cull, perspective, index, weights, depth):
    for f in numba.prange(vertices.shape[0]):
        _rasterize_one(vertices[f], triangles, near, cull, perspective, index[f], weights[f], depth[f])


@numba.njit(cache=True)
@no_type_check
def _rasterize_one(vertices, triangles, near, cull, perspective, index, weights, depth):
    height, width = index.shape
    half = SUBPIXEL // 2
    count = vertices.shape[0]
    fixed = np.empty((count, 2), np.int64)
    nearness = np.empty(count, np.float64)
    usable = np.empty(count, np.bool_)
    for v in range(count):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        usable[v] = np.isfinite(z) and z >= near and abs(x) < _LIMIT_PX and abs(y) < _LIMIT_PX
        if usable[v]:
            fixed[v, 0] = np.int64(np.rint(np.float64(x) * SUBPIXEL))
            fixed[v, 1] = np.int64(np.rint(np.float64(y) * SUBPIXEL))
            nearness[v] = 1.0 / z if perspective else -np.float64(z)
    best = np.full((height, width), -np.inf, np.float64)
    index[:] = -1
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if not (usable[a] and usable[b] and usable[c]):
            continue
        ax, ay, bx, by, cx, cy = fixed[a, 0], fixed[a, 1], fixed[b, 0], fixed[b, 1], fixed[c, 0], fixed[c, 1]
        area = _edge(ax, ay, bx, by, cx, cy)
        if area == 0 or (cull and area > 0):
            continue
        if area < 0:
            b, c = c, b
            bx, by, cx, cy = cx, cy, bx, by
            area = -area
        x0 = max((min(ax, bx, cx) - half + SUBPIXEL - 1) // SUBPIXEL, 0)
        y0 = max((min(ay, by, cy) - half + SUBPIXEL - 1) // SUBPIXEL, 0)
        x1 = min((max(ax, bx, cx) - half) // SUBPIXEL, width - 1)
        y1 = min((max(ay, by, cy) - half) // SUBPIXEL, height - 1)
        if x1 < x0 or y1 < y0:
            continue
        px, py = x0 * SUBPIXEL + half, y0 * SUBPIXEL + half
        row_a = _edge(bx, by, cx, cy, px, py) + _bias(bx, by, cx, cy)
        row_b = _edge(cx, cy, ax, ay, px, py) + _bias(cx, cy, ax, ay)
        row_c = _edge(ax, ay, bx, by, px, py) + _bias(ax, ay, bx, by)
        step_ax, step_ay = (by - cy) * SUBPIXEL, (cx - bx) * SUBPIXEL
        step_bx, step_by = (cy - ay) * SUBPIXEL, (ax - cx) * SUBPIXEL
        step_cx, step_cy = (ay - by) * SUBPIXEL, (bx - ax) * SUBPIXEL
        na, nb, nc = nearness[a] / area, nearness[b] / area, nearness[c] / area
        for y in range(y0, y1 + 1):
            wa, wb, wc = row_a, row_b, row_c
            for x in range(x0, x1 + 1):
                if (wa | wb | wc) >= 0:
                    value = wa * na + wb * nb + wc * nc
                    if value > best[y, x]:
                        best[y, x] = value
                        index[y, x] = t
                wa += step_ax
                wb += step_bx
                wc += step_cx
            row_a += step_ay
            row_b += step_by
            row_c += step_cy
    for y in range(height):
        for x in range(width):
            t = index[y, x]
            if t < 0:
                depth[y, x] = np.inf
                weights[y, x, 0] = weights[y, x, 1] = weights[y, x, 2] = 0.0
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            px, py = x * SUBPIXEL + half, y * SUBPIXEL + half
            wa = np.float64(_edge(fixed[b, 0], fixed[b, 1], fixed[c, 0], fixed[c, 1], px, py))
            wb = np.float64(_edge(fixed[c, 0], fixed[c, 1], fixed[a, 0], fixed[a, 1], px, py))
            wc = np.float64(_edge(fixed[a, 0], fixed[a, 1], fixed[b, 0], fixed[b, 1], px, py))
            total = wa + wb + wc
            if perspective:
                wa, wb, wc = wa * nearness[a], wb * nearness[b], wc * nearness[c]
                depth[y, x] = total / (wa + wb + wc)
                total = wa + wb + wc
            else:
                depth[y, x] = -(wa * nearness[a] + wb * nearness[b] + wc * nearness[c]) / total
            weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = wa / total, wb / total, wc / total
