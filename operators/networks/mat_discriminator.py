"""MAT's discriminator: StyleGAN2's, twice, for the final picture and with half the channels for the first stage's."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import fill
from operators.networks.equalised import EqualisedConv, EqualisedLinear, MinibatchDeviation
from operators.networks.mat_checkpoint import PUBLISHED, without_constants


class _FromRgb(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = EqualisedConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Block(nn.Module):
    """Half the size; both branches are scaled so that their sum keeps the variance."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv0 = EqualisedConv(inputs, inputs, 3)
        self.conv1 = EqualisedConv(inputs, outputs, 3, down=True, gain=0.5**0.5)
        self.skip = EqualisedConv(inputs, outputs, 1, activated=False, bias=False, down=True, gain=0.5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.conv1(self.conv0(x))


def _trunk(colours: int, widths: tuple[int, ...]) -> nn.Sequential:
    blocks = [_Block(a, b) for a, b in pairwise(widths)]
    last = widths[-1]
    return nn.Sequential(_FromRgb(colours + 1, widths[0]), *blocks, MinibatchDeviation(), EqualisedConv(last + 1, last, 3))


class Discriminator(nn.Module):
    """Logits of both pictures under the mask. `widths` are channels at the full resolution, half of it, … 4."""

    def __init__(self, widths: tuple[int, ...], coarse: tuple[int, ...], colours: int = 3):
        super().__init__()
        self.Dis, self.Dis_stg1 = _trunk(colours, widths), _trunk(colours, coarse)
        last, last_coarse = widths[-1], coarse[-1]
        self.fc0, self.fc1 = EqualisedLinear(last * 16, last, activated=True), EqualisedLinear(last, 1)
        self.fc0_stg1 = EqualisedLinear(last_coarse * 16, last_coarse, activated=True)
        self.fc1_stg1 = EqualisedLinear(last_coarse, 1)

    def forward(
        self, image: Float[Tensor, "n 3 h w"], known: Float[Tensor, "n 1 h w"], coarse: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1"]]:
        """`image` is the final picture or a photo, `coarse` the first stage's or the photo; known 1, hole 0."""
        final = self.Dis(torch.cat([known - 0.5, image], 1)).flatten(1)
        first = self.Dis_stg1(torch.cat([known - 0.5, coarse], 1)).flatten(1)
        return self.fc1(self.fc0(final)), self.fc1_stg1(self.fc0_stg1(first))


def discriminator(weights: Mapping[str, Tensor], file: Path | str) -> Discriminator:
    """The network of these weights, its widths as they state them. Errors: CheckpointError."""
    learned = without_constants(weights, file)
    widths, coarse = (_widths(learned, trunk) for trunk in ("Dis", "Dis_stg1"))
    return fill(Discriminator(widths, coarse), learned, file, "MAT's discriminator")


def read_discriminator(path: Path) -> Discriminator:
    """D of an official file, or a state_dict of it. Errors: CheckpointError."""
    return discriminator(state_dict_of(read_checkpoint(path), path, "D"), path)


def _widths(weights: Mapping[str, Tensor], trunk: str) -> tuple[int, ...]:
    found = [weights[f"{trunk}.0.conv.bias"].shape[0]] if f"{trunk}.0.conv.bias" in weights else []
    while (key := f"{trunk}.{len(found)}.conv1.bias") in weights and found:
        found.append(weights[key].shape[0])
    return tuple(found) if len(found) > 1 and max(found) <= 4096 else (*PUBLISHED[256].channels, 512, 512)
