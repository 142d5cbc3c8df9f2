"""Affine maps between picture and crop, all with pixel centres at +0.5."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8


def square_to_crop(
    centre_px: Float[np.ndarray, "faces 2"], side_px: Float[np.ndarray, "faces"], angle_rad: Float[np.ndarray, "faces"], size: int
) -> Float[np.ndarray, "faces 2 3"]:
    """Similarities that bring a turned square (centre, side, angle of its upper edge) onto a `size` x `size` crop."""
    scale = size / side_px
    cos, sin = np.cos(angle_rad) * scale, np.sin(angle_rad) * scale
    linear = np.stack((np.stack((cos, sin), -1), np.stack((-sin, cos), -1)), 1)
    shift = size / 2 - np.einsum("fij,fj->fi", linear, centre_px)
    return np.concatenate((linear, shift[..., None]), -1)


def invert_similarity(matrix: Float[np.ndarray, "*faces 2 3"]) -> Float[np.ndarray, "*faces 2 3"]:
    """The inverse affine map; ValueError when the map has none."""
    linear = matrix[..., :2]
    if np.any(np.abs(np.linalg.det(linear)) < 1e-12):
        raise ValueError("the map collapses the plane and has no inverse")
    inverse = np.linalg.inv(linear)
    return np.concatenate((inverse, -inverse @ matrix[..., 2:]), -1)


def transform_points(
    matrix: Float[np.ndarray, "*faces 2 3"], points: Float[np.ndarray, "*faces points k"]
) -> Float[np.ndarray, "*faces points k"]:
    """Affine map of x, y; a third coordinate z is multiplied by the map's scale, further ones are kept."""
    linear = matrix[..., :2]
    out = points.copy()
    out[..., :2] = points[..., :2] @ np.swapaxes(linear, -1, -2) + matrix[..., None, :, 2]
    if points.shape[-1] > 2:
        out[..., 2] = points[..., 2] * np.sqrt(np.abs(np.linalg.det(linear)))[..., None]
    return out


def to_integer_centres(matrix: np.ndarray) -> np.ndarray:
    """The same map for a library whose pixel centres are integers: x' = M (x + 0.5) - 0.5."""
    out = matrix.astype(np.float64)
    out[:, 2] += out[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return out


def warp(
    image: UInt8[np.ndarray, "h w *c"], matrix: Float[np.ndarray, "2 3"], size: int, border: str = "replicate"
) -> UInt8[np.ndarray, "size size *c"]:
    """The crop that `matrix` (full-image to crop pixels) cuts out of an image; shrinking averages instead of skipping.

    `border` is what lies outside the photo: `replicate` its edge, or `zero`.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    matrix = matrix.astype(np.float64)
    mode = {"replicate": cv2.BORDER_REPLICATE, "zero": cv2.BORDER_CONSTANT}[border]
    if scale < 0.6:
        image, matrix, scale = _shrink(image, matrix, size, scale)
    if min(image.shape[:2]) >= 1 << 15:
        raise ValueError(f"expected a region of at most 32767 pixels a side, got {image.shape[:2]}")
    return cv2.warpAffine(image, to_integer_centres(matrix), (size, size), flags=cv2.INTER_LINEAR, borderMode=mode)


def shrink(image: UInt8[np.ndarray, "h w *c"], factor: int) -> UInt8[np.ndarray, "h2 w2 *c"]:
    """Average over blocks of `factor` x `factor` pixels; the last row and column are repeated to fill a block."""
    extra_y, extra_x = -image.shape[0] % factor, -image.shape[1] % factor
    if extra_x or extra_y:
        image = cv2.copyMakeBorder(image, 0, extra_y, 0, extra_x, cv2.BORDER_REPLICATE)
    return cv2.resize(image, (image.shape[1] // factor, image.shape[0] // factor), interpolation=cv2.INTER_AREA)


def _shrink(image: np.ndarray, matrix: np.ndarray, size: int, scale: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Cut the region that the crop sees and average it down by a whole factor, so that bilinear sampling is enough."""
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float64)
    seen = transform_points(invert_similarity(matrix), corners)
    factor = int(np.floor(1 / scale + 1e-6))
    h, w = image.shape[:2]
    x0, y0 = (int(v) // factor * factor for v in np.clip(np.floor(seen.min(0)) - 2 * factor, 0, [w - 1, h - 1]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(seen.max(0)) + 2 * factor, [x0 + 1, y0 + 1], [w, h]))
    small = shrink(image[y0:y1, x0:x1], factor)
    linear = matrix[:, :2] * factor
    shift = matrix[:, 2] + matrix[:, :2] @ np.array([x0, y0], np.float64)
    return small, np.concatenate((linear, shift[:, None]), 1), scale * factor
