"""Is the lower face covered at all? Evidence from colours at landmarks, before any segmentation."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from operators.segment.skin import skin_distance

SKIN = (8, 9, 168, 6, 55, 285, 193, 417, 107, 336, 151, 119, 348, 118, 347, 188, 412, 114, 343, 108, 337)
REGIONS = (
    (4, 5, 1, 195, 45, 275, 51, 281, 197),
    (50, 280, 205, 425, 207, 427, 36, 266, 187, 411, 147, 376, 206, 426),
    (164, 167, 393, 165, 391, 92, 322),
    (0, 13, 14, 17, 61, 291, 37, 267, 39, 269, 84, 314),
    (152, 148, 377, 175, 199, 171, 396, 200, 18, 176, 400),
)

# Logistic regression, rows = nose, cheeks, upper lip, mouth, chin; columns = log intensity, red - green, yellow - blue.
# Printed by `python -m jobs.learn_presence`: fitted on open unmasked portraits, as they are and with masks painted on their
# landmark colours, both under random exposure, white balance, skin tone, side light and saturation.
_SIGNED = np.array([[-3.8, -3.82, -0.67], [-0.22, -1.86, -4.57], [1.18, 1.45, 1.94], [0.05, -5.65, 0.34], [1.16, -0.2, -0.7]])
_ABSOLUTE = np.array([[1.04, 0.59, -0.86], [1.53, 3.1, 2.73], [0.56, 1.4, -0.45], [2.13, 1.04, 2.65], [-0.34, 3.83, 3.09]])
_BIAS = -2.60
_LOG_FLOOR = 12.0

# Evidence that a segmented occluder adds: its contrast to the skin, at the 20th percentile of its pixels and at their median,
# up to a most. Logistic regression on segmented occluders of open portraits and of photos with masks.
_CONTRAST_GAIN, _CONTRAST_MOST, _CONTRAST_BIAS = (0.85, 1.05), (2.0, 3.0), -2.0
_CONTRAST_SIZE = 144
_EVIDENCE_RANGE = (-3.0, 4.0)

EVIDENCE_THRESHOLD = -0.2
EVIDENCE_LEAST = -4.5
"""Below this no contrast of a segmented occluder can turn the verdict: segmenting is needless."""


def landmark_colours(
    crops: UInt8[np.ndarray, "faces h w 3"], landmarks: Float[np.ndarray, "faces 468 2"]
) -> Float[np.ndarray, "faces 468 3"]:
    """Smoothed RGB, 0 to 255, at the face-mesh landmarks (crop pixels)."""
    size = crops.shape[1]
    at = np.floor(landmarks).astype(int).clip(0, size - 1)
    smooth = (cv2.GaussianBlur(crop, (0, 0), size / 128) for crop in crops)
    return np.stack([picture[y, x] for picture, (x, y) in zip(smooth, at.transpose(0, 2, 1), strict=True)]).astype(np.float64)


def region_features(colours: Float[np.ndarray, "faces 468 3"]) -> Float[np.ndarray, "faces 5 3"]:
    """Median log intensity, red - green and yellow - blue of each region, relative to the skin around nose root and eyes."""
    log = np.log(colours + _LOG_FLOOR)
    red, green, blue = np.moveaxis(log, -1, 0)
    opponent = np.stack([log.mean(-1), red - green, (red + green) / 2 - blue], -1)
    relative = opponent - np.median(opponent[:, SKIN], 1, keepdims=True)
    return np.stack([np.median(relative[:, vertices], 1) for vertices in REGIONS], 1)


def occluder_evidence(
    crops: UInt8[np.ndarray, "faces h w 3"], landmarks: Float[np.ndarray, "faces 468 2"]
) -> Float[np.ndarray, " faces"]:
    """Log-odds that something covers the lower face."""
    regions = region_features(landmark_colours(crops, landmarks))
    return ((regions * _SIGNED).sum((1, 2)) + (np.abs(regions) * _ABSOLUTE).sum((1, 2)) + _BIAS).astype(np.float32)


def is_covered(
    evidence: Float[np.ndarray, " faces"],
    crops: UInt8[np.ndarray, "faces h w 3"],
    landmarks: Float[np.ndarray, "faces 468 2"],
    occluders: Bool[np.ndarray, "faces h w"],
    threshold: float = EVIDENCE_THRESHOLD,
) -> Bool[np.ndarray, " faces"]:
    """Whether the evidence, with the contrast of the segmented occluder to the skin, passes the threshold.

    Contrast is the skin distance of the occluder's pixels. An empty occluder covers nothing.
    """
    size, scale = _CONTRAST_SIZE, _CONTRAST_SIZE / crops.shape[1]
    small = np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops])
    distance = skin_distance(small, landmarks * scale)
    contrast = np.zeros((len(crops), 2))
    for i, occluder in enumerate(occluders):
        at = cv2.resize(occluder.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
        contrast[i] = np.percentile(distance[i][at], (20, 50)) if at.any() else 0.0
    added = np.minimum(contrast, _CONTRAST_MOST) @ np.array(_CONTRAST_GAIN) + _CONTRAST_BIAS
    verdict = np.clip(evidence, *_EVIDENCE_RANGE) + added
    return (evidence > EVIDENCE_LEAST) & (verdict > threshold) & occluders.any((1, 2))
