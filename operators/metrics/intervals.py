"""How sure a mean is: bootstrap intervals, by person where people are known, and paired differences.

The percentile bootstrap (Efron 1979) resamples whole clusters (people) with replacement, because photos of one person are
not independent. Resamples depend only on the number of clusters and the seed, so that every column is resampled alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

RESAMPLES, LEVEL = 10_000, 0.95
_CHUNK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval. `n` values of `clusters` people.

    `low` and `high` are NaN for fewer than two clusters: one person says nothing of how people differ.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Difference:
    """Second minus first, pair by pair; `better` is the share of pairs in which the second is better, ties counted half."""

    mean: Interval
    better: float
    ties: int


def bootstrap_means(
    values: Num[np.ndarray, "rows columns"], clusters: Sequence[str] | Num[np.ndarray, " rows"] | None = None, *,
    resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0,
) -> list[Interval]:  # fmt: skip
    """Mean and interval of each column over its finite values, all columns under the same resamples.

    `clusters` says whom a row shows; rows that say the same are drawn together; None = each row for itself. Percentiles of
    the resampled ratio of sums, so people with more photos weigh more, as they do in the mean.
    Errors: ValueError for a level outside (0, 1), or as many clusters as rows are not given.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    labels = _labels(clusters, len(values))
    there = np.isfinite(values)
    count = int(labels.max()) + 1 if len(labels) else 0
    sums, counts = (np.zeros((count, values.shape[1])) for _ in range(2))
    centre = _means(values, there)
    np.add.at(sums, labels, np.where(there, values - centre, 0.0))  # around the mean: a constant stays exactly one
    np.add.at(counts, labels, there)
    people = (counts > 0).sum(0)
    drawn = np.full((resamples, values.shape[1]), np.nan)
    start = 0
    for weights in _resamples(count, resamples, seed) if count > 1 else ():
        n = weights @ counts
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn[start : start + len(weights)] = np.where(n > 0, (weights @ sums) / n, np.nan)
        start += len(weights)
    tail = 100 * (1 - level) / 2
    out = []
    for j in range(values.shape[1]):
        low = high = math.nan
        if people[j] > 1:
            low, high = (float(x) for x in np.nanpercentile(drawn[:, j], (tail, 100 - tail)) + centre[j])
        out.append(Interval(float(centre[j]), low, high, int(there[:, j].sum()), int(people[j])))
    return out


def bootstrap_mean(
    values: Num[np.ndarray, " rows"], clusters: Sequence[str] | Num[np.ndarray, " rows"] | None = None, *,
    resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0,
) -> Interval:  # fmt: skip
    """`bootstrap_means` of one column."""
    return bootstrap_means(values[:, None], clusters, resamples=resamples, level=level, seed=seed)[0]


def paired_difference(
    first: Num[np.ndarray, " rows"], second: Num[np.ndarray, " rows"],
    clusters: Sequence[str] | Num[np.ndarray, " rows"] | None = None, *, higher_is_better: bool = True,
    resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0,
) -> Difference:  # fmt: skip
    """Mean of second - first over the pairs in which both are known, and how often the second is better.

    Two infinities of one sign are a tie and a difference of 0 (two pictures identical to the truth); a pair with one infinity
    counts for `better`, its difference does not count for the mean.
    """
    with np.errstate(invalid="ignore"):
        difference = np.where(first == second, 0.0, second.astype(np.float64) - first)
    known = ~(np.isnan(first) | np.isnan(second))
    sign = np.sign(difference[known]) * (1 if higher_is_better else -1)
    better = float((sign > 0).mean() + 0.5 * (sign == 0).mean()) if len(sign) else math.nan
    mean = bootstrap_mean(
        np.where(np.isfinite(difference), difference, np.nan), clusters, resamples=resamples, level=level, seed=seed
    )
    return Difference(mean, better, int((sign == 0).sum()))


def _labels(clusters: Sequence[str] | np.ndarray | None, rows: int) -> Int[np.ndarray, " rows"]:
    if clusters is None:
        return np.arange(rows)
    if len(clusters) != rows:
        raise ValueError(f"expected the cluster of each of {rows} rows, got {len(clusters)}")
    return np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)


def _means(values: np.ndarray, there: np.ndarray) -> Float[np.ndarray, " columns"]:
    n = there.sum(0)
    first = np.where(there.any(0), values[there.argmax(0), np.arange(values.shape[1])], 0.0) if len(values) else 0.0
    total = np.where(there, values - first, 0.0).sum(0)
    return np.where(n > 0, first + total / np.maximum(n, 1), np.nan)


def _resamples(count: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "some clusters"]]:
    """How often each cluster is drawn in each resample, a few resamples at a time."""
    random = np.random.default_rng(seed)
    size = max(1, _CHUNK_NUMBERS // count)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = random.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        yield np.bincount(drawn.reshape(-1), minlength=rows * count).reshape(rows, count).astype(np.float64)
