"""A fixture folder: what the official code gave on formula weights, and the comparison with what ours gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tests.conformance.formula import keys_of, state_of

FIXTURES = Path(__file__).with_name("fixtures")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Comparison:
    """One output against the official one. `relative` is the L2 norm of the difference over that of the official output."""

    name: str
    shape: tuple[int, ...]
    max_abs: float
    relative: float
    limit: float
    note: str = ""
    missing: str = ""
    """What this machine or folder lacks to compute the output; it is not compared then."""

    @property
    def passed(self) -> bool:
        """Within the limit, and everywhere a number."""
        return bool(np.isfinite(self.relative)) and self.relative <= self.limit


class Fixture:
    """One folder: spec.json and expected.npz."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.spec: dict[str, Any] = json.loads((folder / "spec.json").read_text(encoding="utf-8"))

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """Everything that expected.npz holds: inputs that are stored, outputs, `NAME__stats`."""
        with np.load(self.folder / "expected.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def state(self, network: str, structural: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The official state_dict of one network of the spec; structural buffers only where they are given."""
        described = self.spec["networks"][network]
        return state_of(keys_of(described), described["weights"], structural)

    def compare(
        self, name: str, ours: np.ndarray, limit: float = TOLERANCE, levels: int = 1, stray: float = 0.0
    ) -> Iterator[Comparison]:
        """Ours against `expected[name]`, a strided part of it where less is stored, and against its `__stats` where there are.

        8-bit pictures may differ by `levels` in single pixels: float noise decides which way a value falls. A share `stray` of
        them may differ by more.
        """
        if name in self.expected:
            official = self.expected[name]
            yield compared(name, strided_like(ours, official.shape), official, limit, levels, stray)
        stats = self.expected.get(f"{name}__stats")
        if stats is not None:
            full = np.asarray(ours, np.float64)
            own = np.array([full.mean(), full.std(), np.linalg.norm(full), full.min(), full.max()])
            # mean, std, min and max against the size of the values, L2 against itself
            size = np.array([stats[2] / max(full.size, 1) ** 0.5] * 2 + [stats[2]] + [max(abs(stats[3]), abs(stats[4]))] * 2)
            worst = float((np.abs(own - stats) / np.maximum(size, 1e-12)).max())
            yield Comparison(f"{name}__stats", full.shape, float(np.abs(own - stats).max()), worst, limit)


def compared(
    name: str, ours: np.ndarray, official: np.ndarray, limit: float = TOLERANCE, levels: int = 1, stray: float = 0.0
) -> Comparison:
    """One array against another of the same shape."""
    if ours.shape != official.shape:
        return Comparison(name, ours.shape, float("nan"), float("nan"), limit, f"the official one is {official.shape}")
    a, b = np.asarray(ours, np.float64), np.asarray(official, np.float64)
    difference = np.abs(a - b)
    largest = float(difference.max(initial=0.0))
    relative = float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-12))
    if official.dtype == np.uint8:
        off, fine = float((difference > 0).mean()), float((difference > levels).mean()) <= stray
        return Comparison(
            name, ours.shape, largest, 0.0 if fine else max(relative, 2 * limit), limit, f"{off:.2%} of values differ"
        )
    return Comparison(name, ours.shape, largest, relative, limit)


def strided_like(full: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Every k-th value along the axes that are longer than in this shape, with the smallest k that gives it; else `full`."""
    longer = [axis for axis, (have, want) in enumerate(zip(full.shape, shape, strict=False)) if have != want]
    if full.ndim != len(shape) or not longer:
        return full
    for step in range(2, max(full.shape) + 1):
        if all(-(-full.shape[axis] // step) == shape[axis] for axis in longer):
            return full[tuple(slice(None, None, step if axis in longer else 1) for axis in range(full.ndim))]
    return full
