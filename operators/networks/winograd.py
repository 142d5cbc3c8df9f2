"""3x3 convolutions with mirrored borders by Winograd's minimal filtering, with the instance norm behind them, on a CPU.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, F(4x4, 3x3): 36 products where a direct
convolution has 144. A picture is cut into tiles of 4x4 pixels with one more around; each becomes 36 numbers per channel, channels
are mixed by 36 matrices, and the result becomes 4x4 pixels again. With a dilation of d the picture is d x d pictures of every
d-th pixel. A bias is not added: the norm takes it out. In channels-last order, so that the innermost loops run over channels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from operators.compiled import kernel
from operators.networks.instance_norm import normed_
from operators.threads import share

_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_PACKING = ("_linear_pointwise", "_reorder_linear_weight")
_ROWS = 256
"""Rows that matrices are packed for; any number works."""


def available() -> bool:
    """Whether this torch has what is needed: oneDNN, and the operations that torch.compile uses on a CPU."""
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _PACKING)


class MirroredConv:
    """A 3x3 convolution (stride 1, one group) of a picture mirrored by its dilation, and an instance norm behind it."""

    def __init__(self, conv: nn.Conv2d):
        if conv.kernel_size != (3, 3) or conv.stride != (1, 1) or conv.groups != 1 or conv.dilation[0] != conv.dilation[1]:
            raise ValueError(f"expected a 3x3 convolution of stride 1 in one group, got {conv}")
        g = torch.tensor(_G, dtype=torch.float64)
        spectra = torch.einsum("ea,fb,ocab->efoc", g, g, conv.weight.detach().double()).flatten(0, 1).float()
        with torch.inference_mode():
            self.matrices: list[Any] = [torch.ops.mkldnn._reorder_linear_weight(matrix.contiguous(), _ROWS) for matrix in spectra]
        self.outputs, self.dilation = conv.out_channels, conv.dilation[0]

    def __call__(
        self, x: Float[Tensor, "h w c"], relu: bool = False, add: Float[Tensor, "h w d"] | None = None
    ) -> Float[Tensor, "h w d"]:
        """norm(conv(x)), then with `relu` its positive part, or with `add` the sum with that."""
        height, width, channels = x.shape
        tiles = _tiles(height, width, self.dilation)
        count = len(tiles[0])
        spread = torch.empty(36, count, channels)
        given = x.contiguous().numpy()
        share(lambda first, step: _spread(given, *tiles, spread.numpy(), first, step), count)
        multiplied = torch.ops.mkldnn._linear_pointwise
        mixed = tuple(multiplied(s, m, None, "none", [], "").numpy() for s, m in zip(spread, self.matrices, strict=True))
        out = torch.empty(height, width, self.outputs)
        share(lambda first, step: _gathered(mixed, *tiles, out.numpy(), first, step), count)
        return normed_(out, relu, add)


@lru_cache(maxsize=16)
def _tiles(height: int, width: int, dilation: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the 6 x 6 pixels that each tile looks at, in the mirrored picture's own counting."""

    def lines(size: int) -> list[np.ndarray]:
        found = []
        for phase in range(dilation):
            for start in range(0, len(range(phase, size, dilation)), 4):
                found.append(phase + dilation * (np.arange(6) + start - 1))
        return found

    pairs = [(rows, columns) for rows in lines(height) for columns in lines(width)]
    return np.stack([rows for rows, _ in pairs]), np.stack([columns for _, columns in pairs])


@kernel
@no_type_check
def _mirrored(i, size):
    i = abs(i)
    return min(i if i < size else abs(2 * (size - 1) - i), size - 1)


@kernel
@no_type_check
def _spread(x, rows, columns, out, first, step):
    height, width, channels = x.shape
    middle = np.empty((6, 6, channels), np.float32)
    for t in range(first, len(rows), step):
        r0, r1, r2, r3, r4, r5 = (
            _mirrored(rows[t, 0], height), _mirrored(rows[t, 1], height), _mirrored(rows[t, 2], height),
            _mirrored(rows[t, 3], height), _mirrored(rows[t, 4], height), _mirrored(rows[t, 5], height),
        )  # fmt: skip
        for j in range(6):
            k = _mirrored(columns[t, j], width)
            _to_six(x[r0, k], x[r1, k], x[r2, k], x[r3, k], x[r4, k], x[r5, k], middle[:, j])
        for e in range(6):
            m = middle[e]
            _to_six(m[0], m[1], m[2], m[3], m[4], m[5], out[6 * e : 6 * e + 6, t])


@kernel
@no_type_check
def _to_six(a, b, c, d, e, f, out):
    o0, o1, o2, o3, o4, o5 = out[0], out[1], out[2], out[3], out[4], out[5]
    four, five, two = np.float32(4), np.float32(5), np.float32(2)
    for i in range(a.shape[0]):
        even, odd = e[i] - four * c[i], d[i] - four * b[i]
        low, lower = e[i] - c[i], two * (d[i] - b[i])
        o0[i] = four * a[i] - five * c[i] + e[i]
        o1[i] = even + odd
        o2[i] = even - odd
        o3[i] = low + lower
        o4[i] = low - lower
        o5[i] = four * b[i] - five * d[i] + f[i]


@kernel
@no_type_check
def _gathered(mixed, rows, columns, out, first, step):
    height, width, channels = out.shape
    middle = np.empty((4, 6, channels), np.float32)
    last = np.empty((4, channels), np.float32)
    for t in range(first, len(rows), step):
        for f in range(6):
            a, b, c = mixed[f][t], mixed[6 + f][t], mixed[12 + f][t]
            d, e, last_one = mixed[18 + f][t], mixed[24 + f][t], mixed[30 + f][t]
            _to_four(a, b, c, d, e, last_one, middle[:, f])
        for i in range(4):
            row = rows[t, i + 1]
            if row >= height:
                continue
            m = middle[i]
            _to_four(m[0], m[1], m[2], m[3], m[4], m[5], last)
            for j in range(4):
                if columns[t, j + 1] < width:
                    out[row, columns[t, j + 1]] = last[j]


@kernel
@no_type_check
def _to_four(a, b, c, d, e, f, out):
    o0, o1, o2, o3 = out[0], out[1], out[2], out[3]
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    for i in range(a.shape[0]):
        s, u, v, w = b[i] + c[i], b[i] - c[i], d[i] + e[i], d[i] - e[i]
        o0[i] = a[i] + s + v
        o1[i] = u + two * w
        o2[i] = s + four * v
        o3[i] = u + eight * w + f[i]
