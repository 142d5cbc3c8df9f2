"""Texture work on the CPU, texel by texel in compiled loops: the same results as the tensor code in `texture`.

Every function does faces first, first + step, ... one at a time: threads share them (see `operators.threads`), and a
face's bits do not depend on its company.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numba
import numpy as np

_F = np.float32
_BINS = 4096
_kernel: Any = numba.njit(cache=True, error_model="numpy", nogil=True)


@_kernel
@no_type_check
def lit(tint, normals, light, corners, weights, out, first, step):
    """out (faces, covered, 3): tint times the light at the vertices, interpolated; in [0, 1]."""
    for f in range(first, len(out), step):
        shading = np.empty((normals.shape[1], 3), _F)
        for v in range(normals.shape[1]):
            x, y, z = normals[f, v, 0], normals[f, v, 1], normals[f, v, 2]
            xy, yz, zz, xz, xx = x * y, y * z, _F(3) * z * z - _F(1), x * z, x * x - y * y
            for k in range(3):
                level = (
                    light[f, 0, k] + light[f, 1, k] * y + light[f, 2, k] * z + light[f, 3, k] * x + light[f, 4, k] * xy
                    + light[f, 5, k] * yz + light[f, 6, k] * zz + light[f, 7, k] * xz + light[f, 8, k] * xx
                )  # fmt: skip
                shading[v, k] = max(level, _F(1e-3))
        for i in range(len(corners)):
            a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
            wa, wb, wc = weights[i, 0], weights[i, 1], weights[i, 2]
            for k in range(3):
                level = shading[a, k] * wa + shading[b, k] * wb + shading[c, k] * wc
                out[f, i, k] = min(max(tint[f, 3 * i + k] * level, _F(0)), _F(1))


@_kernel
@no_type_check
def sample(photo, usable, placed, facing, depth, corners, weights, slack, photo_out, trust_out, first, step):
    """photo_out (faces, covered, 3) in [0, 1] and trust_out (faces, covered); both 0 where a texel is not to be trusted."""
    height, width = usable.shape[1], usable.shape[2]
    by_y, by_x = _F(depth.shape[1] / height), _F(depth.shape[2] / width)
    for f in range(first, len(trust_out), step):
        near, far = np.inf, -np.inf
        for v in range(placed.shape[1]):
            near, far = min(near, placed[f, v, 2]), max(far, placed[f, v, 2])
        allowed = _F(slack * (far - near))
        for i in range(len(corners)):
            trust_out[f, i] = 0
            photo_out[f, i, 0] = photo_out[f, i, 1] = photo_out[f, i, 2] = 0
            a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
            wa, wb, wc = weights[i, 0], weights[i, 1], weights[i, 2]
            angle = (facing[f, a] * wa + facing[f, b] * wb + facing[f, c] * wc - _F(0.15)) / _F(0.35)
            if not angle > 0:
                continue
            x = placed[f, a, 0] * wa + placed[f, b, 0] * wb + placed[f, c, 0] * wc
            y = placed[f, a, 1] * wa + placed[f, b, 1] * wb + placed[f, c, 1] * wc
            if not (x > 0 and y > 0 and x < width and y < height):
                continue
            front = depth[f, int(y * by_y), int(x * by_x)]
            z = placed[f, a, 2] * wa + placed[f, b, 2] * wb + placed[f, c, 2] * wc
            if not (np.isfinite(front) and z <= front + allowed):
                continue
            x, y = x - _F(0.5), y - _F(0.5)
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            fx, fy = x - _F(x0), y - _F(y0)
            red, green, blue, open_ = _F(0), _F(0), _F(0), _F(0)
            for dy in range(2):
                for dx in range(2):
                    py, px = y0 + dy, x0 + dx
                    if py < 0 or px < 0 or py >= height or px >= width:
                        continue
                    w = (fy if dy else _F(1) - fy) * (fx if dx else _F(1) - fx)
                    red += w * _F(photo[f, py, px, 0])
                    green += w * _F(photo[f, py, px, 1])
                    blue += w * _F(photo[f, py, px, 2])
                    open_ += w * usable[f, py, px]
            if not open_ > 0:
                continue
            trust_out[f, i] = min(angle, _F(1)) * open_
            scale = _F(1 / 255)
            photo_out[f, i, 0], photo_out[f, i, 1], photo_out[f, i, 2] = red * scale, green * scale, blue * scale


@_kernel
@no_type_check
def joined(model, photo, trust, mirror, texels, px, mirror_trust, eps, clip, spread, out, first, step):
    """out (faces, covered, 3) uint8: `texture.complete` at the covered texels."""
    for f in range(first, len(out), step):
        _joined_one(model[f], photo[f], trust[f], mirror, texels, px, mirror_trust, eps, clip, spread, out[f])


@_kernel
@no_type_check
def _joined_one(model, photo, trust, mirror, texels, px, mirror_trust, eps, clip, spread, out):
    count = len(texels)
    ratio, sure = np.zeros((count, 3), _F), np.zeros(count, _F)
    for i in range(count):
        if trust[i] > 0:
            for k in range(3):
                ratio[i, k] = min(max(_F(np.log((photo[i, k] + eps) / (model[i, k] + eps))), -clip), clip)
    middle = _medians(ratio, trust, clip)
    for i in range(count):
        if trust[i] > 0:
            total = _F(0)
            for k in range(3):
                off = (ratio[i, k] - middle[k]) / spread
                total += off * off
            weight = _F(1) / (_F(1) + total / _F(3))
            sure[i] = trust[i] * weight * weight
    field = np.zeros((px * px, 4), _F)
    for i in range(count):
        j = mirror[i]
        borrowed = mirror_trust * sure[j] * (_F(1) - trust[i])
        for k in range(3):
            field[texels[i], k] = ratio[i, k] * sure[i] + ratio[j, k] * borrowed
        field[texels[i], 3] = sure[i] + borrowed
    smooth = _spread(_pooled(field.reshape(px, px, 4)))
    for i in range(count):
        own = field[texels[i]]
        up = _up(smooth, texels[i] // px, texels[i] % px, px, px)
        for k in range(3):
            value = own[k] + (_F(1) - own[3]) * up[k]
            filled = (model[i, k] + eps) * _F(np.exp(value)) - eps
            value = filled + trust[i] * (photo[i, k] - filled)
            out[i, k] = np.uint8(np.int32(min(max(value, _F(0)), _F(1)) * _F(255) + _F(0.5)))


@_kernel
@no_type_check
def _medians(ratio, trust, clip):
    """Lower median per channel where trust is above a half, to a 4096th of the range; 0 where there is none."""
    counts = np.zeros((3, _BINS), np.int64)
    total = 0
    scale = _F(_BINS - 1) / (_F(2) * clip)
    for i in range(len(trust)):
        if trust[i] > _F(0.5):
            total += 1
            for k in range(3):
                counts[k, int((ratio[i, k] + clip) * scale + _F(0.5))] += 1
    out = np.zeros(3, _F)
    if total:
        for k in range(3):
            seen, b = counts[k, 0], 0
            while seen <= (total - 1) // 2:
                b += 1
                seen += counts[k, b]
            out[k] = _F(b) / scale - clip
    return out


@_kernel
@no_type_check
def _pooled(field):
    """Half the size: sums of 2 x 2 premultiplied values and weights, scaled so that a weight is at most 1."""
    height, width = field.shape[:2]
    out = np.empty(((height + 1) // 2, (width + 1) // 2, 4), _F)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            y0, x0 = 2 * y, 2 * x
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            weight = field[y0, x0, 3] + field[y0, x1, 3] + field[y1, x0, 3] + field[y1, x1, 3]
            scale = _F(1) / max(weight, _F(1))
            for k in range(3):
                out[y, x, k] = (field[y0, x0, k] + field[y0, x1, k] + field[y1, x0, k] + field[y1, x1, k]) * scale
            out[y, x, 3] = weight * scale
    return out


@_kernel
@no_type_check
def _spread(field):
    """The field completed: itself as far as its weights go, the completed half-size field for the rest."""
    levels = [field]
    while levels[-1].shape[0] > 1 or levels[-1].shape[1] > 1:
        levels.append(_pooled(levels[-1]))
    top = levels[-1]
    smooth = np.empty((1, 1, 3), _F)
    for k in range(3):
        smooth[0, 0, k] = top[0, 0, k] / max(top[0, 0, 3], _F(1e-6))
    for level in range(len(levels) - 2, -1, -1):
        field = levels[level]
        height, width = field.shape[:2]
        out = np.empty((height, width, 3), _F)
        for y in range(height):
            for x in range(width):
                rest = _F(1) - field[y, x, 3]
                up = _up(smooth, y, x, height, width)
                for k in range(3):
                    out[y, x, k] = field[y, x, k] + rest * up[k]
        smooth = out
    return smooth


@numba.njit(cache=True, inline="always")
@no_type_check
def _up(small, y, x, height, width):
    """Bilinear value of a smaller picture at a pixel of a picture of height x width."""
    rows, columns = small.shape[:2]
    sy = max((_F(y) + _F(0.5)) * _F(rows) / _F(height) - _F(0.5), _F(0))
    sx = max((_F(x) + _F(0.5)) * _F(columns) / _F(width) - _F(0.5), _F(0))
    y0, x0 = int(sy), int(sx)
    y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
    fy, fx = sy - _F(y0), sx - _F(x0)
    w00, w01, w10, w11 = (_F(1) - fy) * (_F(1) - fx), (_F(1) - fy) * fx, fy * (_F(1) - fx), fy * fx
    return (
        w00 * small[y0, x0, 0] + w01 * small[y0, x1, 0] + w10 * small[y1, x0, 0] + w11 * small[y1, x1, 0],
        w00 * small[y0, x0, 1] + w01 * small[y0, x1, 1] + w10 * small[y1, x0, 1] + w11 * small[y1, x1, 1],
        w00 * small[y0, x0, 2] + w01 * small[y0, x1, 2] + w10 * small[y1, x0, 2] + w11 * small[y1, x1, 2],
    )
