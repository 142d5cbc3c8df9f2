"""How far landmarks lie from the true ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from operators.metrics.pixels import NOTHING, Measure

OUTER_EYES = (36, 45)
UPPER = np.r_[17:27, 36:48]
"""Brows and eyes: what a mask leaves to see."""


@dataclass(frozen=True)
class LandmarkErrors:
    """Normalised mean errors; n counts landmarks. `hidden` are those that the truth has inside the hole."""

    all: Measure
    upper: Measure
    hidden: Measure


def landmark_nme(
    points: Float[np.ndarray, "68 2"], truth: Float[np.ndarray, "68 2"], hole: Bool[np.ndarray, "h w"] | None = None
) -> LandmarkErrors:
    """Mean distance of iBUG-68 landmarks to the true ones, as a share of the true distance of the outer eye corners (300-W).

    Both in full-image pixels, centres at +0.5. Landmarks that are not finite on either side count nowhere; a truth without
    outer eye corners, or with both in one place, has nothing to measure.
    """
    a, b = np.asarray(points, np.float64), np.asarray(truth, np.float64)
    unit = float(np.linalg.norm(b[OUTER_EYES[0]] - b[OUTER_EYES[1]]))
    share = np.linalg.norm(a - b, axis=1) / unit if np.isfinite(unit) and unit > 0 else np.full(len(b), np.nan)
    hidden = np.zeros(len(b), bool)
    if hole is not None and hole.size:
        inside = np.isfinite(b).all(1) & (b >= 0).all(1) & (b < hole.shape[::-1]).all(1)
        x, y = b[inside].astype(int).T
        hidden[inside] = hole[y, x]
    return LandmarkErrors(_mean(share), _mean(share[UPPER]), _mean(share[hidden]))


def _mean(values: np.ndarray) -> Measure:
    values = values[np.isfinite(values)]
    return Measure(float(values.mean()), len(values)) if len(values) else NOTHING
