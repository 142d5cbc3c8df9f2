"""What an official MAT file says of its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from operators.checkpoints.files import CheckpointError
from operators.networks.equalised import FILTER


@dataclass(frozen=True)
class MatShape:
    """Sizes of a network. `channels` are the second stage's, at the full resolution, half of it, … 16."""

    resolution: int = 256
    channels: tuple[int, ...] = (128, 256, 512, 512, 512)
    dim: int = 180
    z: int = 512
    w: int = 512
    layers: int = 8
    overall: int = 1024
    colours: int = 3

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the second stage's features, largest first."""
        return tuple(self.resolution >> i for i in range(len(self.channels)))


PUBLISHED = {256: MatShape(), 512: MatShape(512, (64, 128, 256, 512, 512, 512))}
