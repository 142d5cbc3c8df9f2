"""Put a mask on a face, and remember exactly where.

The mask is drawn from face-mesh landmarks: a top edge over cheeks and nose bridge, the jaw line pushed outwards, pleats,
shading and ear loops. The same seed gives the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import distance_transform_edt

from operators.types import option

Style = Literal["surgical_blue", "surgical_white", "cloth_black", "cloth_red", "cloth_dots"]
STYLES: tuple[Style, ...] = ("surgical_blue", "surgical_white", "cloth_black", "cloth_red", "cloth_dots")

# Face-mesh vertices (MediaPipe canonical face model), from the viewer's left to the viewer's right.
_TOP_EDGE = (227, 116, 117, 118, 119, 120, 188, 197, 412, 349, 348, 347, 346, 345, 447)
_JAW = (323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93)
_EAR_LEFT, _EAR_RIGHT = 234, 454
_NOSE_TIP, _CHIN = 4, 152

_COLOURS: dict[str, tuple[float, float, float]] = {
    "surgical_blue": (150, 192, 214),
    "surgical_white": (232, 233, 230),
    "cloth_black": (38, 38, 42),
    "cloth_red": (150, 32, 44),
    "cloth_dots": (44, 62, 110),
}
_SUPERSAMPLE = 3


@dataclass(frozen=True)
class DrawnMaskConfig:
    """What mask to draw."""

    style: Style = option("surgical_blue", "kind of mask")
    bulge: float = option(0.05, "how far the mask stands out beyond the jaw, as a share of the face height")
    straps: bool = option(True, "draw ear loops")


@dataclass(frozen=True)
class MaskedFace:
    """A photo with a mask drawn on it; `hole` marks every pixel that changed, `coverage` its share of the face."""

    image: UInt8[np.ndarray, "h w 3"]
    hole: Bool[np.ndarray, "h w"]
    alpha: Float[np.ndarray, "h w"]


def _spline(points: np.ndarray, per_segment: int = 12, closed: bool = False) -> np.ndarray:
    """Catmull-Rom curve through `points` (n, 2)."""
    p = np.concatenate([points[-1:], points, points[:2]] if closed else [points[:1], points, points[-1:]])
    t = np.linspace(0, 1, per_segment, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*pieces, points[:1] if closed else points[-1:]])


def _resample(curve: np.ndarray, n: int) -> np.ndarray:
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, length[-1], n)
    return np.stack([np.interp(at, length, curve[:, k]) for k in range(2)], 1)


def _fill(shape: tuple[int, int], polygon: np.ndarray) -> np.ndarray:
    """Anti-aliased coverage of a polygon in pixels (+0.5 convention), float32 in [0, 1]."""
    big = np.zeros((shape[0] * _SUPERSAMPLE, shape[1] * _SUPERSAMPLE), np.uint8)
    cv2.fillPoly(big, [np.round((polygon * _SUPERSAMPLE - 0.5) * 16).astype(np.int32)], 255, shift=4)
    return cv2.resize(big, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _stroke(shape: tuple[int, int], curve: np.ndarray, width_px: float) -> np.ndarray:
    """Anti-aliased coverage of a curve of that width, float32 in [0, 1]."""
    big = np.zeros((shape[0] * _SUPERSAMPLE, shape[1] * _SUPERSAMPLE), np.uint8)
    points = np.round((curve * _SUPERSAMPLE - 0.5) * 16).astype(np.int32)
    cv2.polylines(big, [points], False, 255, max(1, round(width_px * _SUPERSAMPLE)), cv2.LINE_AA, shift=4)
    return cv2.resize(big, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _cloth(style: Style, shape: tuple[int, int], u: np.ndarray, v: np.ndarray, face_px: float, seed: int) -> np.ndarray:
    """Colour of the cloth before shading, float32 RGB in 0-255. u runs across the mask, v from top to bottom."""
    colour = np.broadcast_to(np.array(_COLOURS[style], np.float32), (*shape, 3)).copy()
    if style == "cloth_dots":
        x, y = u * 11, v * 8
        odd = np.floor(y) % 2
        dots = np.hypot((x + 0.5 * odd) % 1 - 0.5, y % 1 - 0.5) < 0.24
        colour[dots] = (225, 222, 214)
    rng = np.random.default_rng(seed)
    weave = cv2.resize(
        rng.normal(0, 1, (max(2, int(shape[0] / max(face_px / 220, 1))), max(2, int(shape[1] / max(face_px / 220, 1))))),
        (shape[1], shape[0]),
        interpolation=cv2.INTER_LINEAR,
    )
    return colour + weave[..., None].astype(np.float32) * 2.5


def draw_mask(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks_px: Float[np.ndarray, "468 k"],
    config: DrawnMaskConfig = DrawnMaskConfig(),
    seed: int = 0,
) -> MaskedFace:
    """Draw a mask over nose, mouth and chin of one face.

    `landmarks_px` are face-mesh points in pixels of the image, taken before the mask is on. Brightness follows the photo's
    own at the cheeks. Pixels outside `hole` are the input's.
    """
    h, w = image.shape[:2]
    p = landmarks_px[:, :2].astype(np.float64)
    face_px = float(np.linalg.norm(p[10] - p[_CHIN]))
    centre = 0.5 * (p[_NOSE_TIP] + p[13])
    outwards = np.minimum(np.linspace(0.3, 2.1, 19), np.linspace(2.1, 0.3, 19))[:, None]
    jaw = p[list(_JAW)] + (p[list(_JAW)] - centre) * config.bulge * 1.3 * outwards
    top = _spline(p[list(_TOP_EDGE)])
    bottom = _spline(jaw)[::-1]
    outline = np.concatenate([_resample(top, 64), _resample(bottom[::-1], 64)])
    shape = (h, w)
    alpha = _fill(shape, outline)

    top_line, bottom_line = _resample(top, 64), _resample(bottom, 64)
    grid = np.stack([top_line * (1 - t) + bottom_line * t for t in np.linspace(0, 1, 33)])
    u, v = _surface_coordinates(grid, shape)
    colour = _cloth(config.style, shape, u, v, face_px, seed)

    across = 0.62 + 0.38 * np.sqrt(np.clip(1 - (2 * u - 1) ** 2 * 0.92, 0, 1))
    ridge = 1 + 0.10 * np.exp(-(((u - 0.5) / 0.10) ** 2)) * np.exp(-(((v - 0.25) / 0.35) ** 2))
    shade = across * ridge * (1.04 - 0.20 * v**2)
    if config.style.startswith("surgical"):
        for t in (0.34, 0.52, 0.70):
            line = t + 0.05 * (1 - (2 * u - 1) ** 2)
            shade -= 0.16 * np.exp(-(((v - line) / 0.012) ** 2)) - 0.07 * np.exp(-(((v - line - 0.03) / 0.018) ** 2))
        shade -= 0.10 * np.exp(-(((v - 0.045) / 0.012) ** 2))
    else:
        shade -= 0.13 * np.exp(-(((u - 0.5) / 0.008) ** 2))
        shade -= 0.10 * np.exp(-(((v - 0.03) / 0.010) ** 2)) + 0.10 * np.exp(-(((v - 0.965) / 0.012) ** 2))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cheeks = [int(np.clip(round(float(c)), 0, n - 1)) for i in (205, 425) for c, n in zip(p[i], (w, h), strict=True)]
    lit = np.mean([grey[cheeks[1], cheeks[0]], grey[cheeks[3], cheeks[2]]]) / 190.0
    cloth = np.clip(colour * (shade * np.clip(lit, 0.45, 1.15))[..., None], 0, 255)

    out = image.astype(np.float32)
    changed = alpha > 0
    if config.straps:
        width = max(1.5, face_px / 110)
        for ear, corner_top, corner_bottom in ((p[_EAR_LEFT], top[0], bottom[0]), (p[_EAR_RIGHT], top[-1], bottom[-1])):
            away = ear + (ear - centre) * 0.03
            for corner in (corner_top, corner_bottom):
                strap = _stroke(shape, np.stack([corner, 0.5 * (corner + away) + (away - centre) * 0.02, away]), width)
                out = out * (1 - strap[..., None]) + np.array([228, 228, 226], np.float32) * lit * 0.9 * strap[..., None]
                changed |= strap > 0
    shadow = cv2.GaussianBlur(alpha, (0, 0), max(face_px / 70, 0.8))
    shadow = np.roll(shadow, max(1, round(face_px / 90)), axis=0) * (1 - alpha) * 0.28
    shadow[shadow < 0.02] = 0
    changed |= shadow > 0
    out = out * (1 - shadow[..., None])
    out = out * (1 - alpha[..., None]) + cloth * alpha[..., None]
    masked = image.copy()
    masked[changed] = np.clip(np.round(out[changed]), 0, 255).astype(np.uint8)
    return MaskedFace(masked, changed, alpha)


def _surface_coordinates(grid: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(u, v) in [0, 1] at every pixel of the quad mesh `grid` (rows, columns, 2); outside it the nearest value."""
    rows, columns = grid.shape[:2]
    points = grid.reshape(-1, 2)
    uu, vv = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    low = np.maximum(np.floor(points.min(0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + 2, [shape[1], shape[0]])
    fill = LinearNDInterpolator(points, np.stack([uu.ravel(), vv.ravel()], 1), fill_value=np.nan)
    xs, ys = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    inside = fill(xs, ys)
    nearest = distance_transform_edt(np.isnan(inside[..., 0]), return_distances=False, return_indices=True)
    inside = inside[tuple(np.asarray(nearest))]
    u, v = np.full(shape, 0.5, np.float32), np.full(shape, 0.5, np.float32)
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    u[window], v[window] = inside[..., 0], inside[..., 1]
    return u, v
