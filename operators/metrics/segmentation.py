"""How well a mask was found: overlap and contour."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from operators import masks
from operators.metrics.pixels import NOTHING, Measure

Where = Bool[np.ndarray, "h w"]


def iou(found: Where, truth: Where) -> Measure:
    """Intersection over union; n = pixels of the union. Two empty masks have nothing to measure."""
    union = int((found | truth).sum())
    return Measure(float((found & truth).sum()) / union, union) if union else NOTHING


def boundary_f(found: Where, truth: Where, tolerance: float = 0.008) -> Measure:
    """F score of the contours: harmonic mean of the shares of each that lie near the other; n = pixels of both contours.

    Near is within `tolerance` of the picture's diagonal, rounded up to whole pixels (0.8 %: DAVIS, Perazzi et al., "A
    benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016). A contour is the mask's pixels
    with one outside among their four neighbours. One empty contour gives 0, two have nothing to measure.
    """
    a, b = masks.boundary(np.stack([found, truth]))
    n = int(a.sum() + b.sum())
    if not n:
        return NOTHING
    if not a.any() or not b.any():
        return Measure(0.0, n)
    near_a, near_b = masks.dilate(np.stack([a, b]), np.ceil(tolerance * np.hypot(*found.shape)))
    precision, recall = (a & near_b).sum() / a.sum(), (b & near_a).sum() / b.sum()
    total = precision + recall
    return Measure(float(2 * precision * recall / total) if total else 0.0, n)
