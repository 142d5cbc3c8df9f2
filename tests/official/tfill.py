"""TFill's folder of bare state_dicts, `ITERATION_net_NETWORK.pth`, small networks of the releases' options."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from operators.networks.tfill_coarse import Encoder, Generator, Transformer
from operators.networks.tfill_discriminator import Discriminator
from operators.networks.tfill_refine import RefinedGenerator
from tests.conformance.formula import state_of

FIRST, EMBED = 2, 32


def networks(attention: bool = True, noise: bool = True) -> dict[str, nn.Module]:
    """A sixteenth of the releases' widths; two layers of transformer, two blocks in the refinement's middle."""
    hidden = 64
    return {
        "E": Encoder(3, FIRST, 1, EMBED, 4, 2),
        "T": Transformer(FIRST * 16, EMBED, FIRST * 16, 2, hidden, 1, 32),
        "G": Generator(EMBED, FIRST, 3, 4, 2, attention=hidden if attention else 0, noise=noise),
        "G_Ref": RefinedGenerator(FIRST, EMBED, 4, 2, 2, 2),
    }


def discriminators() -> dict[str, nn.Module]:
    """For pictures of 16 and of 32 px."""
    return {"D": Discriminator([4, 8, 8], 8), "D_Ref": Discriminator([2, 4, 8, 8], 8)}


def weights(network: nn.Module, name: str) -> dict[str, Tensor]:
    """By the formula of the fixtures, another for each network."""
    own = network.state_dict()
    keys = [(f"{name}.{key}", tuple(value.shape), "float32") for key, value in own.items()]
    state = state_of(keys, {"mode": "fanin", "gain": 1.0}, {f"{name}.{key}": value for key, value in own.items()})
    return {key.removeprefix(f"{name}."): value for key, value in state.items()}


def write(folder: Path) -> str:
    """What the authors' training leaves: the four generators' files of the latest iteration."""
    return _write(folder, networks())


def variants(folder: Path) -> dict[str, str]:
    """Other layouts that must load."""
    made = networks()
    coarse = {name: made[name] for name in ("E", "T", "G")}
    return {
        "an iteration": _write(folder / "iteration", made, "400000"),
        "a file of the folder": f"{_write(folder / 'file', made)}/latest_net_G.pth",
        "DataParallel": _write(folder / "parallel", made, prefix="module."),
        "torch before 1.6": _write(folder / "legacy", made, zipped=False),
        "the first stage alone": _write(folder / "coarse", coarse),
        "with discriminators": _write(folder / "all", made | discriminators()),
        "without --attn_G": _write(folder / "plain", made | {"G": networks(attention=False)["G"]}),
        "without --add_noise": _write(folder / "quiet", made | {"G": networks(noise=False)["G"]}),
    }


def _write(folder: Path, made: dict[str, nn.Module], iteration: str = "latest", prefix: str = "", zipped: bool = True) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in made.items():
        state = {f"{prefix}{key}": value for key, value in weights(network, name).items()}
        torch.save(state, folder / f"{iteration}_net_{name}.pth", _use_new_zipfile_serialization=zipped)
    return str(folder)
