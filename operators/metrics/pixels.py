"""Numbers that compare two pictures pixel by pixel, by our convention or a paper's; each says over how many pixels it was taken.

A value of a region (the hole, its rim) is taken over that region's pixels only; the structural similarity of a pixel still
sees the window around it, whatever region that lies in. n counts pixels, not channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from operators import masks
from operators.metrics.conventions import CONVENTIONS, OURS, Convention, ssim_map

Image = UInt8[np.ndarray, "h w 3"]
Where = Bool[np.ndarray, "h w"]
PEAK_MSE = 255.0**2


@dataclass(frozen=True)
class Measure:
    """A value and the count it rests on; `value` is NaN when there was nothing to measure."""

    value: float
    n: int


NOTHING = Measure(float("nan"), 0)


def psnr_db(image: Image, truth: Image, where: Where | None = None, convention: str = OURS) -> Measure:
    """Peak signal-to-noise ratio in dB over the pixels `where` (all when None): 10 log10(range^2 / mean squared error).

    The mean runs over pixels and channels together; n counts pixels. Identical pixels give infinity; `mean_psnr_db` says
    what becomes of that in a mean. Errors: ValueError when the shapes differ.
    """
    return _psnr(*_prepared(image, truth, convention), where, CONVENTIONS[convention].data_range)


def ssim(image: Image, truth: Image, where: Where | None = None, convention: str = OURS) -> Measure:
    """Structural similarity (Wang et al. 2004): the map averaged over channels and the pixels `where` that have a value.

    Conventions that leave out the border of the picture have no value there; pictures smaller than the window have none.
    """
    return _average(ssim_map(*_prepared(image, truth, convention), CONVENTIONS[convention]), where)


def l1(image: Image, truth: Image, where: Where | None = None, convention: str = OURS) -> Measure:
    """Mean absolute difference as a share of the range; EdgeConnect's is sum |a - b| / sum (a + b)."""
    return _l1(*_prepared(image, truth, convention), where, CONVENTIONS[convention])


@dataclass(frozen=True)
class PixelMeasures:
    """What `compare` takes of one region."""

    psnr_db: Measure
    ssim: Measure
    l1: Measure


def compare(image: Image, truth: Image, regions: dict[str, Where | None], convention: str = OURS) -> dict[str, PixelMeasures]:
    """All three measures of every region (None = the whole picture); the similarity map is made once."""
    rules = CONVENTIONS[convention]
    a, b = _prepared(image, truth, convention)
    similarity = ssim_map(a, b, rules)
    return {
        name: PixelMeasures(_psnr(a, b, where, rules.data_range), _average(similarity, where), _l1(a, b, where, rules))
        for name, where in regions.items()
    }


def rim_of(hole: Where, rim_px: float = 16.0) -> Where:
    """Pixels outside the hole whose centre is at most `rim_px` (Euclidean) from the centre of one inside."""
    return masks.dilate(hole[None], rim_px)[0] & ~hole


def resized(image: Image, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The picture at size x size, whatever its shape: area average where it shrinks, bilinear where it grows."""
    if image.shape[:2] == (size, size):
        return image
    shrinks = min(image.shape[:2]) >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resized_mask(mask: Where, size: int) -> Bool[np.ndarray, "size size"]:
    """The mask at size x size by nearest neighbour, which keeps its share of the picture where half-covered pixels would not."""
    return cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0


@dataclass(frozen=True)
class MeanPsnr:
    """Mean over pictures. `mean_db` leaves out the `identical` ones, whose value is infinite; `pooled_db` has all `n`."""

    mean_db: float
    pooled_db: float
    n: int
    identical: int


def mean_psnr_db(values_db: Sequence[float] | np.ndarray) -> MeanPsnr:
    """PSNR over several pictures, two ways; NaN (nothing to measure) does not count.

    `mean_db` is the mean of the pictures' own values, as papers give it, over the pictures that are not identical to their
    truth: an infinite value would make the mean infinite, and any cap would be an arbitrary number. `pooled_db` is the PSNR
    of the mean of the pictures' squared errors, in which an identical picture is an error of 0.
    """
    values = np.asarray(values_db, np.float64)
    values = values[~np.isnan(values)]
    finite = values[np.isfinite(values)]
    if not len(values):
        return MeanPsnr(float("nan"), float("nan"), 0, 0)
    error = float(np.mean(10.0 ** (-values / 10)))
    pooled = float("inf") if error == 0 else float(-10 * np.log10(error))
    return MeanPsnr(float(finite.mean()) if len(finite) else float("inf"), pooled, len(values), len(values) - len(finite))


def _prepared(image: np.ndarray, truth: np.ndarray, convention: str) -> tuple[np.ndarray, np.ndarray]:
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown convention {convention!r}: expected one of {', '.join(CONVENTIONS)}")
    if image.shape != truth.shape:
        raise ValueError(f"expected two images of one shape, got {image.shape} and {truth.shape}")
    rules: Convention = CONVENTIONS[convention]
    return rules.prepare(image), rules.prepare(truth)


def _chosen(values: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    return values.reshape(-1, values.shape[-1]) if where is None else values[where]


def _psnr(a: Float[np.ndarray, "h w c"], b: Float[np.ndarray, "h w c"], where: np.ndarray | None, peak: float) -> Measure:
    difference = _chosen(a - b, where)
    if not len(difference):
        return NOTHING
    error = float(np.mean(difference**2))
    return Measure(float("inf") if error == 0 else float(10 * np.log10(peak**2 / error)), len(difference))


def _l1(a: np.ndarray, b: np.ndarray, where: np.ndarray | None, rules: Convention) -> Measure:
    difference = _chosen(np.abs(a - b), where)
    if not len(difference):
        return NOTHING
    if rules.relative_l1:
        total = float(_chosen(a + b, where).sum())
        return Measure(float(difference.sum()) / total if total else 0.0, len(difference))
    return Measure(float(difference.mean()) / rules.data_range, len(difference))


def _average(similarity: Float[np.ndarray, "h w"], where: np.ndarray | None) -> Measure:
    values = similarity.ravel() if where is None else similarity[where]
    values = values[~np.isnan(values)]
    return Measure(float(values.mean()), len(values)) if len(values) else NOTHING
