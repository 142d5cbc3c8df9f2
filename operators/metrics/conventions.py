"""How each source paper's evaluation code turns two uint8 pictures into PSNR, SSIM and L1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

ConventionName = Literal["ours", "skimage", "edgeconnect", "lama", "mat", "tfill", "facefill3d"]
OURS = "ours"
_STRIP_PIXELS = 1 << 18
_LUMA_709 = np.array([0.2125, 0.7154, 0.0721])
_LUMA_601 = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Convention:
    """Choices that make the same two pictures give different numbers.

    `window` is the side of the similarity's window; gaussian (sigma 1.5) or uniform. `border` says what lies outside the
    picture: its mirror image, zeros, or nothing: then pixels whose window leaves the picture have no value.
    `sample_covariance` divides by the window's pixels - 1. `grey_similarity` takes the similarity of whole grey levels (ITU-R
    601) whatever PSNR and L1 are taken of. `relative_l1` divides by the sum of both pictures.
    """

    colour: Literal["rgb", "grey709", "rgb_minmax"] = "rgb"
    data_range: float = 255.0
    window: int = 11
    gaussian: bool = True
    border: Literal["mirror", "zero", "nothing"] = "mirror"
    grey_similarity: bool = False
    sample_covariance: bool = False
    relative_l1: bool = False

    def prepare(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w c"]:
        """The values that are compared, float64."""
        values = image.astype(np.float64)
        if self.colour == "rgb":
            return values * (self.data_range / 255)
        if self.colour == "rgb_minmax":
            spread = np.ptp(values)
            return (values - values.min()) / (spread if spread else 1.0) * self.data_range
        return (values / 255 @ _LUMA_709)[..., None] * self.data_range


CONVENTIONS: dict[str, Convention] = {
    # Wang et al. 2004: Gaussian of 11 pixels and sigma 1.5, population covariance; colour channels averaged.
    "ours": Convention(),
    # scikit-image's defaults: PSNR of RGB; SSIM of grey levels with a uniform window of 7 and the sample covariance. With
    # `resize` 256 and `composite` it gives the figures known for TFill on the Triple-Dots project's pictures.
    "skimage": Convention(window=7, gaussian=False, sample_covariance=True, grey_similarity=True),
    # knazeri/edge-connect scripts/metrics.py.
    "edgeconnect": Convention(
        "grey709", 1.0, window=51, gaussian=False, border="nothing", sample_covariance=True, relative_l1=True
    ),
    # advimman/lama saicinpainting/evaluation: SSIM as a convolution with zero padding.
    "lama": Convention(data_range=1.0, border="zero"),
    # fenglinglwb/MAT evaluatoin/cal_psnr_ssim_l1.py: 'valid' convolution.
    "mat": Convention(border="nothing"),
    # lyndonzheng/TFill evaluations/evaluation.py, which resizes both pictures to 256 first: `resize` is the caller's.
    "tfill": Convention(data_range=1.0, window=11, gaussian=False, border="nothing", sample_covariance=True),
    # human-analysis/3dfacefill evaluate/reconstruction.py stretches results and truths each to 0-255 by the extremes of their
    # batch. This is no real PSNR: an offset or a loss of contrast costs nothing. The batch is one picture here, since no
    # picture's value may depend on its company.
    "facefill3d": Convention(colour="rgb_minmax", border="nothing"),
}


def ssim_map(a: Float[np.ndarray, "h w c"], b: Float[np.ndarray, "h w c"], rules: Convention) -> Float[np.ndarray, "h w"]:
    """Structural similarity of every pixel, averaged over channels; NaN where the convention has no value.

    Large pictures are done in strips that overlap by the window: the same numbers in far less memory.
    """
    height, width = a.shape[:2]
    if min(height, width) < rules.window:
        return np.full((height, width), np.nan)
    if rules.grey_similarity:
        a, b = (np.round(x @ _LUMA_601)[..., None] for x in (a, b))
    reach = rules.window // 2
    if rules.border == "zero":
        a, b = (np.pad(x, ((reach, reach), (reach, reach), (0, 0))) for x in (a, b))
    out = np.empty(a.shape[:2])
    rows = max(_STRIP_PIXELS // a.shape[1], rules.window)
    for top in range(0, len(a), rows):
        bottom = min(top + rows, len(a))
        end = min(bottom + reach, len(a))
        start = max(min(top - reach, end - rules.window), 0)
        out[top:bottom] = _similarity(a[start:end], b[start:end], rules)[top - start : bottom - start]
    if rules.border == "zero":
        return out[reach:-reach, reach:-reach]
    if rules.border == "nothing":
        edge = np.ones(out.shape, bool)
        edge[reach : height - reach, reach : width - reach] = False
        out[edge] = np.nan
    return out


def _similarity(a: np.ndarray, b: np.ndarray, rules: Convention) -> np.ndarray:
    # Half a second to import, which only those who measure should pay.
    from skimage.metrics import structural_similarity

    # A Gaussian's window follows from its sigma: 3.5 sigma to each side, 11 pixels.
    values = structural_similarity(
        a,
        b,
        win_size=None if rules.gaussian else rules.window,
        gaussian_weights=rules.gaussian,
        sigma=1.5,
        data_range=rules.data_range,
        channel_axis=2,
        use_sample_covariance=rules.sample_covariance,
        full=True,
    )[1]
    return np.asarray(values).mean(2)
