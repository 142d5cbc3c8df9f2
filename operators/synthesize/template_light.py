"""Light, sharpness and grain of a photo, for what is put on a face in it; and the shadow that a mask throws."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize.worn.photo import grain, grain_std, sharpness_px

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_HULL = (*range(17), *range(26, 16, -1))
_EYES = (slice(36, 42), slice(42, 48))
_NOSE_BASE = 33
_SIDE_PX = 96
_MONOCHROME = 0.02
_WHITE = 235.0
_EYE_WHITE = 1.3  # a white cloth's brightness to that of the white of the eyes, which lids shade
_SHARP_PX = 0.45


@dataclass(frozen=True)
class Lighting:
    """The light on one face: `gain` for its strength, a plane of log light over the picture, and the tint of a photo
    without colours (None: it has colours)."""

    gain: float
    plane: tuple[float, float, float]
    tint: Float[np.ndarray, "3"] | None

    @classmethod
    def of(cls, image: UInt8[np.ndarray, "h w 3"], landmarks68_px: Float[np.ndarray, "68 2"]) -> Lighting:
        """Measured on the face inside jaw and brows, on a small copy; neutral where none of it lies in the picture."""
        small, hull, to_image = _small_face(image, np.asarray(landmarks68_px, np.float64))
        skin = small[hull].astype(np.float32)
        if len(skin) < 16:
            return cls(1.0, (0.0, 0.0, 0.0), None)
        grey = skin @ _LUMA
        # The white of the eyes tells how bright white is where skin is dark.
        bright = max(float(np.percentile(grey, 95)), min(_EYE_WHITE * _eyes_white(image, landmarks68_px), _WHITE))
        gain = float(np.clip(0.42 + 0.6 * bright / _WHITE, 0.45, 1.08))
        rows, columns = np.nonzero(hull)
        x, y = (np.stack([columns, rows], 1) + 0.5) @ to_image[:, :2].T + to_image[:, 2], np.log(grey + 12)
        return cls(gain, _plane(x, y), _tint(small))

    def on(self, colour: Float[np.ndarray, "y x 3"], window: tuple[slice, slice]) -> Float[np.ndarray, "y x 3"]:
        """Colours 0-255 of a window of the picture, under this light."""
        rows, columns = (np.arange(part.start, part.stop) + 0.5 for part in window)
        slope_x, slope_y, mean = self.plane
        light = np.exp(np.clip(slope_x * columns[None, :] + slope_y * rows[:, None] + mean, -0.7, 0.35)) * self.gain
        out = colour * light[..., None].astype(np.float32)
        if self.tint is not None:
            out = (out @ _LUMA)[..., None] * self.tint
        return np.clip(out, 0, 255).astype(np.float32)


@dataclass(frozen=True)
class Sharpness:
    """How sharp a photo is on one face, as the deviation of its blur in px, and the spread of its grain in two bands."""

    blur_px: float
    grain: tuple[float, float]

    @classmethod
    def of(cls, image: UInt8[np.ndarray, "h w 3"], landmarks68_px: Float[np.ndarray, "68 2"]) -> Sharpness:
        """Measured on the face inside jaw and brows; as sharp as pixels are and without grain where none of it is to be seen."""
        hull = np.asarray(landmarks68_px, np.float64)[list(_HULL)]
        edges = np.floor(hull.min(0)), np.ceil(hull.max(0))
        low, high = (np.clip(edge, 0, image.shape[1::-1]).astype(int) for edge in edges)
        if (high - low).min() < 8:
            return cls(_SHARP_PX, (0.0, 0.0))
        part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        inside = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.round(np.clip(hull - low - 0.5, -1e5, 1e5)).astype(np.int32)], 1)
        inside[int(np.clip(landmarks68_px[_NOSE_BASE, 1] - low[1], 0, len(part))) :] = 0  # beards are no grain
        grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
        return cls(sharpness_px(grey), grain_std(part, (inside > 0) & (part.max(-1) < 250)))

    def soften(self, paint: Float[np.ndarray, "y x 4"], own_px: float) -> Float[np.ndarray, "y x 4"]:
        """Premultiplied paint, itself blurred by `own_px`, as soft as the photo."""
        more = self.blur_px**2 - own_px**2
        return cv2.GaussianBlur(paint, (0, 0), float(np.sqrt(more))) if more > 0.05 else paint

    def grainy(self, colour: Float[np.ndarray, "y x 3"], seed: int) -> Float[np.ndarray, "y x 3"]:
        """Colours 0-255 with the photo's grain; less of it in dark cloth, as on film and sensors."""
        if max(self.grain) < 0.2:
            return colour
        share = 0.4 + 0.4 * (colour @ _LUMA)[..., None] / 255
        return np.clip(colour + share * grain(colour.shape[:2], self.grain, seed), 0, 255).astype(np.float32)


def shadow(
    alpha: Float[np.ndarray, "y x"], landmarks68_px: Float[np.ndarray, "68 2"], strength: float = 0.3
) -> Float[np.ndarray, "y x"]:
    """What a mask's edge leaves of the light on the skin around it, from above: 1 = all; as wide as the face is large."""
    face_px = float(np.ptp(np.asarray(landmarks68_px)[:17, 0]))
    blurred = cv2.GaussianBlur(alpha, (0, 0), float(np.clip(face_px / 50, 0.6, 40)))
    down = max(1, round(face_px / 90))
    lower = np.zeros_like(blurred)
    lower[down:] = blurred[:-down]
    dark = np.clip(lower - 0.06, 0, 1) * (1 - alpha) * strength
    return (1 - dark).astype(np.float32)


def _small_face(image: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The face's surroundings on a small grid, the face's pixels there, and the map from that grid to the picture."""
    h, w = image.shape[:2]
    hull = face[list(_HULL)]
    low = np.clip(np.floor(hull.min(0)), 0, [w, h]).astype(int)
    high = np.clip(np.ceil(hull.max(0)), 0, [w, h]).astype(int)
    extent = high - low
    if extent.min() < 1:
        return np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), bool), np.eye(2, 3)
    scale = min(1.0, _SIDE_PX / extent.max())
    size = np.maximum(np.round(extent * scale), 1).astype(int)
    small = cv2.resize(image[low[1] : high[1], low[0] : high[0]], (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    step = extent / size
    inside = np.zeros(small.shape[:2], np.uint8)
    corners = np.clip((hull - low) / step - 0.5, -1e4, 1e4)
    cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 1)
    return small, inside > 0, np.array([[step[0], 0, low[0]], [0, step[1], low[1]]], np.float64)


def _eyes_white(image: np.ndarray, landmarks68_px: np.ndarray) -> float:
    """The luminance that one pixel in eight inside the eyes exceeds, of the brighter eye; 0 where none is in the picture."""
    found = 0.0
    for eye in _EYES:
        outline = np.asarray(landmarks68_px, np.float64)[eye]
        low = np.clip(np.floor(outline.min(0)), 0, image.shape[1::-1]).astype(int)
        high = np.clip(np.ceil(outline.max(0)), 0, image.shape[1::-1]).astype(int)
        part = image[low[1] : high[1], low[0] : high[0]]
        if min(part.shape[:2]) < 3:
            continue
        inside = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.round(np.clip(outline - low - 0.5, -1e5, 1e5)).astype(np.int32)], 1)
        grey = part[inside > 0].astype(np.float32) @ _LUMA
        found = max(found, float(np.percentile(grey, 87.5))) if len(grey) > 8 else found
    return found


def _plane(at: np.ndarray, value: np.ndarray) -> tuple[float, float, float]:
    """Slopes per pixel and offset of log light, mean 0 on the face; most of what looks like light from above is a beard."""
    centre, size = at.mean(0), max(float(np.ptp(at, axis=0).max()), 1.0)
    rows = np.c_[(at - centre) / size, np.ones(len(at))]
    weight = np.ones(len(at))
    solution = np.zeros(3)
    for _ in range(3):
        solution = np.linalg.lstsq(rows * weight[:, None], value * weight, rcond=None)[0]
        away = np.abs(value - rows @ solution)
        weight = 1 / (1 + (away / max(float(np.median(away)), 1e-3)) ** 2)
    across, down = np.clip(solution[:2] * [0.8, 0.35], -1.0, 1.0) / size
    return float(across), float(down), float(-across * centre[0] - down * centre[1])


def _tint(small: np.ndarray) -> np.ndarray | None:
    """RGB of a grey of one, in a photo in which all colours are shades of one hue; None in others."""
    colours = small.reshape(-1, 3).astype(np.float32)
    grey = colours @ _LUMA
    colours, grey = colours[grey > 20], grey[grey > 20]
    if len(grey) < 16:
        return None
    ratio = colours / grey[:, None]
    return ratio.mean(0) if float(ratio.std(0).max()) < _MONOCHROME else None
