"""3DFaceFill's albedo inpainter (`modelR`, UnetSelfAttnConf32): a gated U-Net over the UV picture of a face and its mirror image.

Faces are nearly symmetric and the UV layout exactly so: the first level is there twice, once for the picture and once for the
flipped one, so that what one half hides the other can give. Beside the albedo it gives a confidence.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from operators.networks.gated_conv import GatedConv

GROUP = 4


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // GROUP, channels)


class _Gate(nn.Module):
    """Convolution (or its transpose, which doubles the picture) and norm."""

    def __init__(self, channels: int, out: int, stride: int = 1, up: bool = False):
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out, 4, 2, 1) if up else nn.Conv2d(channels, out, 3, stride, 1)
        self.norm = _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class _Double(nn.Module):
    """Two convolutions with a short cut."""

    def __init__(self, channels: int, out: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, 1), _norm(out), nn.ELU(inplace=True), nn.Conv2d(out, out, 3, 1, 1), _norm(out)
        )
        if channels != out or stride != 1:
            self.res_conv, self.res_norm = nn.Conv2d(channels, out, 1, stride), _norm(out)
        else:
            self.res_conv = self.res_norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.elu(self.conv(x) + self.res_norm(self.res_conv(x)), inplace=True)


class _Down(nn.Module):
    def __init__(self, channels: int, out: int):
        super().__init__()
        self.mpconv = _Double(channels, out, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.mpconv(x)


class _Up(nn.Module):
    """Twice the size, beside the skip connection."""

    def __init__(self, channels: int, out: int, transposed: bool):
        super().__init__()
        half = channels // 2
        self.up = nn.ConvTranspose2d(half, half, 2, 2) if transposed else nn.Upsample(scale_factor=2, mode="nearest")
        self.conv = _Double(channels, out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat((skip, self.up(x)), 1))


class _Last(nn.Module):
    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv = nn.Sequential(
            *(nn.ConvTranspose2d(channels, out, 4, 2, 1), _norm(out), nn.ELU(inplace=True)),
            *(nn.Conv2d(out, out, 3, 1, 1), _norm(out), nn.ELU(inplace=True)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Attention(nn.Module):
    """Self-attention over all places (Zhang et al. 2019, SAGAN); no released configuration has it."""

    def __init__(self, channels: int):
        super().__init__()
        self.query_conv, self.key_conv = (nn.Conv2d(channels, channels // 8, 1) for _ in range(2))
        self.value_conv, self.gamma = nn.Conv2d(channels, channels, 1), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (conv(x).flatten(2) for conv in (self.query_conv, self.key_conv, self.value_conv))
        share = torch.softmax(query.mT @ key, -1)
        return self.gamma * (value @ share.mT).unflatten(2, x.shape[2:]) + x


class _Out(nn.Module):
    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class AlbedoInpainter(nn.Module):
    """UV albedo (faces 3 h w; 0 where hidden) and what is visible (faces 1 h w; 1 = visible) to albedo in [-1, 1] and confidence.

    Sides are multiples of 32.
    """

    def __init__(self, width: int = 32, out: int = 3, given: int = 4, transposed: bool = False, attention: bool = False):
        super().__init__()
        w = width
        for name, channels, result in (
            *(("down1", given, w), ("down1_flip", given, w), ("down2", 2 * w, 2 * w)),
            *(("down3", 2 * w, 4 * w), ("down4", 4 * w, 8 * w), ("down5", 8 * w, 16 * w)),
        ):
            self.add_module(name, GatedConv(_Down(channels, result), _Gate(channels, result, 2)))
        self.interm = GatedConv(_Double(16 * w, 8 * w), _Gate(16 * w, 8 * w))
        for name, channels, result in (
            ("up1", 16 * w, 4 * w), ("up2", 8 * w, 2 * w), ("up3", 4 * w, 2 * w), ("up4", 4 * w, 2 * w),
        ):  # fmt: skip
            self.add_module(name, GatedConv(_Up(channels, result, transposed), _Gate(channels // 2, result, up=True)))
        self.attn = _Attention(2 * w) if attention else nn.Identity()
        self.up5 = GatedConv(_Last(2 * w, w), _Gate(2 * w, w, up=True))
        self.outc = _Out(w, out + 1)

    @classmethod
    def like(cls, state: Mapping[str, Tensor]) -> AlbedoInpainter:
        """An inpainter of the sizes of these weights. Errors: KeyError when it has none of its kind."""
        first = next(state[key] for key in ("down1.gate_conv.conv.weight_orig", "down1.gate_conv.conv.weight") if key in state)
        transposed = any(key.startswith("up1.feat_conv.up.") for key in state)
        return cls(len(first), len(state["outc.conv.bias"]) - 1, first.shape[1], transposed, "attn.gamma" in state)

    def forward(
        self, albedo: Float[Tensor, "faces 3 h w"], visible: Float[Tensor, "faces 1 h w"]
    ) -> tuple[Float[Tensor, "faces 3 h w"], Float[Tensor, "faces 1 h w"]]:
        get = self.get_submodule
        x = torch.cat((albedo, visible), 1)
        x1 = torch.cat((get("down1")(x), get("down1_flip")(x.flip(3))), 1)
        x2 = get("down2")(x1)
        x3 = get("down3")(x2)
        x4 = get("down4")(x3)
        x = self.interm(get("down5")(x4))
        x = get("up1")(x, x4)
        x = self.attn(get("up2")(x, x3))
        x = get("up3")(x, x2)
        x = self.outc(self.up5(get("up4")(x, x1)))
        return x[:, :-1].clamp(-1, 1), x[:, -1:]
