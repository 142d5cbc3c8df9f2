"""Numba's threads follow torch's: one setting says how many cores a process uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


@contextmanager
def as_torch() -> Iterator[None]:
    """Inside, numba's parallel loops use as many threads as torch does."""
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(before, torch.get_num_threads())))
    try:
        yield
    finally:
        numba.set_num_threads(before)
