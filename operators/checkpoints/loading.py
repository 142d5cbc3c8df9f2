"""A state_dict into the network that it is for, or one error that says what does not fit and whose file it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.registry import systems
from operators.checkpoints.system import System

Network = TypeVar("Network", bound=nn.Module)


def fill(network: Network, weights: Mapping[str, Tensor], file: Path | str, what: str, may_lack: Iterable[str] = ()) -> Network:
    """Load a state_dict strictly and put the network in eval mode; keys that match a pattern of `may_lack` may be missing.

    Errors: CheckpointError names what is missing, too many or of another shape, and the system that the file looks like.
    """
    own = network.state_dict()
    lacking = [key for key in own if key not in weights and not any(re.fullmatch(pattern, key) for pattern in may_lack)]
    extra = [key for key in weights if key not in own]
    shapes = [f"{key} is {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}" for key in own
              if key in weights and weights[key].shape != own[key].shape]  # fmt: skip
    if lacking or extra or shapes:
        said = [_some("missing", lacking), _some("unknown", extra), _some("other shapes", shapes)]
        other = recognise(weights)
        is_other = f"; it looks like {other.title}" if other is not None and len(lacking) > len(own) // 2 else ""
        do = f"use kind {other.name}, or give" if is_other and other is not None else "give"
        found = f"{len(weights)} tensors, " + "; ".join(text for text in said if text) + is_other
        raise CheckpointError(file, f"the {len(own)} tensors of {what}", found, f"{do} the official file of {what}")
    network.load_state_dict(dict(weights), strict=False)
    return network.eval().requires_grad_(False)


def _some(word: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    return f"{len(items)} {word} ({', '.join(items[:3])}{', …' if len(items) > 3 else ''})"


def recognise(weights: Iterable[str]) -> System | None:
    """The system whose marks are all among these keys, in whatever file they lie."""
    keys = list(weights)
    for system in systems().values():
        if system.marks and all(any(re.search(mark, key) for key in keys) for mark in system.marks):
            return system
    return None
