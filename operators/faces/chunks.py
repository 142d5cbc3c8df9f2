"""Run a network on any number of images in calls of one fixed size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def run_in_chunks(
    network: Callable[[Tensor], dict[str, Tensor]], images: Float[Tensor, "images *size"], size: int
) -> dict[str, Tensor]:
    """The network's outputs by name, `images` leading; the last chunk is filled up with zeros.

    Which kernels a library picks depends on the batch's size, and so would the last bits of a result: an image's
    numbers must not depend on how many others travel with it. ValueError for no images or a size below one.
    """
    if not len(images) or size < 1:
        raise ValueError(f"expected at least one image and a positive chunk size, got {len(images)} and {size}")
    parts: list[dict[str, Tensor]] = []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        filled = torch.cat([chunk, chunk.new_zeros(size - len(chunk), *chunk.shape[1:])])
        out = network(filled.contiguous(memory_format=torch.channels_last))
        parts.append({name: values[: len(chunk)] for name, values in out.items()})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
