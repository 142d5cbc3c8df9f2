"""Randomness that belongs to a face: the same numbers on any device, in any batch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MOST = 2**63 - 1


def normal(seeds: Int[Tensor, " faces"], shape: tuple[int, ...], stream: int = 0) -> Float[Tensor, "faces ..."]:
    """Standard normal numbers per face; `stream` numbers the independent draws of one face. On the CPU."""
    return torch.stack([torch.randn(shape, generator=generator(seed, stream)) for seed in seeds.tolist()])


def uniform(seeds: Int[Tensor, " faces"], shape: tuple[int, ...], stream: int = 0) -> Float[Tensor, "faces ..."]:
    """Numbers in [0, 1) per face. On the CPU."""
    return torch.stack([torch.rand(shape, generator=generator(seed, stream)) for seed in seeds.tolist()])


def generator(seed: int, stream: int = 0) -> torch.Generator:
    """A CPU generator for one stream of one face."""
    return torch.Generator().manual_seed((seed ^ (stream * 0x9E3779B97F4A7C15)) & _MOST)
