"""TFill's second stage: a U-shaped network at full size that copies from known pixels by attention."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from operators.networks.partial_conv import PartialConv2d
from operators.networks.tfill_blocks import AttnAware, DownSample, ResnetBlock, ToRGB, UpSample, resized


class RefinedGenerator(nn.Module):
    """Encoder, middle, decoder; attention where the decoder is at 1/8 of the size."""

    def __init__(self, first: int, most: int, levels: int, middle: int, blocks: int, heads: int, channels: int = 3):
        """`first` channels double at each level up to `most`. Errors: ValueError for fewer than three levels."""
        super().__init__()
        if levels < 3:
            raise ValueError(f"expected at least 3 levels, got {levels}: attention is at 1/8 of the size")
        widths = [min(first << i, most) for i in range(levels + 1)]
        self.encode = PartialConv2d(channels, first, 3, padding=1)
        self.down: Any = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            level: Any = nn.Module()
            level.downsample = DownSample(inputs, 3)
            level.block = nn.ModuleList(ResnetBlock(outputs if j else inputs, outputs, 3) for j in range(blocks))
            self.down.append(level)
        self.mid = nn.ModuleList(ResnetBlock(widths[-1], widths[-1], 3) for _ in range(middle))
        self.up: Any = nn.ModuleList()
        for i in range(levels):
            inputs, outputs = widths[levels - i], widths[levels - i - 1]
            level: Any = nn.Module()
            level.block = nn.ModuleList(ResnetBlock(outputs if j else inputs, outputs, 3) for j in range(blocks))
            if i == levels - 3:
                level.attn = AttnAware(outputs, heads)
            level.out = ToRGB(outputs, channels, i > 0)
            level.upsample = UpSample(outputs)
            self.up.append(level)
        self.decode = ToRGB(first, channels, True)

    def forward(self, image: Float[Tensor, "n 3 h w"], mask: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 3 h w"]:
        """A picture in (-1, 1) from one with its hole filled roughly; mask 1 = known; sides multiples of 2^levels."""
        x, photo = self.encode(image), image
        for i, level in enumerate(self.down):
            x = level.downsample(x)
            photo = x if i == 2 else photo
            for block in level.block:
                x = block(x)
        for block in self.mid:
            x = block(x)
        skip: Tensor | None = None
        for level in self.up:
            for block in level.block:
                x = block(x)
            if hasattr(level, "attn"):
                x = level.attn(x, photo, resized(mask, (x.shape[-2], x.shape[-1])))
            skip = level.out(x, skip)
            x = level.upsample(x)
        assert skip is not None
        return self.decode(x, skip)
