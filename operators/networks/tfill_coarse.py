"""TFill's first stage: an encoder that sees 16 px patches only, a transformer over them, and a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from operators.networks.partial_conv import PartialConv2d, PixelNorm
from operators.networks.tfill_blocks import (
    DownSample,
    NoiseInjection,
    ResnetBlock,
    ToRGB,
    TransformerEncoderLayer,
    UpSample,
    resized,
)


class Encoder(nn.Module):
    """A restrictive CNN: with 1x1 kernels and 2x2 steps no token knows of pixels outside its own patch."""

    def __init__(self, channels: int, first: int, kernel: int, embed: int, levels: int, blocks: int, attention: int = 0):
        """`first` channels double at each level; `attention` is the hidden width of the middle's transformer layer, if any."""
        super().__init__()
        self.encode = PartialConv2d(channels, first, kernel, padding=(kernel - 1) // 2)
        self.down: Any = nn.ModuleList()
        for i in range(levels):
            inputs, outputs = first << i, first << (i + 1)
            level: Any = nn.Module()
            level.downsample = DownSample(inputs, 2)
            level.block = nn.ModuleList(ResnetBlock(outputs if j else inputs, outputs, kernel) for j in range(blocks))
            self.down.append(level)
        last = first << levels
        self.mid: Any = nn.Module()
        self.mid.block1 = ResnetBlock(last, last, kernel)
        if attention:
            self.mid.attn = TransformerEncoderLayer(last, attention)
        self.mid.block2 = ResnetBlock(last, last, kernel)
        self.conv_out = ResnetBlock(last, embed, kernel)

    def forward(self, image: Float[Tensor, "n 3 h w"], mask: Float[Tensor, "n 1 h w"]) -> tuple[Tensor, Tensor]:
        """Features (n embed h/16 w/16) and how much of each is known (n 1 h/16 w/16). Image in [-1, 1], mask 1 = known."""
        x, mask = self.encode.masked(image, mask)
        for level in self.down:
            x, mask = level.downsample.conv.masked(x, mask)
            for block in level.block:
                x, mask = block.masked(x, mask)
        x, mask = self.mid.block1.masked(x, mask)
        if hasattr(self.mid, "attn"):
            x = self.mid.attn(x)
        x, mask = self.mid.block2.masked(x, mask)
        return self.conv_out.masked(x, mask)


class Positions(nn.Module):
    """A learned embedding of row and column."""

    def __init__(self, channels: int, most: int):
        super().__init__()
        self.row_embed = nn.Embedding(most, channels)
        self.col_embed = nn.Embedding(most, channels)

    def forward(self, height: int, width: int) -> Float[Tensor, "tokens c"]:
        """Row by row."""
        both = self.row_embed.weight[:height, None] + self.col_embed.weight[None, :width]
        return both.reshape(height * width, -1)


class Transformer(nn.Module):
    """Tokens of the picture, of which the unknown ones gain weight from layer to layer."""

    def __init__(self, inputs: int, embed: int, outputs: int, layers: int, hidden: int, kernel: int, positions: int):
        super().__init__()
        self.token_embed = PartialConv2d(inputs, embed, 1)
        self.pos_embed = Positions(embed, positions)
        self.encoder_trans: Any = nn.Module()
        self.encoder_trans.layers = nn.ModuleList(TransformerEncoderLayer(embed, hidden, kernel) for _ in range(layers))
        self.to_token = nn.Sequential(PixelNorm(embed), nn.GELU(), nn.Conv2d(embed, outputs, 1))

    def forward(self, x: Float[Tensor, "n c h w"], mask: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n d h w"]:
        """`mask` is how much of each token is known."""
        x, mask = self.token_embed.masked(x, mask)
        position, known = self.pos_embed(*x.shape[-2:]), mask.clamp_min(1e-2).flatten(1)
        for layer in self.encoder_trans.layers:
            x = layer(x, position, known)
            known = known.sqrt()
        return self.to_token(x)


class Generator(nn.Module):
    """Tokens to a picture; each level paints one from its features and the level's before."""

    def __init__(
        self,
        embed: int,
        first: int,
        kernel: int,
        levels: int,
        blocks: int,
        channels: int = 3,
        attention: int = 0,
        noise: bool = False,
        constant: tuple[int, ...] = (),
    ):
        """`first` channels at full size; `attention`: hidden width of transformer layers; `constant`: shape of an added input."""
        super().__init__()
        self.pos_embed: Any = nn.Module() if constant else None
        if self.pos_embed is not None:
            self.pos_embed.input = nn.Parameter(torch.zeros(constant))
        width = first << levels
        self.conv_in = PartialConv2d(embed, width, kernel, padding=(kernel - 1) // 2)
        self.mid: Any = nn.Module()
        self.mid.block1 = ResnetBlock(width, width, kernel)
        if attention:
            self.mid.attn = TransformerEncoderLayer(width, attention)
        self.mid.block2 = ResnetBlock(width, width, kernel)
        self.up: Any = nn.ModuleList()
        for i in range(levels):
            inputs, outputs = width >> i, width >> (i + 1)
            level: Any = nn.Module()
            level.block = nn.ModuleList(ResnetBlock(outputs if j else inputs, outputs, kernel) for j in range(blocks))
            layers = blocks if attention and i == 0 else 0
            level.attn = nn.ModuleList(TransformerEncoderLayer(outputs, attention) for _ in range(layers))
            level.noise = nn.ModuleList(NoiseInjection() for _ in range(blocks * noise))
            level.out = ToRGB(outputs, channels, i > 0)
            level.upsample = UpSample(outputs)
            self.up.append(level)
        self.decode = ToRGB(first, channels, True)

    def forward(
        self,
        x: Float[Tensor, "n c h w"],
        mask: Float[Tensor, "n 1 _ _"] | None = None,
        noise: Mapping[str, Float[Tensor, "n 1 _ _"]] | None = None,
    ) -> Float[Tensor, "n 3 H W"]:
        """`noise` holds a map for each name of `noise_sizes`; it is put where `mask` is 0. Without it there is none."""
        x = x if self.pos_embed is None else x + self.pos_embed.input
        x = self.mid.block1(self.conv_in(x))
        x = self.mid.block2(self.mid.attn(x) if hasattr(self.mid, "attn") else x)
        skip = None
        for i, level in enumerate(self.up):
            hole = None if mask is None or not noise else 1 - resized(mask, (x.shape[-2], x.shape[-1]))
            for j, block in enumerate(level.block):
                if noise and len(level.noise):
                    x = level.noise[j](x, noise[f"up.{i}.noise.{j}"], 1.0 if hole is None else hole)
                x = block(x)
                x = level.attn[j](x) if len(level.attn) else x
            skip = level.out(x, skip)
            x = level.upsample(x)
        return self.decode(x, skip)

    def noise_sizes(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Size of each map of noise for tokens of this height and width; nothing for networks without noise."""
        places = ((i, j) for i, level in enumerate(self.up) for j in range(len(level.noise)))
        return {f"up.{i}.noise.{j}": (height << i, width << i) for i, j in places}
