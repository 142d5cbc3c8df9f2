"""3DFaceFill's face segmentation (`modelO`, UnetSeg): face, occlusion, background. A U-Net with batch norms."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


def _fused(convolution: nn.Module, norm: nn.Module) -> nn.Module:
    if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        return fuse_conv_bn_eval(convolution, norm)
    return convolution


class _Double(nn.Module):
    """Two convolutions with a short cut."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv = nn.Sequential(
            *(nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)),
            *(nn.Conv2d(out, out, 3, padding=1), nn.BatchNorm2d(out)),
        )
        if channels != out:
            self.res_conv, self.res_norm = nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out)
        else:
            self.res_conv = self.res_norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv(x) + self.res_norm(self.res_conv(x)), inplace=True)

    def fold(self) -> None:
        """Batch norms into the convolutions before them."""
        first, norm, act, second, last = self.conv
        self.conv = nn.Sequential(_fused(first, norm), act, _fused(second, last))
        self.res_conv, self.res_norm = _fused(self.res_conv, self.res_norm), nn.Identity()


class _In(nn.Module):
    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv = _Double(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Down(nn.Module):
    def __init__(self, channels: int, out: int):
        super().__init__()
        self.mpconv = nn.Sequential(nn.MaxPool2d(2), _Double(channels, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.mpconv(x)


class _Up(nn.Module):
    """Twice the size, filled up with zeros to the skip connection's, beside it."""

    def __init__(self, channels: int, out: int, transposed: bool):
        super().__init__()
        half = channels // 2
        smooth = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.up = nn.ConvTranspose2d(half, half, 2, 2) if transposed else smooth
        self.conv = _Double(channels, out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        down, right = (a - b for a, b in zip(skip.shape[2:], x.shape[2:], strict=True))
        x = functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return self.conv(torch.cat((skip, x), 1))


class _Out(nn.Module):
    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class FaceParser(nn.Module):
    """Pictures in [-1, 1] to probabilities of face, occlusion and background. Both sides at least 32."""

    def __init__(self, width: int = 32, classes: int = 3, given: int = 3, transposed: bool = True):
        super().__init__()
        w = width
        self.inc = _In(given, w)
        for i, (channels, out) in enumerate(((w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w), (8 * w, 8 * w))):
            self.add_module(f"down{i + 1}", _Down(channels, out))
        for i, (channels, out) in enumerate(((16 * w, 8 * w), (16 * w, 4 * w), (8 * w, 2 * w), (4 * w, w), (2 * w, w))):
            self.add_module(f"up{i + 1}", _Up(channels, out, transposed))
        self.outc = _Out(w, classes)

    @classmethod
    def like(cls, state: Mapping[str, Tensor]) -> FaceParser:
        """A network of the sizes of these weights. Errors: KeyError when it has none of its kind."""
        first = state["inc.conv.conv.0.weight"]
        return cls(len(first), len(state["outc.conv.bias"]), first.shape[1], "up1.up.weight" in state)

    def folded(self) -> FaceParser:
        """The same network without batch norms."""
        out = copy.deepcopy(self)
        for block in [module for module in out.modules() if isinstance(module, _Double)]:
            block.fold()
        return out

    def forward(self, image: Float[Tensor, "faces 3 h w"]) -> Float[Tensor, "faces classes h w"]:
        levels = [self.inc(image)]
        for i in range(1, 6):
            levels.append(self.get_submodule(f"down{i}")(levels[-1]))
        x = levels.pop()
        for i in range(1, 6):
            x = self.get_submodule(f"up{i}")(x, levels.pop())
        return torch.softmax(self.outc(x), 1)
