"""Gated convolution: features and, from the same input, how much of each passes on at each place.

Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GatedConv(nn.Module):
    """`feat_conv(x, *more) * sigmoid(gate_conv(x))`."""

    def __init__(self, features: nn.Module, gate: nn.Module):
        super().__init__()
        self.feat_conv, self.gate_conv = features, gate

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        return self.feat_conv(x, *more) * torch.sigmoid(self.gate_conv(x))
