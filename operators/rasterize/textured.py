"""Textured pictures from supersampled fragments in one pass on the CPU: nothing is stored per sample."""

from __future__ import annotations

from functools import lru_cache
from typing import no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from operators.rasterize.base import Fragments
from operators.threads import share

_F = np.float32
_CLOSE = _F(1.0)
"""Samples of a pixel that lie within so many texels of each other are looked up once, at their mean."""


def average_texture(
    fragments: Fragments,
    corner_uv: Float[Tensor, "triangles 3 2"],
    textures: Num[Tensor, "faces_or_one px px 3"],
    block: int,
) -> tuple[Float[Tensor, "faces height width 3"], Float[Tensor, "faces height width"]]:
    """Mean colour of the covered samples of each `block` x `block` square (0 where none), and the share that is covered.

    Textures are floats in [0, 1] or bytes, one for each face or one for all; colours are in [0, 1]. Samples whose texels touch
    are averaged before the texture is looked up, which for a bilinear texture is the same to within a texel's own curvature.
    """
    n, height, width = fragments.pix_to_face.shape
    px = textures.shape[1]
    colour = torch.empty(n, height // block, width // block, 3)
    coverage = torch.empty(colour.shape[:3])
    given = (fragments.pix_to_face, fragments.barycentric, (corner_uv * px - 0.5).flatten(1), textures.flatten(1))
    index, weights, place, texture = (a.detach().contiguous().numpy() for a in given)
    scale = _F(1 / 255 if texture.dtype == np.uint8 else 1)
    average, given = _averaging(block), (index, weights, place, texture, px, scale, colour.numpy(), coverage.numpy())
    share(lambda first, step: average(*given, first, step), n)
    return colour, coverage


@lru_cache(maxsize=8)
@no_type_check
def _averaging(block: int):
    """The loop for one size of block, which is known to the compiler so that it can unroll: half the time."""

    @numba.njit(cache=True, error_model="numpy", nogil=True)
    def one(index, weights, place, texture, px, scale, colour, coverage):
        last, share = _F(px - 1), _F(1 / (block * block))
        us, vs = np.empty(block * block, _F), np.empty(block * block, _F)
        for y in range(coverage.shape[0]):
            for x in range(coverage.shape[1]):
                count = 0
                low_u, low_v, high_u, high_v = _F(np.inf), _F(np.inf), _F(-np.inf), _F(-np.inf)
                total_u, total_v = _F(0), _F(0)
                for j in range(block):
                    for i in range(block):
                        t = index[y * block + j, x * block + i]
                        if t >= 0:
                            at, w = place[t], weights[y * block + j, x * block + i]
                            u = w[0] * at[0] + w[1] * at[2] + w[2] * at[4]
                            v = w[0] * at[1] + w[1] * at[3] + w[2] * at[5]
                            low_u, high_u, low_v, high_v = min(low_u, u), max(high_u, u), min(low_v, v), max(high_v, v)
                            us[count], vs[count] = u, v
                            total_u += u
                            total_v += v
                            count += 1
                coverage[y, x] = _F(count) * share
                red, green, blue, looks = _F(0), _F(0), _F(0), count
                if count > 1 and high_u - low_u <= _CLOSE and high_v - low_v <= _CLOSE:
                    us[0], vs[0], looks = total_u / _F(count), total_v / _F(count), 1
                for k in range(looks):
                    u, v = min(max(us[k], _F(0)), last), min(max(vs[k], _F(0)), last)
                    x0, y0 = np.int32(u), np.int32(v)
                    fx, fy = u - _F(x0), v - _F(y0)
                    nw = (y0 * px + x0) * 3
                    ne = nw + (3 if x0 + 1 < px else 0)
                    down = 3 * px if y0 + 1 < px else 0
                    sw, se = nw + down, ne + down
                    w00, w01, w10, w11 = (_F(1) - fx) * (_F(1) - fy), fx * (_F(1) - fy), (_F(1) - fx) * fy, fx * fy
                    red += w00 * _F(texture[nw]) + w01 * _F(texture[ne]) + w10 * _F(texture[sw]) + w11 * _F(texture[se])
                    green += (
                        w00 * _F(texture[nw + 1]) + w01 * _F(texture[ne + 1])
                        + w10 * _F(texture[sw + 1]) + w11 * _F(texture[se + 1])
                    )  # fmt: skip
                    blue += (
                        w00 * _F(texture[nw + 2]) + w01 * _F(texture[ne + 2])
                        + w10 * _F(texture[sw + 2]) + w11 * _F(texture[se + 2])
                    )  # fmt: skip
                by = scale / _F(max(looks, 1))
                colour[y, x, 0], colour[y, x, 1], colour[y, x, 2] = red * by, green * by, blue * by

    @numba.njit(cache=True, error_model="numpy", nogil=True)
    def every(index, weights, place, textures, px, scale, colour, coverage, first, step):
        for f in range(first, index.shape[0], step):
            one(index[f], weights[f], place, textures[f % len(textures)], px, scale, colour[f], coverage[f])

    return every


def blend(
    colour: Float[np.ndarray, "faces height width 3"],
    coverage: Float[np.ndarray, "faces height width"],
    background: UInt8[np.ndarray, "faces_or_one height width 3"],
    opacity: float,
    out: UInt8[np.ndarray, "faces height width 3"],
) -> None:
    """Writes colour over background (one for each face or one for all) into `out`, rounded."""
    pixels = (len(out), -1, 3)
    given = colour.reshape(pixels), coverage.reshape(len(out), -1), background.reshape(len(background), -1, 3)
    share(lambda first, step: _blend(*given, _F(opacity), out.reshape(pixels), first, step), len(out))


@numba.njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def _blend(colour, coverage, background, opacity, out, first, step):
    for f in range(first, len(out), step):
        above, below, to = colour[f], background[f % len(background)], out[f]
        for p in range(len(to)):
            share = opacity * coverage[f, p]
            if share == 0:
                to[p, 0], to[p, 1], to[p, 2] = below[p, 0], below[p, 1], below[p, 2]
                continue
            for k in range(3):
                under = _F(below[p, k])
                value = under + share * (above[p, k] * _F(255) - under) + _F(0.5)
                to[p, k] = np.uint8(np.int32(min(max(value, _F(0)), _F(255))))
