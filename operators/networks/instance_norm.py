"""Instance norm of one picture in channels-last order, on a CPU: in place, with what follows it in the same pass."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from torch import Tensor

from operators.compiled import kernel
from operators.threads import share

_EPS = 1e-5


def normed_(x: Float[Tensor, "h w c"], relu: bool = False, add: Float[Tensor, "h w c"] | None = None) -> Float[Tensor, "h w c"]:
    """Every channel to mean 0 and variance 1 (eps 1e-5), then with `relu` its positive part, or with `add` the sum with that.

    Sums go row by row, so that the bits do not depend on the number of threads.
    """
    picture, (height, width, channels) = x.numpy(), x.shape
    sums = np.empty((height, channels), np.float32)
    share(lambda first, step: _sums(picture, sums, first, step), height)
    mean = (sums.sum(0, dtype=np.float64) / (height * width)).astype(np.float32)
    share(lambda first, step: _squares(picture, mean, sums, first, step), height)
    scale = (1 / np.sqrt(sums.sum(0, dtype=np.float64) / (height * width) + _EPS)).astype(np.float32)
    if add is None:
        share(lambda first, step: _norm(picture, mean, scale, relu, first, step), height)
    else:
        other = add.contiguous().numpy()
        share(lambda first, step: _norm_add(picture, mean, scale, other, first, step), height)
    return x


@kernel
@no_type_check
def _sums(x, out, first, step):
    for y in range(first, x.shape[0], step):
        total = out[y]
        total[:] = 0
        for k in range(x.shape[1]):
            pixel = x[y, k]
            for i in range(pixel.shape[0]):
                total[i] += pixel[i]


@kernel
@no_type_check
def _squares(x, mean, out, first, step):
    for y in range(first, x.shape[0], step):
        total = out[y]
        total[:] = 0
        for k in range(x.shape[1]):
            pixel = x[y, k]
            for i in range(pixel.shape[0]):
                total[i] += (pixel[i] - mean[i]) * (pixel[i] - mean[i])


@kernel
@no_type_check
def _norm(x, mean, scale, relu, first, step):
    for y in range(first, x.shape[0], step):
        for k in range(x.shape[1]):
            pixel = x[y, k]
            if relu:
                for i in range(pixel.shape[0]):
                    pixel[i] = max((pixel[i] - mean[i]) * scale[i], np.float32(0))
            else:
                for i in range(pixel.shape[0]):
                    pixel[i] = (pixel[i] - mean[i]) * scale[i]


@kernel
@no_type_check
def _norm_add(x, mean, scale, add, first, step):
    for y in range(first, x.shape[0], step):
        for k in range(x.shape[1]):
            pixel, other = x[y, k], add[y, k]
            for i in range(pixel.shape[0]):
                pixel[i] = (pixel[i] - mean[i]) * scale[i] + other[i]
