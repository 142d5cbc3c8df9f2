"""Weights in the order in which oneDNN reads them: convolutions and matrices of a network at a CPU's full rate.

torch hands a matrix product to MKL, and a convolution's weights to oneDNN in the wrong order, call by call. On an AMD EPYC core
of one thread: 256 tokens times 512x2048 at 48 billion multiply-adds a second, packed at 113; a 3x3 convolution of 512 channels at
16x16 at 82 and 115. The operations are those that torch.compile uses on a CPU, hence the check that they are there.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)

_NAMES = ("_convolution_pointwise", "_linear_pointwise", "_reorder_convolution_weight", "_reorder_linear_weight")
_PLAIN: tuple[str, list[float], str] = ("none", [], "")  # no activation behind the operation


def packed(network: Network, tokens: int = 256) -> Network:
    """The same network, its convolutions (2-d, zero padding) and matrices packed in place, in channels-last order.

    For float32 inference on the CPU from here on: it can't be moved, saved or trained any more. `tokens` is how many rows
    matrices are packed for; any number works. Without oneDNN the network comes back as it is.
    """
    if not (torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _NAMES)):
        return network
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        for module in network.modules():
            found = _replacement(module, tokens)
            if found is not None:
                setattr(module, *found)
                module.register_parameter("weight", None)
    return network


def _replacement(module: nn.Module, tokens: int) -> tuple[str, Any] | None:
    """Which method gives way to what; None for what can't be packed, or is."""
    if vars(module).keys() & {"_conv_forward", "forward"}:
        return None
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return "_conv_forward", _Points(module, tokens) if _is_matrix(module) else _Convolution(module)
    return ("forward", _Matrix(module, tokens)) if type(module) is nn.Linear else None


class _Convolution:
    """Takes the place of nn.Conv2d._conv_forward, under subclasses, too."""

    def __init__(self, conv: nn.Conv2d):
        self.how = [*map(list, (conv.padding, conv.stride, conv.dilation))], conv.groups
        (padding, stride, dilation), groups = self.how
        size = [1, conv.in_channels, 64, 64]  # without one, 1x1 kernels of many channels get a slow order
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight, padding, stride, dilation, groups, size)

    def __call__(self, input: Tensor, _: Tensor | None, bias: Tensor | None) -> Tensor:
        places, groups = self.how
        return torch.ops.mkldnn._convolution_pointwise(input, self.weight, bias, *places, groups, *_PLAIN)


def _is_matrix(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1


class _Points:
    """A 1x1 convolution as a matrix times each pixel, which is what it is in channels-last order."""

    def __init__(self, conv: nn.Conv2d, tokens: int):
        self.weight = torch.ops.mkldnn._reorder_linear_weight(conv.weight.flatten(1), tokens)

    def __call__(self, input: Tensor, _: Tensor | None, bias: Tensor | None) -> Tensor:
        pixels = input.permute(0, 2, 3, 1).contiguous()
        return torch.ops.mkldnn._linear_pointwise(pixels, self.weight, bias, *_PLAIN).permute(0, 3, 1, 2)


class _Matrix:
    """Takes the place of nn.Linear.forward."""

    def __init__(self, linear: nn.Linear, tokens: int):
        self.bias = linear.bias
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight, tokens)

    def __call__(self, input: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, *_PLAIN)
