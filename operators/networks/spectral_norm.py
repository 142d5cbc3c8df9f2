"""Spectral norm of published checkpoints, turned into plain weights when they are read.

Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018. `torch.nn.utils.spectral_norm` (the hook,
not the parametrization) stores `weight_orig`, `weight_u` and `weight_v`; in eval mode the weight is weight_orig / (u . M v), M
being weight_orig with its output axis first, flattened to a matrix. Files from before torch 1.0 have no `weight_v`; they hold the
`weight` that their last step made, and eval mode used that one as it is. torch's own way of loading them solves for v instead.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError

_PARTS = ("_orig", "_u", "_v")
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def transposed_in(network: nn.Module) -> frozenset[str]:
    """Names of the transposed convolutions of a network: their output axis is the second."""
    return frozenset(name for name, module in network.named_modules() if isinstance(module, _TRANSPOSED))


def plain_weights(state: Mapping[str, Tensor], file: Path | str, transposed: Container[str] = frozenset()) -> dict[str, Tensor]:
    """A state_dict with `weight` in the place of every spectrally normalised one; all other entries as they are.

    `transposed` names the modules whose output axis is the second; without it the length of `weight_u` says which axis it is
    (the first where both fit). Errors: CheckpointError when parts are missing or do not fit each other.
    """
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        module, _, last = key.rpartition(".")
        name = last.removesuffix("_orig")
        if name != last:
            stem = f"{module}.{name}" if module else name
            out[stem] = _normalised(stem, module, state, file, transposed)
        elif not _belongs_to_norm(key, state):
            out[key] = value
    return out


def _belongs_to_norm(key: str, state: Mapping[str, Tensor]) -> bool:
    stems = [key, *(key.removesuffix(part) for part in _PARTS if key.endswith(part))]
    return any(f"{stem}_orig" in state for stem in stems)


def _normalised(stem: str, module: str, state: Mapping[str, Tensor], file: Path | str, transposed: Container[str]) -> Tensor:
    weight, u, v = (state.get(stem + part) for part in _PARTS)
    assert weight is not None
    if v is None and stem in state and state[stem].shape == weight.shape:
        return state[stem].float()
    if u is None or v is None:
        raise _error(stem, file, f"{stem}_orig without {stem}{'_u' if u is None else '_v'}")
    axis = 1 if weight.ndim > 1 and (module in transposed or len(u) != len(weight)) else 0
    matrix = weight.to(torch.float64).movedim(axis, 0).flatten(1) if weight.ndim > 1 else weight.to(torch.float64)[:, None]
    if u.shape != matrix.shape[:1] or v.shape != matrix.shape[1:]:
        shapes = f"{tuple(weight.shape)} with u {tuple(u.shape)} and v {tuple(v.shape)}"
        raise _error(stem, file, f"{stem}_orig {shapes}")
    norm = torch.dot(u.to(torch.float64), torch.mv(matrix, v.to(torch.float64)))
    if not bool(torch.isfinite(norm)) or float(norm) == 0.0:
        raise _error(stem, file, f"a norm of {float(norm)} at {stem}_orig")
    return (weight / norm).float()


def _error(stem: str, file: Path | str, found: str) -> CheckpointError:
    expected = f"spectral norm as torch stores it ({stem}_orig, _u, _v; before torch 1.0 {stem}, {stem}_orig, _u)"
    return CheckpointError(file, expected, found, "get the file again, or save it anew with the code that made it")
