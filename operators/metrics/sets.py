"""Distances between two sets of feature vectors, each with its counts and a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Features = Float[np.ndarray, "images features"]


@dataclass(frozen=True)
class SetMeasure:
    """A distance of two sets: value, 95 % interval, how many vectors on each side, and a warning (empty = none)."""

    value: float
    low: float
    high: float
    n: int
    n_truth: int
    warning: str = ""


def frechet_distance(results: Features, truths: Features, resamples: int = 200, seed: int = 0) -> SetMeasure:
    """Fréchet distance of two Gaussians with the sets' means and covariances (Heusel et al. 2017): FID on Inception features."""
    raise NotImplementedError


def kernel_distance(results: Features, truths: Features, resamples: int = 200, seed: int = 0) -> SetMeasure:
    """Kernel (Inception) distance: unbiased MMD^2 with the cubic polynomial kernel (Binkowski et al. 2018)."""
    raise NotImplementedError


def paired_inception_discriminative_score(results: Features, truths: Features, resamples: int = 200, seed: int = 0) -> SetMeasure:
    """P-IDS (Zhao et al. 2021): share of pairs in which a linear SVM takes the result for the more real one."""
    raise NotImplementedError


def unpaired_inception_discriminative_score(
    results: Features, truths: Features, resamples: int = 200, seed: int = 0
) -> SetMeasure:
    """U-IDS (Zhao et al. 2021): error rate of a linear SVM that tells results from truths; 0.5 = cannot be told apart."""
    raise NotImplementedError
