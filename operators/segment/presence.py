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
# Fitted on open unmasked portraits: as they are, and with masks painted on their landmark colours, both under random
# exposure, white balance, side light and saturation.
_SIGNED = np.array(
    (
        (-3.55, -2.49, -0.34),
        (-0.27, -1.69, -4.80),
        (1.12, 1.42, 1.24),
        (0.46, -5.13, 0.54),
        (0.77, -0.24, -1.47),
    )
)
_ABSOLUTE = np.array(
    (
        (1.12, 0.16, -0.21),
        (1.66, 2.17, 2.86),
        (-0.15, 1.16, 0.23),
        (2.63, 0.18, 2.09),
        (-0.17, 3.28, 3.03),
    )
)
_BIAS = -2.46
_LOG_FLOOR = 12.0

# Evidence that a segmented occluder adds: per unit of its contrast to the skin above an even one, up to a most.
_CONTRAST_GAIN, _CONTRAST_EVEN, _CONTRAST_MOST = 3.0, 1.1, 2.0
_CONTRAST_SIZE = 144

EVIDENCE_THRESHOLD = 0.3
EVIDENCE_AT_MOST = _CONTRAST_GAIN * (_CONTRAST_MOST - _CONTRAST_EVEN)
"""What the contrast of a segmented occluder can add: below the threshold by more than this, segmenting is needless."""


def occluder_evidence(
    crops: UInt8[np.ndarray, "faces h w 3"], landmarks: Float[np.ndarray, "faces 468 2"]
) -> Float[np.ndarray, " faces"]:
    """Log-odds that something covers the lower face, from its log colours relative to the skin around nose root and eyes."""
    size = crops.shape[1]
    at = np.floor(landmarks).astype(int).clip(0, size - 1)
    log = np.empty((*at.shape[:2], 3))
    for i, crop in enumerate(crops):
        smooth = cv2.GaussianBlur(crop, (0, 0), size / 128).astype(np.float64)
        log[i] = np.log(smooth[at[i, :, 1], at[i, :, 0]] + _LOG_FLOOR)
    red, green, blue = np.moveaxis(log, -1, 0)
    opponent = np.stack([log.mean(-1), red - green, (red + green) / 2 - blue], -1)
    relative = opponent - np.median(opponent[:, SKIN], 1, keepdims=True)
    regions = np.stack([np.median(relative[:, vertices], 1) for vertices in REGIONS], 1)
    return ((regions * _SIGNED).sum((1, 2)) + (np.abs(regions) * _ABSOLUTE).sum((1, 2)) + _BIAS).astype(np.float32)


def is_covered(
    evidence: Float[np.ndarray, " faces"],
    crops: UInt8[np.ndarray, "faces h w 3"],
    landmarks: Float[np.ndarray, "faces 468 2"],
    occluders: Bool[np.ndarray, "faces h w"],
    threshold: float = EVIDENCE_THRESHOLD,
) -> Bool[np.ndarray, " faces"]:
    """Whether the evidence, with the contrast of the segmented occluder to the skin, passes the threshold.

    Contrast is the skin distance that four fifths of the occluder's pixels exceed. An empty occluder covers nothing.
    """
    size, scale = _CONTRAST_SIZE, _CONTRAST_SIZE / crops.shape[1]
    small = np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops])
    distance = skin_distance(small, landmarks * scale)
    contrast = np.zeros(len(crops))
    for i, occluder in enumerate(occluders):
        at = cv2.resize(occluder.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
        contrast[i] = np.percentile(distance[i][at], 20) if at.any() else 0.0
    added = _CONTRAST_GAIN * (np.minimum(contrast, _CONTRAST_MOST) - _CONTRAST_EVEN)
    return (evidence + added > threshold) & occluders.any((1, 2))
