"""EdgeConnect's generators as a CPU computes them fastest: the same numbers to within float32 noise, in under half the time.

Four fifths of the work are the residual blocks; they go through Winograd's filtering. Everything is in channels-last order, where
oneDNN takes strided and transposed convolutions without turning them round, and the instance norm is done in place, one
picture at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from operators.networks.edgeconnect import Generator, ResidualBlock, reflected
from operators.networks.instance_norm import normed_
from operators.networks.winograd import MirroredConv

_LAST = torch.channels_last


class FastGenerator(nn.Module):
    """Takes the place of a `Generator`, for float32 inference on the CPU; it can't be saved or moved.

    The blocks' weights take four times the room they had: 151 MB in the published size.
    """

    def __init__(self, slow: Generator):
        super().__init__()
        self.encoder, self.decoder = slow.encoder, slow.decoder
        modules: Any = (self.encoder, self.decoder)
        for module in modules:
            module.to(memory_format=_LAST)
        self.blocks = [_convolutions(block) for block in slow.middle if isinstance(block, ResidualBlock)]
        self.last = _RowByRow(self.decoder["7"])

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h w"]:
        """As `Generator.forward`."""
        return torch.cat([self._one(picture[None]) for picture in x])

    def _one(self, x: Float[Tensor, "1 inputs h w"]) -> Float[Tensor, "1 outputs h w"]:
        x = _activated(self.encoder["1"](reflected(x, 3).contiguous(memory_format=_LAST)))
        for name in ("4", "7"):
            x = _activated(self.encoder[name](x))
        y = x.permute(0, 2, 3, 1)[0]
        for dilated, plain in self.blocks:
            y = plain(dilated(y, relu=True), add=y)
        x = y[None].permute(0, 3, 1, 2)
        for name in ("0", "3"):
            x = _activated(self.decoder[name](x))
        return self.last(x)


def _convolutions(block: ResidualBlock) -> tuple[MirroredConv, MirroredConv]:
    first, second = (block.conv_block[name] for name in ("1", "5"))
    assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
    return MirroredConv(first), MirroredConv(second)


def _activated(x: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
    """The positive part of the instance norm."""
    ordered = x.contiguous(memory_format=_LAST)
    normed_(ordered.permute(0, 2, 3, 1)[0], relu=True)
    return ordered


class _RowByRow:
    """A square convolution to few channels, of a mirrored picture.

    A CPU fills up the channels of a result to 16. So the kernel's columns become channels of one column's convolution, and
    what they give is added up, each shifted by its place.
    """

    def __init__(self, conv: nn.Module):
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        self.side = conv.kernel_size[0]
        self.weight = torch.cat(conv.weight.detach().split(1, 3)).contiguous(memory_format=_LAST)
        self.bias = conv.bias.detach()[:, None, None]

    def __call__(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        width = x.shape[-1]
        columns = functional.conv2d(reflected(x, self.side // 2), self.weight)
        parts = [part[..., k : k + width] for k, part in enumerate(columns.chunk(self.side, 1))]
        return sum(parts[1:], parts[0] + self.bias).contiguous()
