"""Textured pictures from supersampled fragments in one pass on the CPU: nothing is stored per sample."""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from operators.rasterize.base import Fragments


def average_texture(
    fragments: Fragments,
    corner_uv: Float[Tensor, "triangles 3 2"],
    textures: Float[Tensor, "faces px px 3"],
    block: int,
) -> tuple[Float[Tensor, "faces height width 3"], Float[Tensor, "faces height width"]]:
    """Mean colour of the covered samples of each `block` x `block` square (0 where none), and the share that is covered."""
    n, height, width = fragments.pix_to_face.shape
    colour = np.empty((n, height // block, width // block, 3), np.float32)
    coverage = np.empty(colour.shape[:3], np.float32)
    index, weights, uv, texture = (
        np.ascontiguousarray(a.detach().numpy()) for a in (fragments.pix_to_face, fragments.barycentric, corner_uv, textures)
    )
    before = numba.get_num_threads()
    numba.set_num_threads(min(before, torch.get_num_threads()))
    try:
        _average(index, weights, uv, texture, block, colour, coverage)
    finally:
        numba.set_num_threads(before)
    return torch.from_numpy(colour), torch.from_numpy(coverage)


@numba.njit(cache=True, parallel=True)
@no_type_check
def _average(index, weights, corner_uv, textures, block, colour, coverage):
    px = textures.shape[1]
    last = px - 1
    for f in numba.prange(index.shape[0]):
        texture = textures[f]
        for y in range(colour.shape[1]):
            for x in range(colour.shape[2]):
                red, green, blue, count = np.float32(0), np.float32(0), np.float32(0), 0
                for sy in range(y * block, (y + 1) * block):
                    for sx in range(x * block, (x + 1) * block):
                        t = index[f, sy, sx]
                        if t < 0:
                            continue
                        a, b, c = weights[f, sy, sx, 0], weights[f, sy, sx, 1], weights[f, sy, sx, 2]
                        u = a * corner_uv[t, 0, 0] + b * corner_uv[t, 1, 0] + c * corner_uv[t, 2, 0]
                        v = a * corner_uv[t, 0, 1] + b * corner_uv[t, 1, 1] + c * corner_uv[t, 2, 1]
                        u = min(max(u * px - np.float32(0.5), np.float32(0)), np.float32(last))
                        v = min(max(v * px - np.float32(0.5), np.float32(0)), np.float32(last))
                        x0, y0 = int(u), int(v)
                        x1, y1 = min(x0 + 1, last), min(y0 + 1, last)
                        fx, fy = u - np.float32(x0), v - np.float32(y0)
                        w00, w01 = (1 - fx) * (1 - fy), fx * (1 - fy)
                        w10, w11 = (1 - fx) * fy, fx * fy
                        red += (
                            w00 * texture[y0, x0, 0]
                            + w01 * texture[y0, x1, 0]
                            + w10 * texture[y1, x0, 0]
                            + w11 * texture[y1, x1, 0]
                        )
                        green += (
                            w00 * texture[y0, x0, 1]
                            + w01 * texture[y0, x1, 1]
                            + w10 * texture[y1, x0, 1]
                            + w11 * texture[y1, x1, 1]
                        )
                        blue += (
                            w00 * texture[y0, x0, 2]
                            + w01 * texture[y0, x1, 2]
                            + w10 * texture[y1, x0, 2]
                            + w11 * texture[y1, x1, 2]
                        )
                        count += 1
                scale = np.float32(1.0 / max(count, 1))
                colour[f, y, x, 0], colour[f, y, x, 1], colour[f, y, x, 2] = red * scale, green * scale, blue * scale
                coverage[f, y, x] = count / (block * block)
