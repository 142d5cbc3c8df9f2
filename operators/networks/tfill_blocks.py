"""Blocks that TFill's networks share: residual blocks of partial convolutions, resampling, attention, noise."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from operators.networks.partial_conv import PartialConv2d, PixelNorm

HEADS = 8
SLOPE = 0.2
_LOGITS_AT_ONCE = 1 << 24


def resized(x: Float[Tensor, "n c h w"], size: tuple[int, int], mode: str = "bilinear") -> Float[Tensor, "n c H W"]:
    """Corner pixels stay corner pixels, as everywhere in TFill."""
    if tuple(x.shape[-2:]) == size:
        return x
    return functional.interpolate(x, size, mode=mode, align_corners=True)


class ResnetBlock(nn.Module):
    """norm, leaky ReLU, partial convolution, twice; plus the input, over sqrt 2. The shortcut knows no mask.

    The second convolution takes what the first one's windows saw for its mask, also where there was none to begin with.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.norm1 = PixelNorm(inputs)
        self.conv1 = PartialConv2d(inputs, outputs, kernel, padding=(kernel - 1) // 2)
        self.norm2 = PixelNorm(outputs)
        self.conv2 = PartialConv2d(outputs, outputs, kernel, padding=(kernel - 1) // 2)
        self.short = nn.Identity() if inputs == outputs else PartialConv2d(inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Everything is known."""
        out = self.conv1(functional.leaky_relu_(self.norm1(x), SLOPE))
        seen = self.conv1.seen(x.shape) if self.conv1.window[2] else None
        out = self.conv2(functional.leaky_relu_(self.norm2(out), SLOPE), seen)
        return out.add_(self.short(x)).mul_(1 / math.sqrt(2))

    def masked(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The result and the next mask."""
        out, mask = self.conv1.masked(functional.leaky_relu_(self.norm1(x), SLOPE), mask)
        out, mask = self.conv2.masked(functional.leaky_relu_(self.norm2(out), SLOPE), mask)
        return out.add_(self.short(x)).mul_(1 / math.sqrt(2)), mask


class DownSample(nn.Module):
    """Half the size: a strided partial convolution."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.conv = PartialConv2d(channels, channels, kernel, stride=2, padding=(kernel - 1) // 2)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Everything is known."""
        return self.conv(x)


class UpSample(nn.Module):
    """Twice the size: bilinear, then a partial convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = PartialConv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Everything is known."""
        return self.conv(functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


class ToRGB(nn.Module):
    """A picture in (-1, 1) from features and, but at the first level, the picture of the level before."""

    def __init__(self, inputs: int, outputs: int, has_skip: bool):
        super().__init__()
        channels = inputs + outputs * has_skip
        self.conv = nn.Sequential(PixelNorm(channels), nn.LeakyReLU(SLOPE), PartialConv2d(channels, outputs, 3, padding=1))

    def forward(self, x: Float[Tensor, "n c h w"], skip: Tensor | None) -> Float[Tensor, "n 3 h w"]:
        """`skip` is half the size."""
        if skip is not None:
            x = torch.cat([x, functional.interpolate(skip, scale_factor=2, mode="bilinear", align_corners=True)], 1)
        return torch.tanh(self.conv(x))


class NoiseInjection(nn.Module):
    """One map of noise for all channels, in the hole."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Float[Tensor, "n 1 h w"], hole: Float[Tensor, "n 1 h w"]) -> Tensor:
        """`hole` is 1 where there is to be noise."""
        return x + self.alpha * noise * hole


class MultiheadAttention(nn.Module):
    """Attention of tokens to each other; keys that are known little count less."""

    def __init__(self, channels: int):
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(
        self,
        x: Float[Tensor, "n tokens c"],
        position: Float[Tensor, "tokens c"] | None = None,
        known: Float[Tensor, "n tokens"] | None = None,
    ) -> Float[Tensor, "n tokens c"]:
        """`position` is added to what queries and keys are made of, not to values.

        Positive logits are multiplied by the key's `known` in (0, 1], others divided by it.
        """
        placed = x if position is None else x + position
        q, k, v = (self._heads(y) for y in (self.to_q(placed), self.to_k(placed), self.to_v(x)))
        if known is None:
            out = functional.scaled_dot_product_attention(q, k, v)
        else:
            logits = (q * q.shape[-1] ** -0.5) @ (k * known[:, None, :, None]).transpose(-1, -2)
            known = known[:, None, None]
            less = 1 / (known * (known + 1e-5)) - 1  # for a negative logit, which was multiplied and is to be divided
            out = torch.addcmul(logits, logits.clamp_max(0), less).softmax(-1) @ v
        return self.to_out(out.transpose(1, 2).reshape(x.shape))

    @staticmethod
    def _heads(x: Float[Tensor, "n tokens c"]) -> Float[Tensor, "n heads tokens d"]:
        return x.reshape(x.shape[0], x.shape[1], HEADS, -1).transpose(1, 2)


class TransformerEncoderLayer(nn.Module):
    """Pre-norm attention and a feed-forward part of convolutions (1x1, but for the first where `kernel` says so)."""

    def __init__(self, channels: int, hidden: int, kernel: int = 1):
        super().__init__()
        self.attn = MultiheadAttention(channels)
        self.conv1 = PartialConv2d(channels, hidden, kernel, padding=(kernel - 1) // 2)
        self.conv2 = PartialConv2d(hidden, channels, 1)
        self.norm1 = PixelNorm(channels)
        self.norm2 = PixelNorm(channels)
        self.activation: nn.Module = nn.GELU()

    def forward(self, x: Float[Tensor, "n c h w"], position: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """See `MultiheadAttention`."""
        tokens = self.norm1(x).flatten(2).transpose(1, 2)
        x = x + self.attn(tokens, position, known).transpose(1, 2).reshape(x.shape)
        return x + self.conv2(self.activation(self.conv1(self.norm2(x))))


class AttnAware(nn.Module):
    """Attention that weighs features of the photo, copied from known pixels, against the decoder's own in the hole."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query_conv, self.key_conv = (
            nn.Sequential(PixelNorm(channels), nn.LeakyReLU(SLOPE), nn.Conv2d(channels, channels, 1)) for _ in range(2)
        )
        self.weight = nn.Conv2d(heads * 2, 2, 1)
        self.to_out = ResnetBlock(channels * 2, channels, 1)

    def forward(
        self, x: Float[Tensor, "n c h w"], photo: Float[Tensor, "n c h w"], known: Float[Tensor, "n 1 h w"]
    ) -> Float[Tensor, "n c h w"]:
        """`photo` are the encoder's features of the same size. Queries go in groups, so that memory stays bounded."""
        n, _, h, w = x.shape
        q, k, own, copied = (
            y.reshape(n, self.heads, -1, h * w).transpose(-1, -2) for y in (self.query_conv(x), self.key_conv(x), x, photo)
        )
        q, known = q * q.shape[-1] ** -0.5, known.reshape(n, 1, 1, h * w)
        step = max(_LOGITS_AT_ONCE // (n * self.heads * h * w), 1)
        found = [self._attend(part, k, own, copied, known) for part in q.split(step, 2)]
        context, itself, largest_known, largest_hole = (torch.cat(parts, 2) for parts in zip(*found, strict=True))
        share = self.weight(torch.cat([largest_known, largest_hole], 1).reshape(n, -1, h, w)).softmax(1)
        context, itself = (y.transpose(-1, -2).reshape(x.shape) for y in (context, itself))
        return self.to_out(torch.cat([share[:, :1] * context + share[:, 1:] * itself, x], 1))

    @staticmethod
    def _attend(q: Tensor, k: Tensor, own: Tensor, copied: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = q @ k.transpose(-1, -2)
        negative = logits.clamp_max(0)
        results, largest = [], []
        for mask, values in ((known, copied), (1 - known, own)):
            weighed = logits * mask
            largest.append(weighed.amax(-1))
            weighed = weighed.addcmul_(negative, 1 / (mask + 1e-8) - mask)  # negative ones are divided instead
            results.append(weighed.softmax(-1) @ values)
        return *results, *largest
