"""What an official MAT file holds and says of its network.

Releases are pickles of StyleGAN2-ADA's making: a dict of whole modules (G, D, G_ema), each with its source code beside its
tensors. The source is never looked at. Plain state_dicts of G_ema are read as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.system import Official
from operators.networks.equalised import FILTER

GIVE = "the .pkl of a release (CelebA-HQ_256.pkl, CelebA-HQ.pkl, FFHQ_512.pkl, …), or a .pth or .safetensors of its G_ema"
_KINDS = (".pkl", ".pth", ".pt", ".safetensors")
_MOST = 4096  # channels or pixels; a file that says more is none of MAT's


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


def find(path: Path) -> list[Path]:
    """The one network file of a file or folder. Errors: CheckpointError."""
    if not path.is_dir():
        return [path]
    found = sorted(item for item in path.iterdir() if item.suffix in _KINDS)
    if len(found) != 1:
        names = ", ".join(item.name for item in found[:6]) or "no such file"
        raise CheckpointError(path, "a folder with one network file", names, f"give {GIVE}")
    return found


def read(files: Sequence[Path]) -> Official:
    """G_ema of the file. Errors: CheckpointError."""
    state = state_dict_of(read_checkpoint(files[0]), files[0], "G_ema", "G", "state_dict")
    return Official(without_constants(state, files[0]), {"file": files[0].name})


def without_constants(state: Mapping[str, Tensor], file: Path | str) -> dict[str, Tensor]:
    """The learned tensors in float32; those that the architecture states are left out. Errors: CheckpointError."""
    taps = torch.tensor(FILTER)
    usual = torch.outer(taps, taps) / taps.sum() ** 2
    learned: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith(".resample_filter"):
            if value.shape != usual.shape or not torch.allclose(value.float(), usual, atol=1e-4):
                raise CheckpointError(
                    file, f"the filter {list(FILTER)} at {key}", f"another, {tuple(value.shape)}", f"give {GIVE}"
                )
        elif not key.endswith(".attn_mask"):
            learned[key] = value.float() if value.is_floating_point() else value
    return learned


def shape_of(weights: Mapping[str, Tensor]) -> MatShape:
    """The sizes that the tensors state; where they state none that can be, those of the release at 256 px."""
    try:
        shape = _stated(weights)
    except (KeyError, ValueError, IndexError):
        return PUBLISHED[256]
    sizes = (shape.resolution, shape.dim, shape.z, shape.w, shape.overall, shape.colours, *shape.channels)
    square = shape.resolution & (shape.resolution - 1) == 0 and shape.resolution >= 128
    return shape if square and shape.dim % 6 == 0 and min(sizes) > 0 and max(sizes) <= _MOST else PUBLISHED[256]


def _stated(weights: Mapping[str, Tensor]) -> MatShape:
    blocks = (re.match(r"synthesis\.enc\.EncConv_Block_(\d{2,4})x\1\.", key) for key in weights)
    sides = sorted({int(found[1]) for found in blocks if found})
    layers = sum(re.fullmatch(r"mapping\.fc\d+\.weight", key) is not None for key in weights)
    first = weights["synthesis.first_stage.conv_first.conv.weight"].shape
    return MatShape(
        resolution=max(sides),
        channels=tuple(weights[f"synthesis.enc.EncConv_Block_{side}x{side}.conv1.weight"].shape[0] for side in reversed(sides)),
        dim=first[0],
        z=weights["mapping.fc0.weight"].shape[1],
        w=weights[f"mapping.fc{layers - 1}.weight"].shape[0],
        layers=layers,
        overall=weights["synthesis.to_style.fc.weight"].shape[0],
        colours=first[1] - 1,
    )
