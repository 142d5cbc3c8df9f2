"""How much of a face an occluder covers, and reaching a wanted share of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, Float

OPAQUE = 0.5
_EDGE_SLACK = 0.1


def face_region(landmarks468_px: Float[np.ndarray, "points k"], shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Convex hull of landmarks inside the picture of that (height, width), with its outline; empty unless all are finite."""
    canvas = np.zeros(shape, np.uint8)
    if not np.isfinite(landmarks468_px).all():
        return canvas > 0
    # an outline far outside the picture would overflow the fixed-point coordinates
    limit = 8.0 * max(shape)
    points = np.clip(landmarks468_px[:, :2].astype(np.float64), -limit, limit)
    hull = cv2.convexHull(np.round(points * 16 - 8).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, 1, shift=4)
    return canvas > 0


def coverage_of(alpha: Float[np.ndarray, "h w"], landmarks468_px: Float[np.ndarray, "468 k"]) -> float:
    """Share of the face region with opacity of at least a half; NaN when no pixel of the face lies inside the picture."""
    face = face_region(landmarks468_px, (alpha.shape[0], alpha.shape[1]))
    total = int(face.sum())
    return float((alpha[face] >= OPAQUE).sum() / total) if total else math.nan


def check_range(coverage: tuple[float, float] | None) -> None:
    """ValueError unless it is None or 0 <= low <= high <= 1."""
    if coverage is not None and not 0 <= coverage[0] <= coverage[1] <= 1:
        raise ValueError(f"coverage: expected two shares low <= high between 0 and 1, got {coverage}")


def aim(coverage: tuple[float, float], rng: np.random.Generator) -> float:
    """A share to aim for: anywhere in the range but its outer tenths, so that a near miss is still a hit."""
    slack = _EDGE_SLACK * (coverage[1] - coverage[0])
    return float(rng.uniform(coverage[0] + slack, coverage[1] - slack))


def size_for(
    alpha: Callable[[float], Float[np.ndarray, "h w"]],
    landmarks468_px: Float[np.ndarray, "468 k"],
    coverage: tuple[float, float],
    wanted: float,
    sizes: tuple[float, float] = (0.0, 1.0),
    steps: int = 14,
) -> float:
    """The size between `sizes` at which an occluder covers `wanted` of the face, by bisection on its opacity.

    `alpha(size)` must cover more at larger sizes, at least roughly. `wanted` lies within the range `coverage`; the search
    ends once near it and inside the range. When no size gets there, the nearest one tried is returned: callers measure.
    """
    slack = _EDGE_SLACK * (coverage[1] - coverage[0])
    tried: list[tuple[float, float]] = []

    def covered(size: float) -> float:
        got = coverage_of(alpha(size), landmarks468_px)
        outside = max(coverage[0] - got, got - coverage[1], 0.0)
        tried.append((math.inf if math.isnan(got) else abs(got - wanted) + 10 * outside, size))
        return got

    low, high = sizes
    if covered(low) < wanted < covered(high):
        for _ in range(steps):
            size = 0.5 * (low + high)
            got = covered(size)
            if abs(got - wanted) <= slack and coverage[0] <= got <= coverage[1]:
                return size
            low, high = (size, high) if got < wanted else (low, size)
    return min(tried)[1]
