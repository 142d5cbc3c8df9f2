"""Means over pictures with their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    """Mean of n values and its 95 % interval; NaN when there is none (n = 0), no interval (NaN) for n = 1."""

    value: float
    low: float
    high: float
    n: int


def mean_of(values: Sequence[float] | np.ndarray, resamples: int = 2000, seed: int = 0) -> Mean:
    """Mean of the finite values, with the percentile interval of its bootstrap (Efron 1979).

    Paired differences of two runs are `mean_of(a - b)`. The same values and seed give the same interval.
    """
    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x)]
    if not len(x):
        return Mean(float("nan"), float("nan"), float("nan"), 0)
    if len(x) == 1:
        return Mean(float(x[0]), float("nan"), float("nan"), 1)
    rng = np.random.default_rng(seed)
    # A few resamples at a time: the index table stays small however many pictures there are.
    means = np.concatenate([x[rng.integers(0, len(x), (50, len(x)))].mean(1) for _ in range(-(-resamples // 50))])[:resamples]
    low, high = np.percentile(means, (2.5, 97.5))
    return Mean(float(x.mean()), float(low), float(high), len(x))
