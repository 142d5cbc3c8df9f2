"""What is known of one published system: its licence, its files, how they are read, and the network that they fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError


@dataclass(frozen=True)
class Official:
    """A system's weights as its official files hold them, and the settings (plain JSON) that those files state.

    Keys are the official ones; a system of several networks puts its own name for each in front (`edge.encoder.1.weight`).
    """

    weights: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """One published system.

    `give` says what a config's `checkpoint` may name. `find` lists the files that count of a file or folder that was given,
    `read` takes what they hold, `build` makes the network of it, in eval mode. All three raise CheckpointError.
    `marks` are regular expressions: a file with keys that match all of them is this system's. `untrained` are weights of the
    best-known release's architecture, drawn at random: for benchmarks without its files.
    """

    name: str
    title: str
    licence: str
    non_commercial: bool
    terms: str
    page: str
    give: str
    find: Callable[[Path], list[Path]]
    read: Callable[[Sequence[Path]], Official]
    build: Callable[[Official], nn.Module]
    untrained: Callable[[], Official]
    marks: tuple[str, ...]


def drawn(network: nn.Module, prefix: str = "", seed: int = 0) -> dict[str, Tensor]:
    """Weights for a network's keys: kernels by their fan-in, norms at identity, variances positive. Not trained."""
    random, out = torch.Generator().manual_seed(seed), {}
    for key, value in network.state_dict().items():
        last = key.rsplit(".", 1)[-1]
        if not value.is_floating_point() or last in ("running_mean", "bias"):
            filled = torch.zeros_like(value)
        elif last == "running_var" or value.ndim < 2:
            filled = torch.ones_like(value)
        else:
            filled = torch.randn(value.shape, generator=random) / max(value[0].numel(), 1) ** 0.5
        out[prefix + key] = filled
    return out


def files_in(path: Path, names: Sequence[str], give: str) -> list[Path]:
    """These files of a folder, in order; a path that is itself a file counts as its folder. Errors: CheckpointError."""
    folder = path if path.is_dir() else path.parent
    lacking = [name for name in names if not (folder / name).is_file()]
    if lacking:
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:6]) if folder.is_dir() else "no such folder"
        raise CheckpointError(path, " and ".join(names), there or "an empty folder", give)
    return [folder / name for name in names]
