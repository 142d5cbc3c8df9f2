"""TFill's discriminators: StyleGAN2's (T. Karras et al., CVPR 2020), with the weights laid out as rosinality's has them."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_GROUP = 4


class EqualConv2d(nn.Module):
    """A convolution whose kernel is scaled by its fan-in as it runs."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale, self.stride, self.padding = 1 / math.sqrt(inputs * kernel**2), stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Without bias: `BiasedLeakyReLU` has it."""
        return functional.conv2d(x, self.weight * self.scale, None, self.stride, self.padding)


class EqualLinear(nn.Module):
    """The same for a matrix, with its bias and, when `activated`, the leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, activated: bool):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(outputs, inputs)), nn.Parameter(torch.zeros(outputs))
        self.scale, self.activated = 1 / math.sqrt(inputs), activated

    def forward(self, x: Tensor) -> Tensor:
        """Rows are vectors."""
        out = functional.linear(x, self.weight * self.scale, self.bias)
        return functional.leaky_relu(out, 0.2) * math.sqrt(2) if self.activated else out


class BiasedLeakyReLU(nn.Module):
    """Bias, leaky ReLU of slope 0.2, and sqrt 2 to keep the variance."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Channels along axis 1."""
        return functional.leaky_relu(x + self.bias[:, None, None], 0.2) * math.sqrt(2)


class Blur(nn.Module):
    """The binomial filter [1, 3, 3, 1] in both directions, padded for the strided convolution that follows."""

    kernel: Tensor

    def __init__(self, next_kernel: int):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", torch.outer(taps, taps) / 64)
        more = 2 + next_kernel - 1
        self.padding = ((more + 1) // 2, more // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """The filter is symmetric: correlation is convolution."""
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return functional.conv2d(functional.pad(x, self.padding), kernel, groups=x.shape[1])


class StyleBlock(nn.Module):
    """Two convolutions, the second to half the size, beside a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(inputs, inputs, 3, padding=1), BiasedLeakyReLU(inputs))
        self.conv2 = nn.Sequential(Blur(3), EqualConv2d(inputs, outputs, 3, stride=2), BiasedLeakyReLU(outputs))
        self.skip = nn.Sequential(Blur(1), EqualConv2d(inputs, outputs, 1, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """Half the size."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """How real pictures of one size look, one number each, the higher the more real."""

    def __init__(self, widths: list[int], final: int, channels: int = 3):
        """`widths` from the full size down to 4 px: one more than there are blocks, so that the size is 4 * 2^blocks."""
        super().__init__()
        first = nn.Sequential(EqualConv2d(channels, widths[0], 1), BiasedLeakyReLU(widths[0]))
        blocks = [StyleBlock(inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.size = 4 << len(blocks)
        self.convs = nn.Sequential(first, *blocks)
        self.final_conv = nn.Sequential(EqualConv2d(widths[-1] + 1, final, 3, padding=1), BiasedLeakyReLU(final))
        self.final_linear = nn.Sequential(EqualLinear(final * 16, final, True), EqualLinear(final, 1, False))

    def forward(self, image: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 1"]:
        """Pictures in [-1, 1]; their number a multiple of 4 or less than 4, since statistics are those of groups.

        Errors: ValueError.
        """
        n = len(image)
        if tuple(image.shape[1:]) != (3, self.size, self.size) or n % min(n, _GROUP):
            expected = f"n 3 {self.size} {self.size} with n below {_GROUP} or a multiple of it"
            raise ValueError(f"expected {expected}, got {tuple(image.shape)}")
        x = self.convs(image)
        group = min(n, _GROUP)
        spread = (x.reshape(group, n // group, *x.shape[1:]).var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)
        x = torch.cat([x, spread.repeat(group, 1, *x.shape[2:])], 1)
        return self.final_linear(self.final_conv(x).flatten(1))
