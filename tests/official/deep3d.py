"""Deep3DFaceRecon_pytorch's training checkpoints: `net_recon` beside optimiser and schedule."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from operators.networks.deep3d import Deep3d
from tests.conformance.formula import state_of

RULE = {"mode": "fanin", "gain": 1.7, "gain_rules": [["bn3\\.weight", 0.3], ["conv3\\.weight", 0.35], ["final_layers|fc", 0.3]]}


def state(depth: int = 50, one_layer: bool = False) -> dict[str, Tensor]:
    """The official state_dict with formula weights."""
    return dict(_state(depth, one_layer))


@cache
def _state(depth: int, one_layer: bool) -> dict[str, Tensor]:
    own = Deep3d(depth, one_layer).state_dict()
    return state_of([(key, tuple(value.shape), str(value.dtype)) for key, value in own.items()], RULE)


def checkpoint(weights: dict[str, Tensor]) -> dict[str, Any]:
    """What `save_networks` writes: the network, the optimiser, the schedule."""
    optimiser = {"state": {}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0, 1]}]}
    schedule = {"step_size": 10, "gamma": 0.2, "last_epoch": 20, "base_lrs": [1e-4], "_last_lr": [4e-6]}
    return {"net_recon": weights, "opt_00": optimiser, "sched_00": schedule}


def write(folder: Path) -> str:
    """`checkpoints/<name>/epoch_20.pth`; the folder is what a config names."""
    place = folder / "a_model"
    place.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint(state()), place / "epoch_20.pth")
    torch.save({}, place / "epoch_5.pth")
    return str(place)


def variants(folder: Path) -> dict[str, str]:
    """The file itself, a bare state_dict in the old format, from several GPUs, and the options ResNet-18 and one last layer."""
    small = state(18)
    files = {
        "file": checkpoint(small),
        "several_gpus": checkpoint({f"module.{key}": value for key, value in small.items()}),
        "bare": small,
        "one_layer": checkpoint(state(18, True)),
    }
    found = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in files.items():
        path = folder / f"{name}.pth"
        torch.save(contents, path, _use_new_zipfile_serialization=name != "bare")
        found[name] = str(path)
    return found
