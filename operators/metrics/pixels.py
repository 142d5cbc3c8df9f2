"""Numbers that compare two pictures pixel by pixel; every one says over how many pixels it was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8


@dataclass(frozen=True)
class Measure:
    """A value and the count it rests on; `value` is NaN when there was nothing to measure."""

    value: float
    n: int


def psnr_db(
    image: UInt8[np.ndarray, "h w 3"], truth: UInt8[np.ndarray, "h w 3"], where: Bool[np.ndarray, "h w"] | None = None
) -> Measure:
    """Peak signal-to-noise ratio in dB over the pixels `where` (all when None): 10 log10(255^2 / mean squared error).

    The mean runs over pixels and channels together; n counts pixels. Identical pixels give infinity.
    """
    if image.shape != truth.shape:
        raise ValueError(f"expected two images of one shape, got {image.shape} and {truth.shape}")
    difference = image.astype(np.float64) - truth.astype(np.float64)
    if where is not None:
        difference = difference[where]
    n = difference.size // 3
    if not n:
        return Measure(float("nan"), 0)
    error = float(np.mean(difference**2))
    return Measure(float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error)), n)
