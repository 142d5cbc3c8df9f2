"""3DFaceFill's files as its code writes them (torch 1.4, several GPUs), with formula weights on a small drawn face."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from operators.networks.facefill3d_definition import STATISTICS
from operators.networks.facefill3d_discriminator import Discriminator
from operators.networks.facefill3d_drawn import drawn_definition
from operators.networks.facefill3d_encoder import Encoder
from operators.networks.facefill3d_inpainter import AlbedoInpainter
from operators.networks.facefill3d_parser import FaceParser
from tests.conformance.formula import Key, state_of

MODES = (6, 4)
_RULE = {"mode": "fanin", "gain": 1.0}


def keys(network: nn.Module, normalised: bool) -> list[Key]:
    """The official keys of a network of ours: its convolutions under torch's old spectral norm where there is one."""
    convolutions = {
        f"{name}.weight": module
        for name, module in network.named_modules()
        if normalised and isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }
    found: list[Key] = []
    for key, value in network.state_dict().items():
        kind, shape = str(value.dtype).removeprefix("torch."), tuple(value.shape)
        if key not in convolutions:
            found.append((key, shape, kind))
            continue
        out = shape[1] if isinstance(convolutions[key], nn.ConvTranspose2d) else shape[0]
        parts = (("orig", shape), ("u", (out,)), ("v", (value.numel() // out,)))
        found += [(f"{key}_{part}", size, kind) for part, size in parts]
    return found


@cache
def states() -> dict[str, dict[str, Tensor]]:
    """The official state_dicts of small networks."""
    networks = {
        "modelE": (Encoder(8, 16, sum(MODES)), True),
        "modelR": (AlbedoInpainter(8), True),
        "modelO": (FaceParser(4), False),
        "discI": (Discriminator((8, 16, 16)), True),
    }
    return {name: state_of(keys(network, normalised), _RULE) for name, (network, normalised) in networks.items()}


@cache
def definition() -> dict[str, Tensor]:
    """The arrays of the small face's files."""
    return drawn_definition(17, 21, MODES)


def write(folder: Path) -> str:
    """The project's own folders: checkpoints, datasets, results of a training run; `checkpoint` is the folder that holds them."""
    saved = folder / "results" / "3dfacefill_2020-11-01_10-00-00" / "Save"
    data = folder / "datasets"
    write_to(folder / "checkpoints", data / "3DMM_definition", data, saved / "checkpoint_recon_41.pth")
    return str(folder)


def variants(folder: Path) -> dict[str, str]:
    """Everything in one folder; the training state named itself; no segmentation; files of today's torch."""
    flat, named, bare, new = (folder / name for name in ("flat", "named", "bare", "new"))
    write_to(flat, flat, flat, flat / "checkpoint_recon.pth")
    write_to(named / "checkpoints", named / "3DMM_definition", named, named / "checkpoints" / "mine.pth")
    write_to(bare, bare, bare, bare / "checkpoint_recon_3.pth")
    (bare / "occ_ckpt.pth").unlink()
    write_to(new, new, new, new / "checkpoint_recon.pth", legacy=False)
    return {"flat": str(flat), "named": str(named / "checkpoints" / "mine.pth"), "bare": str(bare), "new": str(new)}


def write_to(networks: Path, data: Path, statistics: Path, trained: Path, legacy: bool = True) -> None:
    """Each kind of file into its folder."""
    state = states()
    decoder = {"h6_0.conv2d.bias": torch.zeros(4)}
    _save(networks / "_3dmm_34.pth", {"modelE": _parallel(state["modelE"]), "modelDT": decoder, "epoch": 34}, legacy)
    _save(networks / "occ_ckpt.pth", {"modelO": _parallel(state["modelO"])}, legacy)
    optimiser: dict[str, Any] = {"state": {}, "param_groups": [{"lr": 1e-4, "betas": (0.5, 0.999)}]}
    together = {name: _parallel(state[name]) for name in ("modelR", "discI")}
    _save(trained, together | {"optimizerR": optimiser, "optimizerDI": optimiser, "epoch": 41}, legacy)
    data.mkdir(parents=True, exist_ok=True)
    for name, values in definition().items():
        if name in STATISTICS:
            np.save(statistics / name, values.numpy())
        else:
            values.numpy().tofile(data / name)
    np.arange(1, 69, dtype="<i4").tofile(data / "3DMM_keypoints.dat")


def _parallel(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As nn.DataParallel names them."""
    return {f"module.{key}": value for key, value in state.items()}


def _save(path: Path, contents: dict[str, Any], legacy: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(contents, path, _use_new_zipfile_serialization=not legacy)
