"""EdgeConnect's checkpoints: a folder with `EdgeModel_gen.pth`, `InpaintingModel_gen.pth`, their `_dis.pth`, and config.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.conformance.formula import Key, state_of

RULE = {"mode": "fanin", "gain": 1.2}
BLOCKS, WIDTH = 2, 16


def write(folder: Path) -> str:
    """Both generators as the authors' `save` writes them; two residual blocks and a quarter of the width: files say so."""
    save(folder / "EdgeModel_gen.pth", edge_state())
    save(folder / "InpaintingModel_gen.pth", inpaint_state())
    return str(folder)


def variants(folder: Path) -> dict[str, str]:
    """DataParallel's names, torch's older file format, spectral norm from before torch 1.0, no norm at all, single files."""
    made: dict[str, Path] = {name: folder / name for name in ("parallel", "old_norm", "no_norm", "with_others")}
    for path in made.values():
        path.mkdir(parents=True)
        save(path / "InpaintingModel_gen.pth", inpaint_state(), prefix="module." if path.name == "parallel" else "")
    save(made["parallel"] / "EdgeModel_gen.pth", edge_state(), prefix="module.", zipped=False)
    save(made["old_norm"] / "EdgeModel_gen.pth", before_torch_1(edge_state()), prefix="module.", zipped=False)
    save(made["no_norm"] / "EdgeModel_gen.pth", state_of(keys(3, 1), RULE))
    save(made["with_others"] / "EdgeModel_gen.pth", edge_state())
    write_discriminators(made["with_others"])
    (made["with_others"] / "config.yml").write_text("MODE: 2  # test\nMODEL: 3\nSIGMA: 1.5\nGPU: [0]\n", encoding="utf-8")
    named = {name: str(path) for name, path in made.items()}
    return named | {"one_of_two_files": str(made["no_norm"] / "EdgeModel_gen.pth")}


def save(path: Path, state: dict[str, Tensor], place: str = "generator", prefix: str = "", zipped: bool = True) -> None:
    """`{'iteration': …, 'generator': state_dict}`; torch before 1.6 wrote no zip files."""
    contents: dict[str, Any] = {"iteration": 2000000} if place == "generator" else {}
    contents[place] = {f"{prefix}{key}": value for key, value in state.items()}
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)


def write_discriminators(folder: Path) -> None:
    """The `_dis.pth` files, which only training reads."""
    for name, inputs in (("EdgeModel", 2), ("InpaintingModel", 3)):
        save(folder / f"{name}_dis.pth", discriminator_state(inputs), "discriminator")


def edge_state() -> dict[str, Tensor]:
    """The edge generator with torch's spectral norm on all convolutions but the last."""
    return state_of(normed_keys(keys(3, 1, block_bias=False), but="decoder.7"), RULE)


def inpaint_state() -> dict[str, Tensor]:
    """The inpainting generator."""
    return state_of(keys(4, 3), RULE)


def discriminator_state(inputs: int) -> dict[str, Tensor]:
    """One discriminator; its first layer is saved under two names."""
    widths = (inputs, 8, 16, 32, 64, 1)
    names: list[Key] = [(f"conv{i + 1}.0.weight", (widths[i + 1], widths[i], 4, 4), "float32") for i in range(5)]
    state = state_of(normed_keys(names, but="none"), RULE)
    return state | {key.replace("conv1", "features"): value for key, value in state.items() if key.startswith("conv1.")}


def keys(inputs: int, outputs: int, block_bias: bool = True) -> list[Key]:
    """Names and shapes of a generator without spectral norm."""
    w = WIDTH
    shapes = {
        "encoder.1": (w, inputs, 7, 7),
        "encoder.4": (2 * w, w, 4, 4),
        "encoder.7": (4 * w, 2 * w, 4, 4),
        **{f"middle.{i}.conv_block.{j}": (4 * w, 4 * w, 3, 3) for i in range(BLOCKS) for j in (1, 5)},
        "decoder.0": (4 * w, 2 * w, 4, 4),
        "decoder.3": (2 * w, w, 4, 4),
        "decoder.7": (outputs, w, 7, 7),
    }
    found: list[Key] = []
    for name, shape in shapes.items():
        found.append((f"{name}.weight", shape, "float32"))
        if block_bias or not name.startswith("middle."):
            found.append((f"{name}.bias", (shape[1] if name in ("decoder.0", "decoder.3") else shape[0],), "float32"))
    return found


def normed_keys(plain: list[Key], but: str) -> list[Key]:
    """The same with `weight_orig`, `weight_u` and `weight_v` in the place of every weight."""
    found: list[Key] = []
    for name, shape, kind in plain:
        if not name.endswith(".weight") or name == f"{but}.weight":
            found.append((name, shape, kind))
            continue
        axis = 1 if name in ("decoder.0.weight", "decoder.3.weight") else 0
        rest = 1
        for i, side in enumerate(shape):
            rest *= 1 if i == axis else side
        found += [(f"{name}_orig", shape, kind), (f"{name}_u", (shape[axis],), kind), (f"{name}_v", (rest,), kind)]
    return found


def before_torch_1(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in torch 0.4's form: `weight` as the last step made it, and no `weight_v`."""
    from operators.networks.spectral_norm import plain_weights

    plain = plain_weights(state, "formula", ("decoder.0", "decoder.3"))
    return {key: value for key, value in state.items() if not key.endswith("_v")} | {
        key: value for key, value in plain.items() if f"{key}_orig" in state
    }
