"""Inner loops of the CPU rasterizer: plain loops that LLVM turns into vector code, one lane per triangle or per pixel.

A frame buffer of 64-bit keys holds, per pixel, how near the front fragment is (upper half, ordered like the number) and
which triangle it is (lower half, smaller index = larger key). Every fragment is a maximum with its key, so the order in
which triangles come does not matter. Barycentrics and depth are worked out once per pixel at the end (`resolve`).

Small triangles are sorted by the columns and rows of pixel centres that their box holds (1 to SIDE each) and done side by
side in int32, which is exact: with an extent below 8 px both products of an edge function stay below 2^30. The others run
row by row in int64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numba
import numpy as np

from operators.compiled import kernel
from operators.rasterize.base import FAR, LIMIT_PX, SUBPIXEL

SIDE = 4
LARGE = SIDE * SIDE + 1
CHUNK = 256
PAD = 8
"""Columns beyond the picture that vector code may write to."""
EMPTY = np.int64(-(2**63) + 2**32 - 1)
"""Key of a pixel without a fragment: above every key made with OUTSIDE, below every other."""
OUTSIDE = np.int32(-(2**31))

_SHIFT, _HALF = 12, SUBPIXEL // 2
_LAST = 2**31 - 1
_i4, _u8, _f4, _f8 = np.int32, np.uint64, np.float32, np.float64

_kernel = kernel
_part = numba.njit(inline="always", error_model="numpy")
# Unsigned indices keep numba from adding the wrap-around of negative ones, and casts from widening int32 to int64: either
# would end vectorisation.


@_kernel
@no_type_check
def snap(vertices, near, perspective, xs, ys, nearness):
    """Fixed-point x and y, and nearness: 1 / Z, or -Z without perspective, NaN = unusable. Whether all are usable."""
    whole = True
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        usable = (z >= near) & (abs(z) < _f4(FAR)) & (abs(x) < _f4(LIMIT_PX)) & (abs(y) < _f4(LIMIT_PX))
        whole &= usable
        xs[v] = _i4(np.rint((x if usable else _f4(0)) * _f4(SUBPIXEL)))
        ys[v] = _i4(np.rint((y if usable else _f4(0)) * _f4(SUBPIXEL)))
        value = _f4(1) / z if perspective else -z
        nearness[v] = value if usable else _f4(np.nan)
    return whole


@_part
@no_type_check
def _first(low):
    """First pixel whose centre is not before `low`, not before the picture."""
    return max(_i4(_i4(low + _i4(_HALF - 1)) >> _i4(_SHIFT)), _i4(0))


@_part
@no_type_check
def _last(high, size):
    """Last pixel whose centre is not behind `high`, not behind the picture."""
    return min(_i4(_i4(high - _i4(_HALF)) >> _i4(_SHIFT)), _i4(size - 1))


@_kernel
@no_type_check
def classify(a, b, c, xs, ys, height, width, kind):
    """Kind of each triangle: 0 = touches no pixel centre, LARGE, or from the columns and rows of centres it can touch."""
    for t in range(a.shape[0]):
        ax, bx, cx = xs[_u8(a[t])], xs[_u8(b[t])], xs[_u8(c[t])]
        ay, by, cy = ys[_u8(a[t])], ys[_u8(b[t])], ys[_u8(c[t])]
        left, right, top, bottom = min(ax, bx, cx), max(ax, bx, cx), min(ay, by, cy), max(ay, by, cy)
        across = _i4(_last(right, width) - _first(left))
        down = _i4(_last(bottom, height) - _first(top))
        small = (max(_i4(right - left), _i4(bottom - top)) < _i4(8 * SUBPIXEL)) & (max(across, down) < _i4(SIDE))
        found = _i4(_i4(_i4(down * _i4(SIDE)) + across) + _i4(1)) if small else _i4(LARGE)
        kind[t] = np.uint8(found if min(across, down) >= _i4(0) else _i4(0))


@_kernel
@no_type_check
def sort(kind, a, b, c, nearness, whole, order, starts):
    """Triangles ordered by kind: kind k in order[starts[k] : starts[k + 1]]. One with an unusable vertex becomes kind 0."""
    if not whole:
        for t in range(_u8(kind.shape[0])):
            if np.isnan(nearness[_u8(a[t])] + nearness[_u8(b[t])] + nearness[_u8(c[t])]):
                kind[t] = np.uint8(0)
    starts[:] = 0
    for t in range(_u8(kind.shape[0])):
        starts[_u8(kind[t]) + _u8(2)] += 1
    for k in range(_u8(2), _u8(LARGE + 3)):
        starts[k] += starts[k - _u8(1)]
    for t in range(_u8(kind.shape[0])):
        k = _u8(kind[t]) + _u8(1)
        order[_u8(starts[k])] = t
        starts[k] += 1


@_part
@no_type_check
def _bias(dx, dy):
    """0 for a top or left edge of a triangle with positive area (y down), else -1: a centre on it is then outside."""
    return _i4(0) if (dy < 0) | ((dy == 0) & (dx > 0)) else _i4(-1)


@_part
@no_type_check
def _ordered(value):
    """Bits of a float32 as an integer that sorts like the number."""
    bits = _f4(value).view(np.int32)
    return _i4(bits ^ _i4(_i4(bits >> _i4(31)) & _i4(_LAST)))


@_part
@no_type_check
def _nearness(wa, wb, wc, na, nb, nc):
    return _f4(wa) * na + _f4(wb) * nb + _f4(wc) * nc


def _edges(i: Any) -> Callable[..., Any]:
    @_part
    @no_type_check
    def edges(ax, ay, bx, by, cx, cy, x, y):
        """Of a triangle turned to positive area: the area, whether it was turned, edge functions at the centre of pixel
        (x, y), their steps per pixel in x and in y, and the biases of the top-left rule."""
        abx, aby, acx, acy = i(bx - ax), i(by - ay), i(cx - ax), i(cy - ay)
        area = i(i(abx * acy) - i(aby * acx))
        sign = i(-1) if area < 0 else i(1)
        abx, aby, acx, acy = i(abx * sign), i(aby * sign), i(acx * sign), i(acy * sign)
        bcx, bcy = i(acx - abx), i(acy - aby)
        px, py = i(i((x << _SHIFT) + _HALF) - ax), i(i((y << _SHIFT) + _HALF) - ay)
        wc = i(i(abx * py) - i(aby * px))
        wb = i(i(acy * px) - i(acx * py))
        wa = i(i(i(area * sign) - wb) - wc)
        shift = i(_SHIFT)
        steps = i(i(-bcy) << shift), i(acy << shift), i(i(-aby) << shift), i(bcx << shift), i(i(-acx) << shift), i(abx << shift)
        return area, sign, wa, wb, wc, steps, i(_bias(bcx, bcy)), i(_bias(i(-acx), i(-acy))), i(_bias(abx, aby))

    return edges


_edges32, _edges64 = _edges(np.int32), _edges(np.int64)


@_kernel
@no_type_check
def prepare(a, b, c, xs, ys, nearness, triangles, start, count, cull, stride, edges, scales, place):
    """One lane per small triangle: edge functions at its first pixel, their steps and biases, scaled nearness, and the place
    of that pixel in the frame buffer. Values lie CHUNK apart."""
    for k in range(count):
        t = _u8(triangles[_u8(start + k)])
        va, vb, vc = _u8(a[t]), _u8(b[t]), _u8(c[t])
        ax, ay, bx, by, cx, cy = xs[va], ys[va], xs[vb], ys[vb], xs[vc], ys[vc]
        x, y = _first(min(ax, bx, cx)), _first(min(ay, by, cy))
        area, sign, wa, wb, wc, steps, ba, bb, bc = _edges32(ax, ay, bx, by, cx, cy, x, y)
        hidden = (area == 0) | ((area > 0) & cull)
        scale = _f4(1) / _f4(_i4(area * sign))
        i = _u8(k)
        edges[i] = _i4(-1) if hidden else wa
        edges[i + _u8(1 * CHUNK)] = wb
        edges[i + _u8(2 * CHUNK)] = wc
        edges[i + _u8(3 * CHUNK)] = _i4(0) if hidden else steps[0]
        edges[i + _u8(4 * CHUNK)] = steps[1]
        edges[i + _u8(5 * CHUNK)] = steps[2]
        edges[i + _u8(6 * CHUNK)] = _i4(0) if hidden else steps[3]
        edges[i + _u8(7 * CHUNK)] = steps[4]
        edges[i + _u8(8 * CHUNK)] = steps[5]
        edges[i + _u8(9 * CHUNK)] = _i4(0) if hidden else ba
        edges[i + _u8(10 * CHUNK)] = bb
        edges[i + _u8(11 * CHUNK)] = bc
        scales[i] = nearness[va] * scale
        scales[i + _u8(1 * CHUNK)] = nearness[vb] * scale
        scales[i + _u8(2 * CHUNK)] = nearness[vc] * scale
        place[k] = _i4(_i4(y * _i4(stride)) + x)


@_kernel
@no_type_check
def evaluate(edges, scales, count, right, down, bits):
    """The upper half of the key of each small triangle at the pixel `right`, `down` from its first one, or OUTSIDE."""
    r, d = _i4(right), _i4(down)
    for k in range(count):
        i = _u8(k)
        ea = _i4(edges[i] + _i4(_i4(r * edges[i + _u8(3 * CHUNK)]) + _i4(d * edges[i + _u8(6 * CHUNK)])))
        eb = _i4(edges[i + _u8(CHUNK)] + _i4(_i4(r * edges[i + _u8(4 * CHUNK)]) + _i4(d * edges[i + _u8(7 * CHUNK)])))
        ec = _i4(edges[i + _u8(2 * CHUNK)] + _i4(_i4(r * edges[i + _u8(5 * CHUNK)]) + _i4(d * edges[i + _u8(8 * CHUNK)])))
        value = _ordered(_nearness(ea, eb, ec, scales[i], scales[i + _u8(CHUNK)], scales[i + _u8(2 * CHUNK)]))
        signs = _i4(_i4(ea + edges[i + _u8(9 * CHUNK)]) | _i4(eb + edges[i + _u8(10 * CHUNK)]))
        bits[k] = value if _i4(signs | _i4(ec + edges[i + _u8(11 * CHUNK)])) >= 0 else OUTSIDE


@_kernel
@no_type_check
def merge(triangles, start, count, place, offset, bits, keys):
    """Keys of one pixel per triangle into the frame buffer."""
    for k in range(_u8(count)):
        key = (np.int64(bits[k]) << np.int64(32)) | (np.int64(_LAST) - np.int64(triangles[_u8(start) + k]))
        p = _u8(place[k]) + _u8(offset)
        keys[p] = max(keys[p], key)


@_kernel
@no_type_check
def rows(a, b, c, xs, ys, nearness, triangles, start, stop, cull, height, width, keys):
    """Triangles of any size: one after the other, one lane per pixel of a row."""
    for k in range(_u8(start), _u8(stop)):
        t = _u8(triangles[k])
        va, vb, vc = _u8(a[t]), _u8(b[t]), _u8(c[t])
        ax, ay, bx, by, cx, cy = xs[va], ys[va], xs[vb], ys[vb], xs[vc], ys[vc]
        x0, x1 = _first(min(ax, bx, cx)), _last(max(ax, bx, cx), width)
        y0, y1 = _first(min(ay, by, cy)), _last(max(ay, by, cy), height)
        area, sign, wa, wb, wc, steps, ba, bb, bc = _edges64(ax, ay, bx, by, cx, cy, np.int64(x0), np.int64(y0))
        if (area == 0) | (cull & (area > 0)):
            continue
        scale = _f4(1) / _f4(area * sign)
        na, nb, nc = nearness[va] * scale, nearness[vb] * scale, nearness[vc] * scale
        low = np.int64(_LAST) - np.int64(t)
        lanes = (np.int64(x1) - np.int64(x0) + 8) // 8 * 8
        for y in range(_u8(y0), _u8(y1 + 1)):
            p = y * _u8(width + PAD) + _u8(x0)
            for x in range(lanes):
                ea, eb, ec = wa + x * steps[0], wb + x * steps[1], wc + x * steps[2]
                key = (np.int64(_ordered(_nearness(ea, eb, ec, na, nb, nc))) << np.int64(32)) | low
                key = key if ((ea + ba) | (eb + bb) | (ec + bc)) >= 0 else EMPTY
                keys[p + _u8(x)] = max(keys[p + _u8(x)], key)
            wa, wb, wc = wa + steps[3], wb + steps[4], wc + steps[5]


@_kernel
@no_type_check
def _count(keys, start, stop):
    hits = 0
    for x in range(_u8(start), _u8(stop)):
        hits += np.int64(keys[x] != EMPTY)
    return hits


@_kernel
@no_type_check
def _clear(index, weights, depth, start, stop):
    for x in range(_u8(start), _u8(stop)):
        index[x] = -1
        depth[x] = np.inf
    for x in range(_u8(3) * _u8(start), _u8(3) * _u8(stop)):
        weights[x] = 0


@_kernel
@no_type_check
def _resolve(a, b, c, xs, ys, nearness, perspective, y, start, count, keys, index, depth, weights):
    """Keys of one row to triangle, depth and weights; the keys become EMPTY."""
    py = _f8((y << _SHIFT) + _HALF)
    for k in range(_u8(count)):
        x = _u8(start) + k
        key = keys[x]
        keys[x] = EMPTY
        hit = key != EMPTY
        t = _i4(_i4(_LAST) - _i4(key)) if hit else _i4(0)
        va, vb, vc = _u8(a[_u8(t)]), _u8(b[_u8(t)]), _u8(c[_u8(t)])
        px = _f8((np.int64(x) << _SHIFT) + _HALF)
        # float64 is exact here up to extents of 16,384 px.
        ax, ay, bx, by = _f8(xs[va]) - px, _f8(ys[va]) - py, _f8(xs[vb]) - px, _f8(ys[vb]) - py
        cx, cy = _f8(xs[vc]) - px, _f8(ys[vc]) - py
        ea, eb, ec = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
        na, nb, nc = nearness[va], nearness[vb], nearness[vc]
        pa = _f4(ea) * (na if perspective else _f4(1))
        pb = _f4(eb) * (nb if perspective else _f4(1))
        pc = _f4(ec) * (nc if perspective else _f4(1))
        scale = _f4(1) / (pa + pb + pc)
        z = _f4(ea + eb + ec) * scale if perspective else -((pa * na + pb * nb + pc * nc) * scale)
        index[x] = t if hit else _i4(-1)
        depth[x] = z if hit else _f4(np.inf)
        weights[_u8(3) * x] = pa * scale if hit else _f4(0)
        weights[_u8(3) * x + _u8(1)] = pb * scale if hit else _f4(0)
        weights[_u8(3) * x + _u8(2)] = pc * scale if hit else _f4(0)


@_part
@no_type_check
def resolve(a, b, c, xs, ys, nearness, perspective, keys, index, weights, depth):
    """Keys of a picture to fragments; only the span of a row that has hits is worked out."""
    height, width = index.shape
    for y in range(height):
        row = keys[y * (width + PAD) : y * (width + PAD) + width]
        start, stop = width, 0
        for x in range(0, width, 32):
            if _count(row, x, min(x + 32, width)):
                start, stop = min(start, x), min(x + 32, width)
        start = min(start, stop)
        _clear(index[y], weights[y], depth[y], np.int64(0), start)
        _clear(index[y], weights[y], depth[y], stop, width)
        _resolve(a, b, c, xs, ys, nearness, perspective, y, start, stop - start, row, index[y], depth[y], weights[y])


@numba.njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def rasterize(vertices, a, b, c, near, cull, perspective, index, weights, depth, first, step):
    """Faces first, first + step, ... of a batch.

    `vertices` (n, v, 3); corners `a`, `b`, `c` int32; results (n, h, w), (n, h, 3 w) and (n, h, w).
    """
    height, width = index.shape[1], index.shape[2]
    count, stride = vertices.shape[1], width + PAD
    xs, ys, nearness = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float32)
    kind, order, starts = np.empty(a.shape[0], np.uint8), np.empty(a.shape[0], np.int32), np.empty(LARGE + 3, np.int64)
    edges, scales = np.empty(12 * CHUNK, np.int32), np.empty(3 * CHUNK, np.float32)
    place, bits = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.int32)
    keys = np.empty(height * stride + PAD, np.int64)
    keys[:] = EMPTY
    for f in range(first, vertices.shape[0], step):
        whole = snap(vertices[f], near, perspective, xs, ys, nearness)
        classify(a, b, c, xs, ys, height, width, kind)
        sort(kind, a, b, c, nearness, whole, order, starts)
        for k in range(LARGE - 1):
            stop = starts[k + 2]
            for start in range(starts[k + 1], stop, CHUNK):
                number = min(CHUNK, stop - start)
                prepare(a, b, c, xs, ys, nearness, order, start, number, cull, stride, edges, scales, place)
                for down in range(k // SIDE + 1):
                    for right in range(k % SIDE + 1):
                        evaluate(edges, scales, number, right, down, bits)
                        merge(order, start, number, place, down * stride + right, bits, keys)
        rows(a, b, c, xs, ys, nearness, order, starts[LARGE], starts[LARGE + 1], cull, height, width, keys)
        resolve(a, b, c, xs, ys, nearness, perspective, keys, index[f], weights[f], depth[f])
