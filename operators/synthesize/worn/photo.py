"""How sharp and how grainy a photo is around a face, and paint made to match."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

_FINE, _COARSE = 0.6, 1.8
_SOBEL = 0.4
"""Variance that the derivative itself adds, px^2."""
_NO_EDGE, _TYPICAL = 0.5, 0.6
_COLOURFUL = 6.0


def sharpness_px(grey: Float[np.ndarray, "h w"]) -> float:
    """Standard deviation of the blur that the strongest edges show, px, between 0.35 and 3; 0.6 where there are none.

    An edge of blur s, blurred by t, has a slope proportional to 1 / sqrt(s^2 + t^2): two blurs give s (Zhuo and Sim 2011).
    """
    slopes = []
    for sigma in (_FINE, _COARSE):
        soft = cv2.GaussianBlur(grey, (0, 0), sigma)
        slope = np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125))
        slopes.append(slope.ravel())
    count = max(len(slopes[0]) // 100, 1)
    strongest = np.argpartition(slopes[0], -count)[-count:]
    if float(np.median(slopes[0][strongest])) < _NO_EDGE:
        return _TYPICAL
    ratio = float(np.median(slopes[0][strongest] / np.maximum(slopes[1][strongest], 1e-6)))
    if ratio <= 1.02:
        return 3.0
    square = (_COARSE**2 - ratio**2 * _FINE**2) / (ratio**2 - 1) - _SOBEL
    return float(np.clip(np.sqrt(max(square, 0.0)), 0.35, 3.0))


def face_sharpness_px(image: UInt8[np.ndarray, "h w 3"], landmarks_px: Float[np.ndarray, "468 2"]) -> float:
    """The same for the part of a photo that shows a face, eyes and brows included."""
    height, width = image.shape[:2]
    low, high = np.nanmin(landmarks_px, 0), np.nanmax(landmarks_px, 0)
    x0, y0 = (int(value) for value in np.clip(low, 0, (width - 1, height - 1)))
    x1, y1 = (int(value) for value in np.clip(np.ceil(high), 1, (width, height)))
    part = image[y0:y1, x0:x1] if min(x1 - x0, y1 - y0) >= 8 else image
    return sharpness_px(cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY).astype(np.float32))


def colourfulness(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """0 for a black-and-white photo, 1 for an ordinary one."""
    few = image[::4, ::4].reshape(-1, 3).astype(np.float32)
    return min(float((few.max(1) - few.min(1)).mean()) / _COLOURFUL, 1.0)


def grain_std(image: UInt8[np.ndarray, "h w 3"], within: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """Spread of a photo's grain inside a mask in grey levels: at single pixels, and at twice their size; flat parts only."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spreads, current = [], grey
    for sigma in (0.7, 1.21):
        smooth = cv2.GaussianBlur(current, (0, 0), sigma)
        values = np.abs(current - smooth)[within]
        rank = int(0.3 * len(values))
        # The 0.3 quantile of a normal distribution's absolute values is 0.3853 standard deviations: features lie above it.
        spreads.append(float(np.partition(values, rank)[rank]) / 0.3853 if len(values) > 64 else 0.0)
        current = smooth
    return spreads[0], spreads[1]


def grain(shape: tuple[int, int], spreads: tuple[float, float], seed: int) -> Float[np.ndarray, "h w 1"]:
    """Noise with those spreads in the same two bands, grey levels."""
    noise = np.random.default_rng([seed, 3]).standard_normal(shape, np.float32)
    out = np.zeros(shape, np.float32)
    for sigma, spread in zip((0.7, 1.21), spreads, strict=True):
        smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
        band = noise - smooth
        out += spread / max(float(band.std()), 1e-6) * band
        noise = smooth
    return out[..., None]


# Cheeks and upper lip between them, as face-mesh points: skin, unless a beard covers it.
_CHEEKS = (117, 118, 119, 6, 348, 347, 346, 280, 425, 427, 430, 0, 210, 207, 205, 50)
_FADE = (3.5, 5.5)


def skin_likeness(image: UInt8[np.ndarray, "h w 3"], landmarks_px: Float[np.ndarray, "468 2"]) -> Float[np.ndarray, "h w"]:
    """How much each pixel looks like the skin of this face's cheeks, 0-1; 1 everywhere where no cheek is in the picture.

    Robust distance in CIELAB, brightness counting half: shading changes it.
    """
    outline = np.nan_to_num(landmarks_px[list(_CHEEKS)]) - 0.5
    cheeks = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(cheeks, [np.clip(np.round(outline), -(2**20), 2**20).astype(np.int32)], 1)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    known = lab[cheeks > 0][::3]
    if len(known) < 16:
        return np.ones(image.shape[:2], np.float32)
    middle = np.median(known, 0)
    spread = np.maximum(1.4826 * np.median(np.abs(known - middle), 0), (8, 3, 3))
    lightness, a, b = (((lab[..., k] - middle[k]) / spread[k]).astype(np.float32) for k in range(3))
    far = cv2.GaussianBlur(np.sqrt(0.25 * lightness * lightness + a * a + b * b), (0, 0), 1.0)
    return np.clip((_FADE[1] - far) / (_FADE[1] - _FADE[0]), 0, 1).astype(np.float32)
