"""Layers of StyleGAN2 (Karras et al. 2020) with runtime-equalised weights, as MAT and TFill's discriminator use them.

Weights are stored with unit variance and multiplied by a constant when they are used (Karras et al. 2018); activations are
leaky ReLUs times sqrt(2). `fold` multiplies the constants into the weights: for inference only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FILTER = (1.0, 3.0, 3.0, 1.0)
SLOPE = 0.2
LEAKY_GAIN = 2**0.5


def leaky(x: Tensor, gain: float = LEAKY_GAIN) -> Tensor:
    """Leaky ReLU of slope 0.2 times a gain; sqrt(2) keeps the variance."""
    y = F.leaky_relu(x, SLOPE) if torch.is_grad_enabled() else F.leaky_relu_(x, SLOPE)
    return y if gain == 1 else y * gain


def fir(x: Float[Tensor, "n c h w"], pad: int, gain: float = 1.0, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """The low-pass filter [1, 3, 3, 1] / 8 along both axes, times a gain, plus a bias, on x with `pad` zeros on each side."""
    return F.conv2d(x, _kernel(x, gain), bias, stride, pad, groups=x.shape[1])


def _kernel(like: Tensor, gain: float) -> Tensor:
    """One filter per channel. Made anew each time: it costs nothing beside what it is for."""
    taps = torch.tensor(FILTER, device=like.device)
    return (torch.outer(taps, taps) * (gain / 64)).to(like.dtype).expand(like.shape[1], 1, 4, 4)


def pointwise(x: Float[Tensor, "*n inputs"], weight: Float[Tensor, "outputs inputs"], bias: Tensor | None) -> Tensor:
    """A linear layer. On a CPU as a convolution by oneDNN, which is twice as fast on AMD as the matrix product of MKL."""
    rows = x.numel() // x.shape[-1]
    if x.device.type != "cpu" or torch.is_grad_enabled() or rows % _BATCH or min(weight.shape) < 16:
        return F.linear(x, weight, bias)
    pixels = x.reshape(_BATCH, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    return F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


_BATCH = 16  # smaller batches of 1 x 1 convolutions do not go to oneDNN when there is one thread


def upsample(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Twice the size by the same filter, which is the bilinear one with zeros around the picture."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]


def convolve(
    x: Tensor, weight: Float[Tensor, "o c k k"], bias: Tensor | None = None, up: bool = False, down: bool = False
) -> Tensor:
    """Convolution of odd kernel size with zero padding; `up` doubles the sides, `down` halves them, both low-pass filtered."""
    pad = weight.shape[-1] // 2
    if down:
        if pad == 0:
            return F.conv2d(fir(x, 1, stride=2), weight, bias)
        return F.conv2d(fir(x, pad + 1), weight, bias, stride=2)
    if up:
        return fir(F.conv_transpose2d(x, weight.flip(2, 3).transpose(0, 1), stride=2), 2 - pad, 4.0, bias=bias)
    if pad == 0:
        return pointwise(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, bias, padding=pad)


class Equalised(nn.Module):
    """A weight and a bias with their gains: `weight * weight_gain`, `bias * bias_gain`, then `gain` with the activation."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, shape: tuple[int, ...], fan_in: int, bias: float | None, activated: bool, rate: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape) / rate)
        self.bias = None if bias is None else nn.Parameter(torch.full((shape[0],), bias))
        self.activated, self.gain = activated, LEAKY_GAIN if activated else 1.0
        self.weight_gain, self.bias_gain = rate / fan_in**0.5, rate

    def scaled(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias as they are used."""
        weight = self.weight if self.weight_gain == 1 else self.weight * self.weight_gain
        bias = self.bias if self.bias is None or self.bias_gain == 1 else self.bias * self.bias_gain
        return weight, bias

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply all gains into weight and bias, that of the activation too: it commutes with a leaky ReLU."""
        self.weight.mul_(self.weight_gain * self.gain)
        if self.bias is not None:
            self.bias.mul_(self.bias_gain * self.gain)
        self.weight_gain = self.bias_gain = self.gain = 1.0
        if self.weight.ndim == 4:
            self.weight.data = self.weight.contiguous(memory_format=torch.channels_last)


class EqualisedLinear(Equalised):
    """Fully connected layer; `rate` is its learning-rate multiplier."""

    def __init__(self, inputs: int, outputs: int, activated: bool = False, rate: float = 1.0, bias: float = 0.0):
        super().__init__((outputs, inputs), inputs, bias, activated, rate)

    def forward(self, x: Float[Tensor, "*n inputs"]) -> Float[Tensor, "*n outputs"]:
        y = pointwise(x, *self.scaled())
        return leaky(y, self.gain) if self.activated else y


class EqualisedConv(Equalised):
    """Convolution; `down` and `up` change the size by two."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        activated: bool = True,
        bias: bool = True,
        up: bool = False,
        down: bool = False,
        gain: float = 1.0,
    ):
        super().__init__((outputs, inputs, kernel, kernel), inputs * kernel**2, 0.0 if bias else None, activated)
        self.up, self.down = up, down
        self.gain *= gain

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs H W"]:
        y = convolve(x, *self.scaled(), up=self.up, down=self.down)
        if self.activated:
            return leaky(y, self.gain)
        return y if self.gain == 1 else y * self.gain


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style and whose outputs are brought back to unit variance.

    With one face the weights are scaled, with several the activations: one convolution then serves them all.
    """

    power: Tensor | None

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, up: bool = False, demodulate: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.affine = EqualisedLinear(style, inputs, bias=1.0)
        self.weight_gain, self.up, self.demodulate = 1 / (inputs * kernel**2) ** 0.5, up, demodulate
        self.register_buffer("power", None, persistent=False)

    def forward(
        self, x: Float[Tensor, "n c h w"], style: Float[Tensor, "n s"], bias: Tensor | None = None, gain: float = 1.0
    ) -> Float[Tensor, "n o H W"]:
        """The convolution plus a bias, all times `gain`."""
        scale = self.affine(style).float()
        weight = self.weight[0] if self.weight_gain == 1 else self.weight[0] * self.weight_gain
        bias = bias if bias is None or gain == 1 else bias * gain
        out = scale.new_full((len(x), len(weight)), gain)
        if self.demodulate:
            power = self.power if self.power is not None else weight.float().square().sum((2, 3))
            out = (scale.square() @ power.T + 1e-8).rsqrt() * gain
        if len(x) == 1 and weight.numel() <= 3 * x.numel():
            return convolve(x, weight * (out[0, :, None] * scale[0])[..., None, None], bias, up=self.up)
        y = convolve(x * scale[:, :, None, None].to(x.dtype), weight, up=self.up)
        y = y * out[:, :, None, None].to(y.dtype)
        return y if bias is None else y + bias[:, None, None]

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the gain into the weight and keep its power per channel, which demodulation asks for."""
        self.weight.data = (self.weight[0] * self.weight_gain).contiguous(memory_format=torch.channels_last)[None]
        self.weight_gain = 1.0
        self.power = self.weight[0].square().sum((2, 3)) if self.demodulate else None


class StyledConv(nn.Module):
    """Modulated convolution, noise of a learned strength, bias, leaky ReLU. `resolution` None: no noise."""

    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, style: int, resolution: int | None = None, up: bool = False):
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style, up)
        self.noisy = resolution is not None
        if resolution is not None:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor, noise: Float[Tensor, "n 1 H W"] | None = None) -> Tensor:
        """`noise` takes the place of the constant noise, which has one size only."""
        y = self.conv(x, style, self.bias, LEAKY_GAIN)
        if self.noisy:
            y = y.add_((self.noise_const if noise is None else noise) * (self.noise_strength * LEAKY_GAIN))
        return leaky(y, 1.0)


class ToRgb(nn.Module):
    """Modulated 1 x 1 convolution to colours, on top of the picture of half the size."""

    def __init__(self, inputs: int, outputs: int, style: int):
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor, below: Tensor | None = None) -> Tensor:
        y = self.conv(x, style, self.bias)
        if below is None:
            return y
        return y + (below if below.shape == y.shape else upsample(below))


class MinibatchDeviation(nn.Module):
    """One more channel: the mean standard deviation over groups of at most `group` pictures of the batch."""

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c+1 h w"]:
        count = min(self.group, len(x))
        if len(x) % count:
            raise ValueError(f"a batch of {len(x)}: expected a multiple of {count}")
        groups = x.reshape(count, -1, *x.shape[1:])
        spread = groups.var(0, correction=0).add(1e-8).sqrt().mean((1, 2, 3))
        return torch.cat([x, spread.repeat(count)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)


def fold(network: nn.Module) -> Any:
    """All constants of all layers multiplied into their weights, channels last, in place: for inference only, the keys stay."""
    for module in network.modules():
        if isinstance(module, Equalised | ModulatedConv):
            module.fold()
    return network
