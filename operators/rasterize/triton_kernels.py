"""GPU kernels of the rasterizer: the arithmetic and the keys of `numba_kernels`, operation by operation.

Pass 1, `draw_small`: one lane per triangle; those whose box holds at most SIDE x SIDE pixel centres walk it and take the
maximum of their keys with 64-bit atomics, the others go into one of two queues. Pass 2, `draw_queued`: one warp per
triangle of the first queue, many warps per triangle of the second, lanes over pixels; so one big triangle does not hold up
31 small ones. Pass 3, `resolve`: keys to triangle, barycentrics and depth. A maximum does not depend on the order of its
operands: results are the same in every run.

The launches switch fused multiply-add off and divisions round to nearest, so that pixels equal those of the CPU. Loops over
tensors are `while` because Triton's interpreter cannot make a range of them with numpy 2.4.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

SIDE = tl.constexpr(4)
HUGE = tl.constexpr(32)
EMPTY_KEY = -(2**63) + 2**32 - 1
_EMPTY = tl.constexpr(EMPTY_KEY)
_SHIFT, _HALF, _LAST = tl.constexpr(12), tl.constexpr(2048), tl.constexpr(2**31 - 1)
_EXACT = tl.constexpr(8 * 4096)
_SUBPIXEL, _LIMIT_PX, _FAR = tl.constexpr(4096.0), tl.constexpr(65536.0), tl.constexpr(1e18)


@triton.jit
@no_type_check
def _fixed(x):
    """Nearest multiple of 1 / SUBPIXEL px, halves to even."""
    scaled = x * _SUBPIXEL
    low = tl.floor(scaled)
    rest = scaled - low
    whole = low.to(tl.int32)
    return whole + ((rest > 0.5) | ((rest == 0.5) & ((whole & 1) == 1))).to(tl.int32)


@triton.jit
@no_type_check
def _corner(vertices, face, v, n_vertices, near, valid):
    """Fixed-point x and y, Z, and whether the vertex can be used."""
    valid = valid & (v >= 0) & (v < n_vertices)
    p = vertices + (face.to(tl.int64) * n_vertices + v) * 3
    x = tl.load(p, mask=valid, other=0.0)
    y = tl.load(p + 1, mask=valid, other=0.0)
    z = tl.load(p + 2, mask=valid, other=1.0)
    usable = valid & (z >= near) & (tl.abs(z) < _FAR) & (tl.abs(x) < _LIMIT_PX) & (tl.abs(y) < _LIMIT_PX)
    return _fixed(tl.where(usable, x, 0.0)), _fixed(tl.where(usable, y, 0.0)), tl.where(usable, z, 1.0), usable


@triton.jit
@no_type_check
def _triangle(vertices, triangles, face, t, n_vertices, n_triangles, near, valid):
    a = tl.load(triangles + t, mask=valid, other=-1)
    b = tl.load(triangles + n_triangles + t, mask=valid, other=-1)
    c = tl.load(triangles + 2 * n_triangles + t, mask=valid, other=-1)
    ax, ay, az, usable_a = _corner(vertices, face, a, n_vertices, near, valid)
    bx, by, bz, usable_b = _corner(vertices, face, b, n_vertices, near, valid)
    cx, cy, cz, usable_c = _corner(vertices, face, c, n_vertices, near, valid)
    return ax, ay, az, bx, by, bz, cx, cy, cz, usable_a & usable_b & usable_c


@triton.jit
@no_type_check
def _box(ax, bx, cx, size):
    """First and last pixel of the picture whose centre lies in the triangle's extent along one axis."""
    low, high = tl.minimum(tl.minimum(ax, bx), cx), tl.maximum(tl.maximum(ax, bx), cx)
    return tl.maximum((low + (_HALF - 1)) >> _SHIFT, 0), tl.minimum((high - _HALF) >> _SHIFT, size - 1), high - low


@triton.jit
@no_type_check
def _area(ax, ay, bx, by, cx, cy):
    return (bx - ax).to(tl.int64) * (cy - ay).to(tl.int64) - (by - ay).to(tl.int64) * (cx - ax).to(tl.int64)


@triton.jit
@no_type_check
def _bias(dx, dy):
    """0 for a top or left edge of a triangle with positive area (y down), else -1: a centre on it is then outside."""
    return tl.where((dy < 0) | ((dy == 0) & (dx > 0)), 0, -1)


@triton.jit
@no_type_check
def _nearness(z, scale, PERSPECTIVE: tl.constexpr):
    if PERSPECTIVE:
        return tl.div_rn(1.0, z) * scale
    else:
        return -z * scale


@triton.jit
@no_type_check
def _key(wa, wb, wc, na, nb, nc, t):
    """Upper half: how near, as an integer that sorts like the number. Lower half: larger for a smaller triangle index."""
    value = wa.to(tl.float32) * na + wb.to(tl.float32) * nb + wc.to(tl.float32) * nc
    bits = value.to(tl.int32, bitcast=True)
    bits = bits ^ ((bits >> 31) & _LAST)
    return (bits.to(tl.int64) << 32) + _LAST - t


@triton.jit
@no_type_check
def draw_small(
    vertices, triangles, keys, queues, lengths, n_vertices, n_triangles, capacity, height, width, near,
    CULL: tl.constexpr, PERSPECTIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of triangles, faces)."""
    face = tl.program_id(1)
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ax, ay, az, bx, by, bz, cx, cy, cz, alive = _triangle(
        vertices, triangles, face, t, n_vertices, n_triangles, near, t < n_triangles
    )
    x0, x1, extent_x = _box(ax, bx, cx, width)
    y0, y1, extent_y = _box(ay, by, cy, height)
    area = _area(ax, ay, bx, by, cx, cy)
    alive = alive & (x1 >= x0) & (y1 >= y0) & (area != 0)
    if CULL:
        alive = alive & (area < 0)
    across, down = x1 - x0 + 1, y1 - y0 + 1
    # Below 8 px both products of an edge function stay below 2^30: int32 is exact.
    small = alive & (across <= SIDE) & (down <= SIDE) & (extent_x < _EXACT) & (extent_y < _EXACT)

    queued = alive & (small == 0)
    huge = queued & ((across > HUGE) | (down > HUGE))
    entry = face * n_triangles + t
    for q in tl.static_range(2):
        chosen = huge if q == 1 else queued & (huge == 0)
        count = tl.sum(chosen.to(tl.int32), 0)
        if count > 0:
            place = tl.atomic_add(lengths + q, count, sem="relaxed") + tl.cumsum(chosen.to(tl.int32), 0) - 1
            tl.store(queues + q * capacity + place, entry, mask=chosen)

    sign = tl.where(area < 0, -1, 1)
    abx, aby, acx, acy = (bx - ax) * sign, (by - ay) * sign, (cx - ax) * sign, (cy - ay) * sign
    bcx, bcy = acx - abx, acy - aby
    px, py = (x0 << _SHIFT) + _HALF - ax, (y0 << _SHIFT) + _HALF - ay
    whole = abx * acy - aby * acx
    whole = whole * sign
    wc, wb = abx * py - aby * px, acy * px - acx * py
    wa = whole - wb - wc
    ba, bb, bc = _bias(bcx, bcy), _bias(-acx, -acy), _bias(abx, aby)
    scale = tl.div_rn(1.0, tl.where(small, whole, 1).to(tl.float32))
    na, nb, nc = _nearness(az, scale, PERSPECTIVE), _nearness(bz, scale, PERSPECTIVE), _nearness(cz, scale, PERSPECTIVE)
    first = keys + (face.to(tl.int64) * height + y0) * width + x0
    rows, columns = tl.max(tl.where(small, down, 0), 0), tl.max(tl.where(small, across, 0), 0)
    row = 0
    while row < rows:
        column = 0
        while column < columns:
            ea = wa - column * (bcy << _SHIFT) + row * (bcx << _SHIFT)
            eb = wb + column * (acy << _SHIFT) - row * (acx << _SHIFT)
            ec = wc - column * (aby << _SHIFT) + row * (abx << _SHIFT)
            inside = small & (column < across) & (row < down) & (((ea + ba) | (eb + bb) | (ec + bc)) >= 0)
            tl.atomic_max(first + row * width + column, _key(ea, eb, ec, na, nb, nc, t), mask=inside, sem="relaxed")
            column += 1
        row += 1


@triton.jit
@no_type_check
def draw_queued(
    vertices, triangles, keys, queue, length, n_vertices, n_triangles, height, width, near,
    PERSPECTIVE: tl.constexpr, TILE_X: tl.constexpr, TILE_Y: tl.constexpr,
):  # fmt: skip
    """Grid (programs that share the queue, programs that share each triangle)."""
    lane = tl.arange(0, TILE_X * TILE_Y)
    count = tl.load(length)
    i = tl.program_id(0)
    while i < count:
        entry = tl.load(queue + i)
        face, t = entry // n_triangles, entry % n_triangles
        ax, ay, az, bx, by, bz, cx, cy, cz, _ = _triangle(
            vertices, triangles, face, t, n_vertices, n_triangles, near, t < n_triangles
        )
        x0, x1, _ = _box(ax, bx, cx, width)
        y0, y1, _ = _box(ay, by, cy, height)
        area = _area(ax, ay, bx, by, cx, cy)
        sign = tl.where(area < 0, -1, 1)
        abx, aby = ((bx - ax) * sign).to(tl.int64), ((by - ay) * sign).to(tl.int64)
        acx, acy = ((cx - ax) * sign).to(tl.int64), ((cy - ay) * sign).to(tl.int64)
        bcx, bcy = acx - abx, acy - aby
        area = area * sign
        ba, bb, bc = _bias(bcx, bcy), _bias(-acx, -acy), _bias(abx, aby)
        scale = tl.div_rn(1.0, area.to(tl.float32))
        na, nb, nc = _nearness(az, scale, PERSPECTIVE), _nearness(bz, scale, PERSPECTIVE), _nearness(cz, scale, PERSPECTIVE)
        columns = (x1 - x0) // TILE_X + 1
        tiles = columns * ((y1 - y0) // TILE_Y + 1)
        tile = tl.program_id(1)
        while tile < tiles:
            x = x0 + (tile % columns) * TILE_X + lane % TILE_X
            y = y0 + (tile // columns) * TILE_Y + lane // TILE_X
            px, py = ((x << _SHIFT) + _HALF - ax).to(tl.int64), ((y << _SHIFT) + _HALF - ay).to(tl.int64)
            wc, wb = abx * py - aby * px, acy * px - acx * py
            wa = area - wb - wc
            inside = (x <= x1) & (y <= y1) & (((wa + ba) | (wb + bb) | (wc + bc)) >= 0)
            place = keys + (face.to(tl.int64) * height + y) * width + x
            tl.atomic_max(place, _key(wa, wb, wc, na, nb, nc, t), mask=inside, sem="relaxed")
            tile += tl.num_programs(1)
        i += tl.num_programs(0)


@triton.jit
@no_type_check
def resolve(
    vertices, triangles, keys, index, weights, depth, n_vertices, n_triangles, height, width, near,
    PERSPECTIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of pixels, faces)."""
    face = tl.program_id(1)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < height * width
    place = face.to(tl.int64) * height * width + pixel
    key = tl.load(keys + place, mask=inside, other=_EMPTY)
    hit = key != _EMPTY
    t = tl.where(hit, _LAST - (key & _LAST).to(tl.int32), 0)
    ax, ay, az, bx, by, bz, cx, cy, cz, _ = _triangle(vertices, triangles, face, t, n_vertices, n_triangles, near, hit)
    px, py = ((pixel % width) << _SHIFT) + _HALF, ((pixel // width) << _SHIFT) + _HALF
    ea, eb, ec = _area(px, py, bx, by, cx, cy), _area(px, py, cx, cy, ax, ay), _area(px, py, ax, ay, bx, by)
    if PERSPECTIVE:
        pa = ea.to(tl.float32) * tl.div_rn(1.0, az)
        pb = eb.to(tl.float32) * tl.div_rn(1.0, bz)
        pc = ec.to(tl.float32) * tl.div_rn(1.0, cz)
        scale = tl.div_rn(1.0, tl.where(hit, pa + pb + pc, 1.0))
        z = (ea + eb + ec).to(tl.float32) * scale
    else:
        pa, pb, pc = ea.to(tl.float32), eb.to(tl.float32), ec.to(tl.float32)
        scale = tl.div_rn(1.0, tl.where(hit, pa + pb + pc, 1.0))
        z = (pa * az + pb * bz + pc * cz) * scale
    tl.store(index + place, tl.where(hit, t, -1), mask=inside)
    tl.store(depth + place, tl.where(hit, z, float("inf")), mask=inside)
    tl.store(weights + place * 3, tl.where(hit, pa * scale, 0.0), mask=inside)
    tl.store(weights + place * 3 + 1, tl.where(hit, pb * scale, 0.0), mask=inside)
    tl.store(weights + place * 3 + 2, tl.where(hit, pc * scale, 0.0), mask=inside)
