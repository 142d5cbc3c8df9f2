"""The Inception of FID: TensorFlow's network of 2015-12-05 with its published weights' key names.

It is torchvision's Inception v3 with 1,008 classes, with means that leave out the padding, and a maximum instead of a mean
in the last block (as in pytorch-fid, torch-fidelity and clean-fid, which all hold the same weights).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.models import inception

Resize = Literal["pytorch-fid", "clean-fid", "torch-fidelity"]
SIDE, FEATURES = 299, 2048


def _mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _BlockA(inception.InceptionA):
    def _forward(self, x: Tensor) -> list[Tensor]:
        wide = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return [self.branch1x1(x), wide, double, self.branch_pool(_mean(x))]


class _BlockC(inception.InceptionC):
    def _forward(self, x: Tensor) -> list[Tensor]:
        single, double = self.branch7x7_1(x), self.branch7x7dbl_1(x)
        for layer in (self.branch7x7_2, self.branch7x7_3):
            single = layer(single)
        for layer in (self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4, self.branch7x7dbl_5):
            double = layer(double)
        return [self.branch1x1(x), single, double, self.branch_pool(_mean(x))]


class _BlockE(inception.InceptionE):
    largest = False

    def _forward(self, x: Tensor) -> list[Tensor]:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.largest else _mean(x)
        return [
            self.branch1x1(x),
            torch.cat([self.branch3x3_2a(single), self.branch3x3_2b(single)], 1),
            torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1),
            self.branch_pool(pooled),
        ]


class _LastBlockE(_BlockE):
    largest = True


class FidInception(inception.Inception3):
    """Pool3 features of pictures that `inception_input` made; loads the official state_dict (566 keys)."""

    def __init__(self) -> None:
        blocks = [
            inception.BasicConv2d, _BlockA, inception.InceptionB, _BlockC, inception.InceptionD, _BlockE, inception.InceptionAux,
        ]  # fmt: skip
        super().__init__(num_classes=1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
        self.Mixed_7c = _LastBlockE(2048)
        self.eval().requires_grad_(False)

    def forward(self, x: Float[Tensor, "images 3 299 299"]) -> Float[Tensor, "images 2048"]:
        """Values in [-1, 1] -> the means of the last block."""
        for name, layer in self.named_children():
            if name in ("avgpool", "dropout", "fc"):
                break
            x = layer(x)
        return x.mean((2, 3))


def inception_input(image: UInt8[np.ndarray, "h w 3"], resize: Resize) -> Float[Tensor, "3 299 299"]:
    """One picture as the network takes it, by the convention of an FID program.

    pytorch-fid: bilinear (half-pixel centres, no antialias), 2 x - 1 of [0, 1]. clean-fid: Pillow's bicubic with antialias on
    floats, cut to 0-255, (x - 128) / 128. torch-fidelity: TensorFlow 1's bilinear (corners, no antialias), (x - 128) / 128.
    """
    if resize == "clean-fid":
        channels = [np.asarray(Image.fromarray(c).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for c in _floats(image)]
        return (torch.from_numpy(np.stack(channels)).clamp(0, 255) - 128) / 128
    x = torch.from_numpy(_floats(image))
    if resize == "pytorch-fid":
        return 2 * F.interpolate(x[None] / 255, (SIDE, SIDE), mode="bilinear", align_corners=False)[0] - 1
    return (_corner_bilinear(_corner_bilinear(x, 1), 2) - 128) / 128


def _floats(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)


def _corner_bilinear(x: Tensor, axis: int) -> Tensor:
    """Linear interpolation to SIDE samples at i * size / SIDE, the last sample repeated beyond the end."""
    size = x.shape[axis]
    place = torch.arange(SIDE, dtype=torch.float32) * (size / SIDE)
    first = place.long()
    share = (place - first).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    a = x.index_select(axis, first)
    return a + (x.index_select(axis, (first + 1).clamp(max=size - 1)) - a) * share
