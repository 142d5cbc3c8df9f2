"""Partial convolution with fractional masks and pixel norm: blocks of TFill's networks.

G. Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018; T. Karras et al., Progressive Growing
of GANs, ICLR 2018. Masks are 1 where something is known.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-8
Line = tuple[float, ...]
Lines = tuple[Line, Line]


def seen_in_window(
    mask: Float[Tensor, "n 1 h w"], kernel: int, stride: int = 1, padding: int = 0
) -> tuple[Float[Tensor, "n 1 H W"], Float[Tensor, "n 1 H W"]]:
    """Sum of the mask under each window, and the factor that makes up for what is missing there (0 where all is).

    The sum is taken in the mask's own precision, whatever autocast does to convolutions.
    """
    total = mask if kernel == 1 else functional.avg_pool2d(mask, kernel, stride, padding, divisor_override=1)
    return total, kernel * kernel / (total + EPSILON) * total.clamp(0, 1)


@lru_cache(maxsize=1024)
def window_sums(length: int, kernel: int, stride: int, padding: int, known: Line | None) -> Line:
    """What windows along one axis see of it: the sum of `known` (default: ones) under each."""
    line, count = known or (1.0,) * length, (length + 2 * padding - kernel) // stride + 1
    starts = (i * stride - padding for i in range(count))
    return tuple(float(sum(line[max(start, 0) : start + kernel])) for start in starts)


def scaled_lines(x: Float[Tensor, "n c h w"], rows: Line, columns: Line, origin: Tensor | None = None) -> Tensor:
    """Each row and column times its factor, in place, as distances from `origin` (one per channel)."""
    x = x.clone() if x.requires_grad else x
    centre = None if origin is None else origin[:, None, None].to(x.dtype)
    for axis, line in ((2, rows), (3, columns)):
        for where, factor in _changed(line):
            values = x[:, :, where] if axis == 2 else x[:, :, :, where]
            values.copy_(values * factor if centre is None else torch.lerp(centre, values, factor))
    return x


@lru_cache(maxsize=1024)
def _changed(line: Line) -> tuple[tuple[slice, float], ...]:
    """The lines whose factor is not 1, those that lie opposite and share it together."""
    found: list[tuple[slice, float]] = []
    for i in range((len(line) + 1) // 2):
        j = len(line) - 1 - i
        both = [(slice(i, j + 1, max(j - i, 1)), line[i])]
        found += both if line[i] == line[j] else [(slice(i, i + 1), line[i]), (slice(j, j + 1), line[j])]
    return tuple((where, factor) for where, factor in found if factor != 1.0)


class PartialConv2d(nn.Conv2d):
    """A convolution of known pixels only, scaled by the window's area over what is known of it; square kernels.

    Without a mask everything is known but the zeros around the picture. What a window sees is then a product of what it sees of
    rows and of columns, so only lines along the border are scaled, and no mask is made.
    """

    def forward(self, input: Float[Tensor, "n c h w"], known: Lines | None = None) -> Float[Tensor, "n d H W"]:
        """`known`: how much of each row and column is (default: all). The input's lines are scaled by it in place."""
        kernel, _, padding = self.window
        if known is None and not padding:
            return super().forward(input)
        rows, columns = self._sums(input.shape, known)
        if min(rows) * min(columns) < 1:  # a picture smaller than a window
            ones: Lines = ((1.0,) * input.shape[2], (1.0,) * input.shape[3])
            every = torch.outer(*(input.new_tensor(line) for line in known or ones))
            return self.masked(input, every.expand(len(input), 1, -1, -1))[0]
        input = input if known is None else scaled_lines(input, *known)
        scale: Lines = tuple(kernel / x for x in rows), tuple(kernel / x for x in columns)
        return scaled_lines(super().forward(input), *scale, origin=self.bias)

    def seen(self, shape: torch.Size) -> Lines:
        """How much of each row and column the windows see of an input of this shape, all of it known: `known` of what follows."""
        rows, columns = self._sums(shape, None)
        return tuple(x / self.window[0] for x in rows), tuple(x / self.window[0] for x in columns)

    def _sums(self, shape: torch.Size, known: Lines | None) -> Lines:
        rows, columns = known or (None, None)
        return window_sums(shape[2], *self.window, rows), window_sums(shape[3], *self.window, columns)

    def masked(
        self, input: Float[Tensor, "n c h w"], mask: Float[Tensor, "n 1 h w"]
    ) -> tuple[Float[Tensor, "n d H W"], Float[Tensor, "n 1 H W"]]:
        """The result, and the next mask: the known share of each window, a fraction and not a bit."""
        assert self.bias is not None
        kernel, stride, padding = self.window
        total, ratio = seen_in_window(mask, kernel, stride, padding)
        seen, share = total.clamp(0, 1), total / (kernel * kernel)
        scale = ratio * seen
        raw = super().forward(input * mask)
        return raw.mul_(scale).addcmul_(self.bias[:, None, None], seen - scale), share

    @property
    def window(self) -> tuple[int, int, int]:
        """Kernel, stride and padding in pixels."""
        return self.kernel_size[0], self.stride[0], int(self.padding[0])


class PixelNorm(nn.Module):
    """Each pixel's channels over their root mean square, times a gain per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Channels along axis 1; their squares are summed in float32."""
        if x.stride(1) == 1:  # channels last: one pass, but a slow one in any other order
            power = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32).square() / x.shape[1]
        else:
            power = x.float().square().mean(1, keepdim=True)
        return x * (power + EPSILON).rsqrt().to(x.dtype) * self.alpha
