"""Segment Anything as Meta published it: one pickled state_dict. Small sizes; the file's shapes state them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import Tensor

from operators.checkpoints.system import Official
from operators.networks.sam import Sizes, build, empty
from tests.conformance.formula import state_of

# Windows of 3 tokens do not divide the grid of 8: the last ones are filled up, as those of the published models are.
TINY = Sizes(
    image=128,
    patch=16,
    width=32,
    depth=3,
    heads=2,
    mlp=64,
    window=3,
    global_blocks=(1,),
    channels=32,
    mask_channels=16,
    masks=3,
    decoder_depth=2,
    decoder_mlp=64,
    decoder_heads=8,
    decoder_reduction=2,
    iou_depth=3,
    iou_width=32,
)


def state(sizes: Sizes = TINY, gain: float = 1.5) -> dict[str, Tensor]:
    """Formula weights of the official keys; the gain makes masks of all shapes and sizes."""
    keys = [(key, tuple(value.shape), "float32") for key, value in empty(sizes).state_dict().items()]
    return state_of(keys, {"mode": "fanin", "gain": gain})


def network(sizes: Sizes = TINY) -> Sam:
    """The SAM of these weights, built."""
    return build(Official(state(sizes)))


def write(folder: Path) -> str:
    """sam_vit_b_01ec64.pth, but small."""
    path = folder / "sam_vit_b_01ec64.pth"
    torch.save(OrderedDict(state()), path)
    return str(path)


def variants(folder: Path) -> dict[str, str]:
    """Other layouts in which such weights are around."""
    weights, found = state(), {}

    def place(name: str, file: str = "sam.pth") -> Path:
        found[name] = str(folder / name / file)
        (folder / name).mkdir(parents=True)
        return folder / name / file

    torch.save(weights, place("before torch 1.6"), _use_new_zipfile_serialization=False)
    torch.save({f"module.{key}": value for key, value in weights.items()}, place("data parallel"))
    torch.save({"model": weights, "epoch": 3, "optimizer": {"lr": 1e-4}}, place("training checkpoint"))
    torch.save({key: torch.nn.Parameter(value) for key, value in weights.items()}, place("parameters", "sam_vit_l.pth"))
    save_file(weights, place("safetensors", "model.safetensors"))
    write(place("folder").parent)
    found["folder"] = str(folder / "folder")
    return found
