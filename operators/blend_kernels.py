"""The multigrid of `operators.blend` on the CPU: one face at a time, in the cache, only where its domain lies."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from operators.compiled import kernel

_f4, _u8 = np.float32, np.uint64


@kernel
@no_type_check
def _relax(u, f, diagonal, inverse, right, below, step, out, y0, y1, x0, x1):
    """out = u + step * (f - A u) / diagonal, on rows y0..y1 and columns x0..x1; arrays have a border of one cell."""
    one = _u8(1)
    for y in range(y0, y1):
        for x in range(x0, x1):
            flow = right[y, x] * u[y, x + one] + right[y, x - one] * u[y, x - one]
            flow += below[y, x] * u[y + one, x] + below[y - one, x] * u[y - one, x]
            out[y, x] = u[y, x] + step * inverse[y, x] * (f[y, x] - diagonal[y, x] * u[y, x] + flow)


@kernel
@no_type_check
def _residual(u, f, diagonal, right, below, out, y0, y1, x0, x1):
    one = _u8(1)
    for y in range(y0, y1):
        for x in range(x0, x1):
            flow = right[y, x] * u[y, x + one] + right[y, x - one] * u[y, x - one]
            flow += below[y, x] * u[y + one, x] + below[y - one, x] * u[y - one, x]
            out[y, x] = f[y, x] - diagonal[y, x] * u[y, x] + flow


@kernel
@no_type_check
def _restrict(fine, coarse, y0, y1, x0, x1):
    """Each cell of the coarse grid gets the sum of its four."""
    one, two = _u8(1), _u8(2)
    for y in range(y0, y1):
        row = two * y - one
        for x in range(x0, x1):
            column = two * x - one
            coarse[y, x] = fine[row, column] + fine[row, column + one] + fine[row + one, column] + fine[row + one, column + one]


@kernel
@no_type_check
def _prolong(coarse, coarse_inside, inside, u, y0, y1, x0, x1):
    """Add to u the coarse values, bilinear from cell centres, over cells of the domain only."""
    one, near, far = _u8(1), _f4(0.75), _f4(0.25)
    for y in range(y0, y1):
        up = (y - one) >> one
        cy = up + one
        ny = up if (y & one) == one else cy + one
        for x in range(x0, x1):
            left = (x - one) >> one
            cx = left + one
            nx = left if (x & one) == one else cx + one
            a, b = near * near * coarse_inside[cy, cx], near * far * coarse_inside[cy, nx]
            c, d = far * near * coarse_inside[ny, cx], far * far * coarse_inside[ny, nx]
            total = a * coarse[cy, cx] + b * coarse[cy, nx] + c * coarse[ny, cx] + d * coarse[ny, nx]
            u[y, x] += total / max(a + b + c + d, _f4(1e-6)) * inside[y, x]


@kernel
@no_type_check
def _finish(weight, right, below, diagonal, inverse):
    """Diagonal of the system and its inverse, 0 where nothing is."""
    for y in range(_u8(1), _u8(weight.shape[0] - 1)):
        for x in range(_u8(1), _u8(weight.shape[1] - 1)):
            one = _u8(1)
            total = weight[y, x] + right[y, x] + right[y, x - one] + below[y, x] + below[y - one, x]
            diagonal[y, x] = total
            inverse[y, x] = _f4(1) / max(total, _f4(1e-12)) if total > _f4(0) else _f4(0)


@kernel
@no_type_check
def _coarsen(inside, weight, right, below, inside2, weight2, right2, below2):
    """Cells of 2 x 2: weights add up, conductances across a cell border are averaged."""
    one, two, half = _u8(1), _u8(2), _f4(0.5)
    for y in range(_u8(1), _u8(inside2.shape[0] - 1)):
        a = two * y - one
        b = a + one
        for x in range(_u8(1), _u8(inside2.shape[1] - 1)):
            c = two * x - one
            d = c + one
            inside2[y, x] = max(max(inside[a, c], inside[a, d]), max(inside[b, c], inside[b, d]))
            weight2[y, x] = weight[a, c] + weight[a, d] + weight[b, c] + weight[b, d]
            right2[y, x] = half * (right[a, d] + right[b, d])
            below2[y, x] = half * (below[b, c] + below[b, d])


@kernel
@no_type_check
def _smooth(u, other, f, diagonal, inverse, right, below, steps, box):
    """Relaxation with each of the steps; an even number of them leaves the result in u."""
    y0, y1, x0, x1 = _u8(box[0]), _u8(box[1]), _u8(box[2]), _u8(box[3])
    for i in range(len(steps)):
        if i % 2 == 0:
            _relax(u, f, diagonal, inverse, right, below, steps[i], other, y0, y1, x0, x1)
        else:
            _relax(other, f, diagonal, inverse, right, below, steps[i], u, y0, y1, x0, x1)
    if len(steps) % 2 == 1:
        for y in range(y0, y1):
            for x in range(x0, x1):
                u[y, x] = other[y, x]


@kernel
@no_type_check
def _grids(levels, height, width):
    """Zeros for every level, with a border of one cell."""
    return [np.zeros(((height >> k) + 2, (width >> k) + 2), np.float32) for k in range(levels)]


@kernel
@no_type_check
def _bound(inside, box):
    """First and last + 1 row and column of the domain; an empty range where there is none."""
    height, width = inside.shape
    box[0], box[1], box[2], box[3] = height, 1, width, 1
    for y in range(height):
        for x in range(width):
            if inside[y, x] > 0:
                box[0], box[1] = min(box[0], y), max(box[1], y + 1)
                box[2], box[3] = min(box[2], x), max(box[3], x + 1)


@kernel
@no_type_check
def _solve(source, weight, inside, cycles, levels, steps, floor, out):
    """One face: `cycles` V-cycles for each channel. Sizes must be divisible by 2 ** (levels - 1)."""
    channels, height, width = source.shape
    back, last = steps[::-1].copy(), np.empty(len(steps) * 8, np.float32)
    for i in range(len(last)):
        last[i] = steps[i % len(steps)]
    insides, weights = _grids(levels, height, width), _grids(levels, height, width)
    rights, belows = _grids(levels, height, width), _grids(levels, height, width)
    diagonals, inverses = _grids(levels, height, width), _grids(levels, height, width)
    us, others, fs = _grids(levels, height, width), _grids(levels, height, width), _grids(levels, height, width)
    boxes = np.empty((levels, 4), np.int64)
    insides[0][1:-1, 1:-1] = inside
    weights[0][1:-1, 1:-1] = (weight + floor) * inside
    rights[0][:, :-1] = insides[0][:, :-1] * insides[0][:, 1:]
    belows[0][:-1] = insides[0][:-1] * insides[0][1:]
    for k in range(levels):
        if k > 0:
            _coarsen(
                insides[k - 1], weights[k - 1], rights[k - 1], belows[k - 1], insides[k], weights[k], rights[k], belows[k]
            )  # fmt: skip
        _finish(weights[k], rights[k], belows[k], diagonals[k], inverses[k])
        _bound(insides[k], boxes[k])
    for channel in range(channels):
        us[0][:] = 0
        fs[0][1:-1, 1:-1] = source[channel] * inside
        for _ in range(cycles):
            for k in range(levels - 1):
                box, down = boxes[k], boxes[k + 1]
                _smooth(us[k], others[k], fs[k], diagonals[k], inverses[k], rights[k], belows[k], steps, box)
                y0, y1, x0, x1 = _u8(box[0]), _u8(box[1]), _u8(box[2]), _u8(box[3])
                others[k][:] = 0
                _residual(us[k], fs[k], diagonals[k], rights[k], belows[k], others[k], y0, y1, x0, x1)
                _restrict(others[k], fs[k + 1], _u8(down[0]), _u8(down[1]), _u8(down[2]), _u8(down[3]))
                us[k + 1][:] = 0
            k = levels - 1
            _smooth(us[k], others[k], fs[k], diagonals[k], inverses[k], rights[k], belows[k], last, boxes[k])
            for k in range(levels - 2, -1, -1):
                box = boxes[k]
                y0, y1, x0, x1 = _u8(box[0]), _u8(box[1]), _u8(box[2]), _u8(box[3])
                _prolong(us[k + 1], insides[k + 1], insides[k], us[k], y0, y1, x0, x1)
                _smooth(us[k], others[k], fs[k], diagonals[k], inverses[k], rights[k], belows[k], back, box)
        out[channel] = us[0][1:-1, 1:-1]


@kernel
@no_type_check
def solve_faces(first, step, source, weight, inside, cycles, levels, steps, floor, out):
    """Faces first, first + step, … of a batch."""
    for f in range(first, source.shape[0], step):
        _solve(source[f], weight[f], inside[f], cycles, levels, steps, floor, out[f])
