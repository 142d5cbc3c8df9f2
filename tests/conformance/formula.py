"""Weights and inputs as formulas of names and shapes (WEIGHTS.md of the fixtures): the same bits in any language.

U(name, shape) are numbers of the legacy MT19937, seeded by the name's CRC-32; Z(name, shape) has mean 0 and variance 1.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, ...]
Key = tuple[str, Shape, str]
_STRUCTURAL = ("resample_filter", "attn_mask", "kernel")


def uniform(name: str, shape: Iterable[int]) -> np.ndarray:
    """U: float64 in [0, 1), C order."""
    return np.random.RandomState(zlib.crc32(name.encode())).random_sample(tuple(shape))


def centred(name: str, shape: Iterable[int]) -> np.ndarray:
    """Z: float64, mean 0, variance 1."""
    return (2 * uniform(name, shape) - 1) * np.sqrt(3)


def unit(name: str, shape: Iterable[int]) -> Tensor:
    """Picture in [0, 1)."""
    return torch.from_numpy(uniform(f"input:{name}", shape).astype(np.float32))


def sym(name: str, shape: Iterable[int]) -> Tensor:
    """Picture in [-1, 1)."""
    return torch.from_numpy((2 * uniform(f"input:{name}", shape) - 1).astype(np.float32))


def latent(name: str, shape: Iterable[int]) -> Tensor:
    """Latent code: Z."""
    return torch.from_numpy(centred(f"input:{name}", shape).astype(np.float32))


def binary(name: str, shape: Iterable[int], p: float) -> Tensor:
    """Map of 0 and 1."""
    return torch.from_numpy((uniform(f"input:{name}", shape) < p).astype(np.float32))


def rect_mask(shape: Shape, rect: Iterable[int], inside: float = 1.0, outside: float = 0.0) -> Tensor:
    """A map with one value in [row0, row1, col0, col1] (half open) and another around it."""
    row0, row1, col0, col1 = rect
    mask = torch.full(shape, outside)
    mask[..., row0:row1, col0:col1] = inside
    return mask


def keys_of(network: Mapping[str, Any]) -> list[Key]:
    """(key, shape, dtype) of a spec's network, in order."""
    return [(key, tuple(shape), dtype) for key, shape, dtype in network["keys"]]


def state_of(keys: Iterable[Key], rule: Mapping[str, Any], structural: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state_dict of these keys by the rules of a spec's `weights`. Structural buffers are as given, else left out."""
    keys = list(keys)
    shapes = {key: shape for key, shape, _ in keys}
    out: dict[str, Tensor] = {}
    for key, shape, dtype in keys:
        last = key.rsplit(".", 1)[-1]
        if last in ("weight_u", "weight_v"):
            continue
        if last in _STRUCTURAL and key not in rule.get("overrides", {}):
            if structural is not None and key in structural:
                out[key] = structural[key]
            continue
        value = np.asarray(_value(key, last, shape, rule))
        out[key] = torch.from_numpy(value.astype(np.dtype(dtype.removeprefix("torch.")))).reshape(shape)
    for key in shapes:
        if key.endswith(".weight_u"):
            _spectral(key.removesuffix("weight_u"), shapes, rule, out)
    return {key: out[key] for key, _, _ in keys if key in out}


def _value(key: str, last: str, shape: Shape, rule: Mapping[str, Any]) -> np.ndarray:
    z: Callable[[], np.ndarray] = lambda: centred(key, shape)  # noqa: E731
    if key in rule.get("overrides", {}):
        return np.full(shape, rule["overrides"][key])
    if last == "num_batches_tracked":
        return np.zeros(shape)
    if last == "running_mean":
        return 0.1 * z()
    if last == "running_var":
        return 1 + 0.1 * z()
    if key.endswith("affine.bias"):
        return 1 + 0.1 * z()
    if last == "bias" or not shape or last in ("noise_strength", "w_avg", "gamma"):
        return 0.1 * z()
    if last == "alpha":
        return 1 + 0.1 * z() if len(shape) == 4 else 0.1 * z()
    if len(shape) == 1:
        return 1 + 0.1 * z()
    if last not in ("weight", "weight_orig"):
        return 0.5 * z()
    return z() * _scale(key, shape, rule)


def _scale(key: str, shape: Shape, rule: Mapping[str, Any]) -> float:
    if rule["mode"] == "unit":
        return (rule.get("gain") or 1.0) * (100.0 if key.startswith("mapping.") else 1.0)
    gain = next((value for pattern, value in rule.get("gain_rules", ()) if re.search(pattern, key)), rule.get("gain") or 1.0)
    return float(gain / np.sqrt(np.prod(shape[1:])))


def _spectral(base: str, shapes: Mapping[str, Shape], rule: Mapping[str, Any], out: dict[str, Tensor]) -> None:
    """u and v of torch's old spectral norm: one power iteration from u0 = Z(key of u), in float64."""
    shape = shapes[f"{base}weight_orig"]
    weight = centred(f"{base}weight_orig", shape) * _scale(f"{base}weight_orig", shape, rule)
    length = shapes[f"{base}weight_u"][0]
    axis = 0 if length == shape[0] else 1
    matrix = np.moveaxis(weight, axis, 0).reshape(shape[axis], -1)
    u0 = centred(f"{base}weight_u", (length,))
    u0 = u0 / np.linalg.norm(u0)
    v = matrix.T @ u0
    v = v / np.linalg.norm(v)
    u = matrix @ v
    u = u / np.linalg.norm(u)
    out[f"{base}weight_u"] = torch.from_numpy(u.astype(np.float32))
    if f"{base}weight_v" in shapes:
        out[f"{base}weight_v"] = torch.from_numpy(v.astype(np.float32))
