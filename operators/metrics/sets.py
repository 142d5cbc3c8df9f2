"""Distances between two sets of feature vectors, each with its counts and a bootstrap 95 % interval.

The interval says how much the number would change with other pictures of the same kind. The pictures are resampled with
replacement, `resamples` times from `seed`; `paired` says that row i of both sets shows the same scene, and then pairs are
drawn. Features are float64 inside. All sets need at least two vectors of finite numbers; with fewer, value and interval
are NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh, svdvals

Results = Float[np.ndarray, "results features"]
Truths = Float[np.ndarray, "truths features"]
FEW = 2048
"""Fewer pictures than pool3 has features: their covariance is singular, and FID is far above its limit (Chong & Forsyth
2020); papers use 2,048 and more."""


@dataclass(frozen=True)
class SetMeasure:
    """A distance of two sets: value, 95 % interval, vectors on each side, resamples of the interval, warning (or empty)."""

    value: float
    low: float
    high: float
    n: int
    n_truth: int
    resamples: int
    warning: str = ""


def frechet_distance(
    results: Results, truths: Truths, *, paired: bool = False, resamples: int | None = None, seed: int = 0
) -> SetMeasure:
    """Fréchet distance of the two sets' Gaussians (Dowson & Landau 1982): FID on Inception features (Heusel et al. 2017).

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), covariances with n - 1. tr (S1 S2)^(1/2) is the nuclear norm of the
    centred cross Gram matrix (n1 x n2), which is what is decomposed while a set has fewer vectors than features; else of
    S1^(1/2) S2^(1/2). Both are exact, also where the covariances are singular.
    A resample has fewer different pictures and so a larger distance; the interval is the resamples' spread about their
    mean, put around the value. What small sets add to the value itself (see `warning`) stays in it.
    `resamples` is 200, with more than 600 vectors 50, with more than 2,048 10, unless given.
    """
    x, y = _checked(results, truths, paired)
    count = resamples if resamples is not None else _affordable(min(max(len(x), len(y)), x.shape[1]))
    few = min(len(x), len(y)) < FEW
    warning = f"FID of {min(len(x), len(y))} pictures is biased upwards: take {FEW} or more, or KID" if few else ""
    if not _enough(x, y):
        return _nothing(x, y, warning)
    # Moving both sets changes nothing but keeps the Gram matrix small, and with it the rounding.
    middle = y.mean(0)
    x, y = x - middle, y - middle
    both = np.concatenate((x, y))
    gram = both @ both.T if min(len(x), len(y)) <= x.shape[1] else None
    n = len(x)

    def distance(wx: np.ndarray, wy: np.ndarray) -> float:
        return _by_covariance(x, y, wx, wy) if gram is None else _by_gram(gram[:n, :n], gram[n:, n:], gram[:n, n:], wx, wy)

    value = distance(np.ones(len(x)), np.ones(len(y)))
    drawn = np.array([distance(wx, wy) for wx, wy in _draws(x, y, paired, count, seed)])
    low, high = np.percentile(drawn - drawn.mean(), (2.5, 97.5)) + value if count else (np.nan, np.nan)
    return SetMeasure(value, max(float(low), 0.0) if count else low, float(high), len(x), len(y), count, warning)


def kernel_distance(results: Results, truths: Truths, *, paired: bool = False, resamples: int = 200, seed: int = 0) -> SetMeasure:
    """Kernel distance: KID on Inception features (Binkowski et al. 2018), unbiased MMD^2 with k(a, b) = (a.b / d + 1)^3.

    Taken over all vectors at once. The literature's mean over random subsets of 1,000 estimates the same number with more
    noise. It may be below 0. No vector is compared with itself, in the sets or in their resamples; in `paired` sets neither
    is a result with its own truth (Gretton et al. 2012, eq. 4), since what pairs have in common would pull the number down
    by about 1 / n. Libraries do not know pairs: compare with theirs unpaired.
    """
    x, y = _checked(results, truths, paired)
    if not _enough(x, y):
        return _nothing(x, y, "")
    kernels = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    for kernel in kernels if paired else kernels[:2]:
        np.fill_diagonal(kernel, 0)
    kxx, kyy, kxy = kernels

    def distance(wx: np.ndarray, wy: np.ndarray) -> float:
        within_x, within_y = (float(w @ k @ w / (w.sum() ** 2 - w @ w)) for w, k in ((wx, kxx), (wy, kyy)))
        across = wx.sum() * wy.sum() - (wx @ wy if paired else 0)
        return within_x + within_y - 2 * float(wx @ kxy @ wy / across)

    return _measured(distance, x, y, paired, resamples, seed, "")


def discriminative_scores(
    results: Results, truths: Truths, *, resamples: int = 1000, seed: int = 0
) -> tuple[SetMeasure, SetMeasure]:
    """P-IDS and U-IDS (Zhao et al. 2021, as in MAT's code); row i of both sets belongs together.

    P-IDS is the share of pairs in which a linear classifier takes the result for the real picture, U-IDS the share of all
    pictures that it gets wrong (0.5 = it cannot tell). The classifier is scikit-learn's LinearSVC(dual=False), trained on
    the very sets it is asked about; the intervals are over pictures, for that classifier.
    """
    x, y = _checked(results, truths, True)
    if not _enough(x, y):
        return _nothing(x, y, ""), _nothing(x, y, "")
    fake, real, warning = _decisions(x, y)

    def fooled(w: np.ndarray, _: np.ndarray) -> float:
        return float(((fake > real) * w).sum() / w.sum())

    def wrong(w: np.ndarray, _: np.ndarray) -> float:
        return float((((fake > 0) * w).sum() + ((real <= 0) * w).sum()) / (2 * w.sum()))

    p_ids, u_ids = (_measured(score, x, y, True, resamples, seed, warning) for score in (fooled, wrong))
    return p_ids, u_ids


def _decisions(x: Results, y: Truths) -> tuple[np.ndarray, np.ndarray, str]:
    """The classifier's value of every result and truth (> 0 = real), and what is to be said about it."""
    # A second to import, which only those who measure should pay.
    from sklearn.svm import LinearSVC

    warning = ""
    if len(x) + len(y) <= x.shape[1] + 1:
        warning = f"{len(x)} and {len(y)} pictures: a linear classifier of {x.shape[1]} features separates any sets that small"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        machine = LinearSVC(dual=False).fit(np.concatenate((x, y)), np.r_[np.zeros(len(x)), np.ones(len(y))])  # pyright: ignore[reportArgumentType]
    if caught:
        warning = "; ".join(filter(None, (warning, "the classifier's training did not converge")))
    return machine.decision_function(x), machine.decision_function(y), warning


def _by_gram(gxx: np.ndarray, gyy: np.ndarray, gxy: np.ndarray, wx: np.ndarray, wy: np.ndarray) -> float:
    """Fréchet distance from Gram matrices of both sets, the vectors weighted by whole numbers."""
    i, j = wx > 0, wy > 0
    px, py = wx[i] / wx.sum(), wy[j] / wy.sum()
    xx, yy, xy = gxx[np.ix_(i, i)], gyy[np.ix_(j, j)], gxy[np.ix_(i, j)]
    mean_xx, mean_yy, mean_xy = px @ xx @ px, py @ yy @ py, px @ xy @ py
    cx, cy = wx.sum() / (wx.sum() - 1), wy.sum() / (wy.sum() - 1)
    trace = (px @ np.diag(xx) - mean_xx) * cx + (py @ np.diag(yy) - mean_yy) * cy
    cross = xy - (px @ xy) - (xy @ py)[:, None] + mean_xy
    cross *= np.sqrt(px * cx)[:, None] * np.sqrt(py * cy)
    return float(mean_xx + mean_yy - 2 * mean_xy + trace - 2 * np.sum(svdvals(cross, check_finite=False)))


def _by_covariance(x: Results, y: Truths, wx: np.ndarray, wy: np.ndarray) -> float:
    """Fréchet distance from covariances, the vectors weighted by whole numbers."""
    means, roots, traces = [], [], []
    for vectors, w in ((x, wx), (y, wy)):
        mean = w @ vectors / w.sum()
        centred = (vectors - mean) * np.sqrt(w / (w.sum() - 1))[:, None]
        values, axes = eigh(centred.T @ centred, check_finite=False)
        means.append(mean)
        roots.append(axes * np.sqrt(np.maximum(values, 0)))
        traces.append(values.sum())
    shared = np.sum(svdvals(roots[0].T @ roots[1], check_finite=False))
    return float(((means[0] - means[1]) ** 2).sum() + traces[0] + traces[1] - 2 * shared)


def _affordable(size: int) -> int:
    return 200 if size <= 600 else 50 if size < FEW else 10


def _checked(results: np.ndarray, truths: np.ndarray, paired: bool) -> tuple[Results, Truths]:
    x, y = np.asarray(results, np.float64), np.asarray(truths, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"expected two sets of vectors of one length, got {x.shape} and {y.shape}")
    if paired and len(x) != len(y):
        raise ValueError(f"expected as many results as truths, got {len(x)} and {len(y)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a vector has numbers that are not finite: leave out pictures that have no features")
    return x, y


def _enough(x: np.ndarray, y: np.ndarray) -> bool:
    return min(len(x), len(y)) >= 2


def _nothing(x: np.ndarray, y: np.ndarray, warning: str) -> SetMeasure:
    nan = float("nan")
    return SetMeasure(nan, nan, nan, len(x), len(y), 0, warning)


def _draws(x: np.ndarray, y: np.ndarray, paired: bool, count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often each vector was drawn, `count` times over; a draw of one vector only is drawn anew."""
    rng = np.random.default_rng(seed)

    def draw(n: int) -> np.ndarray:
        while True:
            times = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
            if (times > 0).sum() > 1:
                return times

    for _ in range(count):
        wx = draw(len(x))
        yield wx, wx if paired else draw(len(y))


def _measured(
    distance: Callable[[np.ndarray, np.ndarray], float],
    x: np.ndarray, y: np.ndarray, paired: bool, resamples: int, seed: int, warning: str,
) -> SetMeasure:  # fmt: skip
    """The distance and the percentile interval of its resamples."""
    value = distance(np.ones(len(x)), np.ones(len(y)))
    drawn = [distance(wx, wy) for wx, wy in _draws(x, y, paired, resamples, seed)]
    low, high = np.percentile(drawn, (2.5, 97.5)) if drawn else (np.nan, np.nan)
    return SetMeasure(value, float(low), float(high), len(x), len(y), resamples, warning)
