"""How far each pixel's colour is from the skin of its face."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from operators import masks
from operators.segment.prompts import eye_line_and_scale
from operators.segment.regions import FOREHEAD, LEFT_BROW, LEFT_EYE, NOSE_ROOT, RIGHT_BROW, RIGHT_EYE, hulls, polygons

# One unit of distance: this far in CIE L*, or this far in a*b*; about what the light of one photo does to one skin.
_LIGHTNESS_UNIT, _CHROMA_UNIT = 18.0, 9.0
_NEAR, _DRIFT = 1.2, 0.5


def eyes_and_brows(landmarks: Float[np.ndarray, "faces 468 2"], size: int) -> np.ndarray:
    """(2, faces, size, size) bool: eyes, and brows, each with a rim."""
    unit = np.linalg.norm(eye_line_and_scale(landmarks)[1], axis=1)
    eyes = polygons(landmarks[:, LEFT_EYE], size) | polygons(landmarks[:, RIGHT_EYE], size)
    brows = polygons(landmarks[:, LEFT_BROW], size) | polygons(landmarks[:, RIGHT_BROW], size)
    return np.stack([masks.dilate(eyes, 0.05 * unit), masks.dilate(brows, 0.02 * unit)])


def skin_distance(
    images: UInt8[np.ndarray, "faces size size 3"], landmarks: Float[np.ndarray, "faces 468 2"]
) -> Float[np.ndarray, "faces size size"]:
    """Distance of every pixel to the mean colour of forehead and nose root, trimmed around the nose root's median, in CIELAB.

    Landmarks are in pixels of these images.
    """
    size = images.shape[1]
    eyes, brows = eyes_and_brows(landmarks, size)
    roots = polygons(landmarks[:, NOSE_ROOT], size) & ~brows
    regions = roots | (hulls(landmarks[:, FOREHEAD], size) & ~eyes & ~brows)
    units = np.array([_LIGHTNESS_UNIT, _CHROMA_UNIT, _CHROMA_UNIT], np.float32)
    out = np.empty(images.shape[:3], np.float32)
    for i, image in enumerate(images):
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        smooth = cv2.GaussianBlur(lab, (0, 0), size / 144) / units
        seed = roots[i] if roots[i].any() else regions[i] if regions[i].any() else np.ones_like(roots[i])
        start = centre = np.median(smooth[seed], 0)
        samples = smooth[regions[i]]
        for _ in range(3):
            near = samples[np.linalg.norm(samples - centre, axis=1) < _NEAR]
            moved = near.mean(0) - start if len(near) > 20 else centre - start
            centre = start + moved * min(1.0, _DRIFT / max(float(np.linalg.norm(moved)), 1e-6))
        out[i] = np.linalg.norm(smooth - centre, axis=-1)
    return out


def roughness(
    images: UInt8[np.ndarray, "faces size size 3"], landmarks: Float[np.ndarray, "faces 468 2"]
) -> Float[np.ndarray, "faces size size"]:
    """Standard deviation of CIE L* around each pixel, less that of the nose root (grain): hair is rough."""
    roots = polygons(landmarks[:, NOSE_ROOT], images.shape[1])
    sigma = images.shape[1] / 72
    out = np.empty(images.shape[:3], np.float32)
    for i, image in enumerate(images):
        light = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]
        mean, square = cv2.GaussianBlur(light, (0, 0), sigma), cv2.GaussianBlur(light * light, (0, 0), sigma)
        variance = np.maximum(square - mean * mean, 0)
        grain = np.median(variance[roots[i]]) if roots[i].any() else 0.0
        out[i] = np.sqrt(np.maximum(variance - grain, 0))
    return out


def shaded_skin(
    images: UInt8[np.ndarray, "faces size size 3"], landmarks: Float[np.ndarray, "faces 468 2"], darkest: float = -0.8
) -> Bool[np.ndarray, "faces size size"]:
    """Pixels that are darker than the nose root and have its colour: the same ratios of red, green and blue.

    `darkest` is the least log of their brightness over the nose root's.
    """
    light, red, yellow = np.moveaxis(_beside_nose_root(images, landmarks)[0], -1, 0)
    return (light < 0) & (light > darkest) & (red > -0.08) & (red < 0.35) & (yellow > -0.2) & (yellow < 0.5)


def lit_skin(
    images: UInt8[np.ndarray, "faces size size 3"], landmarks: Float[np.ndarray, "faces 468 2"], brightest: float = 1.0
) -> Bool[np.ndarray, "faces size size"]:
    """Pixels that are brighter than the nose root and could be the same skin in stronger light, which pales it.

    They keep some of its red and yellow, unlike white cloth and grey hair; `brightest` is the most log brightness over its.
    """
    beside, own = _beside_nose_root(images, landmarks)
    light, red, yellow = np.moveaxis(beside, -1, 0)
    rosy, tan = np.moveaxis(beside + own[:, None, None], -1, 0)[1:]
    pale = (red > -0.1 - 0.6 * light) & (yellow > -0.12 - 0.85 * light)
    return (light > -0.05) & (light < brightest) & pale & (red < 0.15) & (yellow < 0.25) & (rosy > 0.04) & (tan > 0.0)


def _beside_nose_root(images: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logs of brightness, red/green and yellow/blue: (faces size size 3) less the nose root's (faces 3); NaN without one."""
    roots = polygons(landmarks[:, NOSE_ROOT], images.shape[1])
    beside, own = np.full((*images.shape[:3], 3), np.nan, np.float32), np.full((len(images), 3), np.nan, np.float32)
    for i, image in enumerate(images):
        if not roots[i].any():
            continue
        log = np.log(cv2.GaussianBlur(image, (0, 0), image.shape[0] / 144).astype(np.float32) + 12)
        beside[i] = np.stack([log.mean(-1), log[..., 0] - log[..., 1], (log[..., 0] + log[..., 1]) / 2 - log[..., 2]], -1)
        own[i] = np.median(beside[i][roots[i]], 0)
    return beside - own[:, None, None], own
