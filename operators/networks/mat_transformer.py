"""MAT's first stage (Li et al. 2022, sections 3.2 and 3.3): a transformer that attends only to valid tokens.

Features are `n c h w`. `known` are maps `n 1 h w`, 1 where a value says something of the photo; a window becomes known as soon
as anything in it was.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.networks.equalised import EqualisedConv, EqualisedLinear, StyledConv, ToRgb

DEPTHS = (2, 3, 4, 3, 2)
WINDOWS = (8, 16, 16, 16, 8)
SIDES = (64, 32, 16, 32, 64)  # of the stages at the model's resolution; only where there are several windows are they shifted
HEADS = 6
_INVALID = -100.0

Triple = tuple[Tensor, Tensor, Tensor]


class PartialConv(nn.Module):
    """Convolution whose result is scaled by how much of its window is known, and zero where nothing is."""

    def __init__(self, inputs: int, outputs: int, up: bool = False, down: bool = False):
        super().__init__()
        self.conv = EqualisedConv(inputs, outputs, 3, up=up, down=down)

    def forward(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        y = self.conv(x)
        if known is None:
            return y, None
        count = F.avg_pool2d(known, 3, 2 if self.conv.down else 1, 1, divisor_override=1)
        updated = count.clamp(0, 1)
        return y.mul_(9 / (count + 1e-8) * updated), updated


def windows(x: Tensor, size: int, shift: int) -> Tensor:
    """`n c h w` rolled by `shift` and cut into windows: `n * windows, size * size, c`."""
    n, c, h, w = x.shape
    if shift:
        x = x.roll((-shift, -shift), (2, 3))
    x = x.view(n, c, h // size, size, w // size, size).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(-1, size * size, c)


def unwindowed(x: Tensor, size: int, shift: int, like: tuple[int, ...]) -> Tensor:
    """The inverse of `windows`, `n c h w` of the shape of `like` but for its channels."""
    n, _, h, w = like
    x = x.view(n, h // size, w // size, size, size, -1).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, -1).permute(0, 3, 1, 2)
    return x.roll((shift, shift), (2, 3)) if shift else x


def _apart(h: int, w: int, size: int, shift: int, device: torch.device) -> Tensor:
    """`windows, size * size, size * size`: -100 between tokens that only the roll has brought together (Liu et al. 2021)."""
    rows, columns = (
        torch.arange(n, device=device).ge(n - size).long() + torch.arange(n, device=device).ge(n - shift) for n in (h, w)
    )
    labels = windows((3 * rows[:, None] + columns)[None, None], size, 0)[..., 0]
    return torch.where(labels[:, None] == labels[:, :, None], 0.0, _INVALID)


class WindowAttention(nn.Module):
    """Multi-head attention in windows; queries and keys come from features of unit length."""

    def __init__(self, dim: int):
        super().__init__()
        self.q, self.k, self.v, self.proj = (EqualisedLinear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x `windows tokens c`; mask is added to the logits, `windows 1 tokens|1 tokens`."""
        unit = F.normalize(x, dim=-1)
        q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in (self.q(unit), self.k(unit), self.v(x)))
        y = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask.to(q.dtype))
        return self.proj(y.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.fc1, self.fc2 = EqualisedLinear(dim, 2 * dim, activated=True), EqualisedLinear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x))


class Block(nn.Module):
    """Attention, concatenated with what came in, and two layers on each token: no norms, no residual sums."""

    def __init__(self, dim: int, window: int, shift: int):
        super().__init__()
        self.window, self.shift = window, shift
        self.attn = WindowAttention(dim)
        self.fuse = EqualisedLinear(2 * dim, dim, activated=True)
        self.mlp = _Mlp(dim)

    def forward(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        tokens = windows(x, self.window, self.shift)
        mask, updated = self._mask(x, known)
        y = self.mlp(self.fuse(torch.cat([tokens, self.attn(tokens, mask)], -1)))
        return unwindowed(y, self.window, self.shift, x.shape), updated

    def _mask(self, x: Tensor, known: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        n, _, h, w = x.shape
        mask = _apart(h, w, self.window, self.shift, x.device).repeat(n, 1, 1)[:, None] if self.shift else None
        if known is None:
            return mask, None
        valid = windows(known, self.window, self.shift)[..., 0]
        keys = torch.where(valid == 0, _INVALID, 0.0)[:, None, None]
        any_valid = valid.sum(1, keepdim=True).clamp(0, 1).expand_as(valid)
        updated = unwindowed(any_valid.contiguous(), self.window, self.shift, x.shape)
        return keys if mask is None else mask + keys, updated


class _Resized(nn.Module):
    """Down by two, or up."""

    def __init__(self, dim: int, up: bool):
        super().__init__()
        self.conv = PartialConv(dim, dim, up=up, down=not up)

    def forward(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.conv(x, known)


class Stage(nn.Module):
    """Down or up by two, blocks, and a convolution; what came in is added to what goes out."""

    def __init__(self, dim: int, depth: int, window: int, side: int, before: int):
        super().__init__()
        self.downsample = None if side == before else _Resized(dim, up=side > before)
        shifts = [window // 2 if i % 2 and side > window else 0 for i in range(depth)]
        self.blocks = nn.ModuleList(Block(dim, window, shift) for shift in shifts)
        self.conv = PartialConv(dim, dim)

    def forward(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.downsample is not None:
            x, known = self.downsample(x, known)
        start = x
        for block in self.blocks:
            x, known = block(x, known)
        x, known = self.conv(x, known)
        return x + start, known


class StyledUp(nn.Module):
    """Twice the size, what the encoder had there added, and the picture so far. `resolution` None: without noise."""

    def __init__(self, inputs: int, outputs: int, colours: int, style: int, resolution: int | None = None):
        super().__init__()
        self.conv0 = StyledConv(inputs, outputs, style, resolution, up=True)
        self.conv1 = StyledConv(outputs, outputs, style, resolution)
        self.toRGB = ToRgb(outputs, colours, style)

    def forward(
        self, x: Tensor, picture: Tensor | None, styles: Triple, skip: Tensor, noise: tuple[Tensor | None, Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """`styles` are those of both convolutions and of the colours, `noise` of both convolutions."""
        x = self.conv0(x, styles[0], noise[0]).add_(skip)
        x = self.conv1(x, styles[1], noise[1])
        return x, self.toRGB(x, styles[2], picture)


class FirstStage(nn.Module):
    """A coarse but complete picture. Convolutions to 64 x 64, five stages of blocks, convolutions back with the style."""

    def __init__(self, resolution: int, colours: int, dim: int, w: int):
        super().__init__()
        halvings = (resolution // SIDES[0]).bit_length() - 1
        self.conv_first = PartialConv(colours + 1, dim)
        self.enc_conv = nn.ModuleList(PartialConv(dim, dim, down=True) for _ in range(halvings))
        befores = (SIDES[0], *SIDES)
        self.tran = nn.ModuleList(Stage(dim, *each) for each in zip(DEPTHS, WINDOWS, SIDES, befores, strict=False))
        self.down_conv = nn.Sequential(*(EqualisedConv(dim, dim, 3, down=True) for _ in range(4)))
        self.to_style = EqualisedLinear(dim, 2 * dim, activated=True)
        self.ws_style = EqualisedLinear(w, dim, activated=True)
        self.to_square = EqualisedLinear(dim, 16 * 16, activated=True)
        self.dec_conv = nn.ModuleList(StyledUp(dim, dim, colours, 3 * dim) for _ in range(halvings))

    def forward(self, image: Tensor, known: Tensor, w: Tensor, drop: Tensor | float) -> Tensor:
        """The filled picture in [-1, 1]. `drop`, `n tokens dim`: which of the 16 x 16 tokens' features are the photo's."""
        x, valid = self.conv_first(torch.cat([known - 0.5, image * known], 1), known)
        skips: list[Tensor] = []
        for conv in self.enc_conv:
            skips.append(x)
            x, valid = conv(x, valid)
        style = w
        for i, stage in enumerate(self.tran):
            x, valid = stage(x, valid if i < 2 else None)
            if i < 2:
                skips.append(x)
            elif i == 2:
                x, style = self._styled(x, w, drop)
            else:
                x = x + skips.pop()
        picture = None
        for block in self.dec_conv:
            x, picture = block(x, picture, (style, style, style), skips.pop(), (None, None))
        assert picture is not None
        return torch.lerp(picture.to(image.dtype), image, known)

    def _styled(self, x: Tensor, w: Tensor, drop: Tensor | float) -> tuple[Tensor, Tensor]:
        n, c, h, width = x.shape
        own = self.ws_style(w)
        added = F.interpolate(self.to_square(own)[:, None], size=h * width, mode="linear").transpose(1, 2)
        tokens = x.flatten(2).transpose(1, 2)
        x = (tokens * drop + added * (1 - drop)).transpose(1, 2).reshape(n, c, h, width)
        overall = self.to_style(self.down_conv(x).mean((2, 3)))
        return x, torch.cat([overall, own], 1)
