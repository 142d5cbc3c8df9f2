"""Pixels of a worn mask: relief turned into light and shade, samples averaged into soft-edged colour."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from operators.compiled import kernel

HEAD, CLOTH, PLAIN, UNDER_HAIR = 0, 1, 2, 3
_f = np.float32
_KNEE = _f(0.86)
"""Above it brightness is compressed, as cameras do."""


@kernel
@no_type_check
def paint(
    index,
    weights,
    triangles,
    material,
    normals,
    across,
    down,
    texel,
    plain,
    maps,
    light,
    main,
    inside,
    shown,
    outside,
    hair,
    block,
    colour,
    alpha,
):
    """Mean colour (premultiplied, 0-1) and coverage of each `block` x `block` square of samples.

    `maps` (h, w, 7): albedo, slopes of the relief across and down, shade, gloss. `plain` (v, 4): colour and gloss of plain parts.
    `light` (9, 3) in the viewer's frame, `main` its main direction; `inside` is the cloth's other side.
    `shown` (height, width) is 0 where something of the photo, such as hair, lies in front of parts that are UNDER_HAIR and, as
    far as `hair` says, in front of the cloth's outer parts, but for what lies `outside` of the face: that is background.
    """
    height, width = alpha.shape
    rows, columns = maps.shape[0], maps.shape[1]
    part = _f(1.0 / (block * block))
    n, tx, ty, value = np.empty(3, _f), np.empty(3, _f), np.empty(3, _f), np.empty(7, _f)
    for y in range(height):
        for x in range(width):
            red, green, blue, count = _f(0), _f(0), _f(0), _f(0)
            for j in range(block):
                for i in range(block):
                    t = index[y * block + j, x * block + i]
                    if t < 0 or material[t] == HEAD:
                        continue
                    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                    w = weights[y * block + j, x * block + i]
                    for k in range(3):
                        n[k] = w[0] * normals[a, k] + w[1] * normals[b, k] + w[2] * normals[c, k]
                    share = shown[y, x] if material[t] == UNDER_HAIR else _f(1)
                    back = n[2] < _f(-0.02) and material[t] == CLOTH
                    if material[t] == CLOTH:
                        u = w[0] * texel[a, 0] + w[1] * texel[b, 0] + w[2] * texel[c, 0]
                        v = w[0] * texel[a, 1] + w[1] * texel[b, 1] + w[2] * texel[c, 1]
                        u, v = min(max(u, _f(0)), _f(columns - 1)), min(max(v, _f(0)), _f(rows - 1))
                        outer = (abs(_f(2) * u / _f(columns - 1) - _f(1)) - _f(0.5)) * _f(4)
                        share = _f(1) - hair * min(max(outer, _f(0)), _f(1)) * (_f(1) - max(shown[y, x], outside[y, x]))
                        x0, y0 = min(np.int64(u), columns - 2), min(np.int64(v), rows - 2)
                        fx, fy = u - _f(x0), v - _f(y0)
                        for k in range(7):
                            value[k] = (_f(1) - fy) * ((_f(1) - fx) * maps[y0, x0, k] + fx * maps[y0, x0 + 1, k]) + fy * (
                                (_f(1) - fx) * maps[y0 + 1, x0, k] + fx * maps[y0 + 1, x0 + 1, k]
                            )
                        for k in range(3):
                            tx[k] = w[0] * across[a, k] + w[1] * across[b, k] + w[2] * across[c, k]
                            ty[k] = w[0] * down[a, k] + w[1] * down[b, k] + w[2] * down[c, k]
                            n[k] -= value[3] * tx[k] + value[4] * ty[k]
                        shade, gloss = value[5], value[6]
                        if back:
                            for k in range(3):
                                n[k] = -n[k]
                                value[k] = inside[k]
                            shade, gloss = _f(0.6), _f(0)
                    else:
                        for k in range(3):
                            value[k] = w[0] * plain[a, k] + w[1] * plain[b, k] + w[2] * plain[c, k]
                        shade, gloss = _f(1), plain[a, 3]
                    length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
                    inv = _f(1) / max(length, _f(1e-6))
                    p, q, r = n[0] * inv, n[1] * inv, n[2] * inv
                    half = p * main[0] + q * main[1] + r * main[2]
                    shine = gloss * max(half, _f(0)) ** _f(24) if gloss > 0 else _f(0)
                    for k in range(3):
                        s = (
                            light[0, k] + q * light[1, k] + r * light[2, k] + p * light[3, k] + p * q * light[4, k]
                            + q * r * light[5, k] + (_f(3) * r * r - _f(1)) * light[6, k] + p * r * light[7, k]
                            + (p * p - q * q) * light[8, k]
                        )  # fmt: skip
                        s = max(s, _f(0.04)) * shade
                        lit = value[k] * s + shine * light[0, k]
                        if lit > _KNEE:
                            lit = _KNEE + (_f(1) - _KNEE) * (_f(1) - np.exp((_KNEE - lit) / (_f(1) - _KNEE)))
                        if k == 0:
                            red += share * lit
                        elif k == 1:
                            green += share * lit
                        else:
                            blue += share * lit
                    count += share
            alpha[y, x] = count * part
            colour[y, x, 0], colour[y, x, 1], colour[y, x, 2] = red * part, green * part, blue * part
