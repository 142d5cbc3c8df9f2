"""Tensors that say they lie on a GPU, with shapes and no numbers: what mixes devices is found without having one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

DEVICE = "cuda"


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Inside, every new tensor has a device and a shape only; tensors made before stay usable on the CPU."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        yield


def moved(value: Tensor) -> Tensor:
    """A stand-in of the tensor on the GPU."""
    return torch.empty(value.shape, dtype=value.dtype, device=DEVICE)


def move(network: nn.Module) -> nn.Module:
    """Parameters and buffers on the GPU, as `.to` would; what a module holds otherwise stays where it is, as `.to` leaves it."""
    for module in network.modules():
        for name, value in list(module._parameters.items()):
            if value is not None:
                module._parameters[name] = nn.Parameter(moved(value), requires_grad=False)
        for name, value in list(module._buffers.items()):
            if value is not None:
                module._buffers[name] = moved(value)
    return network


def move_fields(given: Any, *stay: str) -> Any:
    """A dataclass with its tensors on the GPU, but for those that are named."""
    tensors = {field.name: getattr(given, field.name) for field in fields(given) if field.name not in stay}
    return replace(given, **{name: moved(value) for name, value in tensors.items() if isinstance(value, Tensor)})
