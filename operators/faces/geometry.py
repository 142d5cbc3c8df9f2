"""Similarities between full-image and crop pixels, and the warps that follow them.

Every matrix is 2 x 3 and maps points (x, y) with pixel centres at +0.5; OpenCV's integer centres appear only in here.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

# Before a shrinking warp the photo is averaged down to this many samples per crop pixel: little aliasing, little blur.
_OVERSAMPLING = 1.4


def transform_points(
    matrix: Float[np.ndarray, "*faces 2 3"], points: Float[np.ndarray, "*faces points 2"]
) -> Float[np.ndarray, "*faces points 2"]:
    """Points mapped by an affine matrix; leading dimensions broadcast."""
    linear, shift = matrix[..., :2], matrix[..., None, :, 2]
    return points @ np.swapaxes(linear, -1, -2) + shift


def invert_similarity(matrix: Float[np.ndarray, "*faces 2 3"]) -> Float[np.ndarray, "*faces 2 3"]:
    """The inverse map, of the same dtype. Errors: ValueError when a matrix has no inverse."""
    wide = np.asarray(matrix, np.float64)
    a, b, c, d = wide[..., 0, 0], wide[..., 0, 1], wide[..., 1, 0], wide[..., 1, 1]
    determinant = a * d - b * c
    if not np.all(np.isfinite(determinant)) or np.any(np.abs(determinant) < 1e-12):
        raise ValueError(f"expected invertible 2 x 3 matrices, got determinants {determinant}")
    linear = np.stack([np.stack([d, -b], -1), np.stack([-c, a], -1)], -2) / determinant[..., None, None]
    shift = -(linear @ wide[..., 2:])
    return np.concatenate([linear, shift], -1).astype(matrix.dtype)


def square_to_crop(
    centre_px: Float[np.ndarray, "faces 2"],
    side_px: Float[np.ndarray, " faces"],
    angle_rad: Float[np.ndarray, " faces"],
    crop_px: int,
) -> Float[np.ndarray, "faces 2 3"]:
    """Similarities that map rotated squares of the image onto a crop. `angle_rad` turns the crop's x axis towards y."""
    scale = crop_px / np.asarray(side_px, np.float64)
    cos, sin = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    shift = crop_px / 2 - linear @ np.asarray(centre_px, np.float64)[..., None]
    return np.concatenate([linear, shift], -1)


def warp_to_crop(
    image: UInt8[np.ndarray, "height width 3"],
    crop_from_image: Float[np.ndarray, "2 3"],
    crop_px: int,
    replicate: bool = False,
) -> UInt8[np.ndarray, "crop crop 3"]:
    """The crop of an image, averaged down first when it shrinks. Outside the photo: black, or its edge repeated."""
    height, width = image.shape[:2]
    matrix = np.asarray(crop_from_image, np.float64)
    corners = np.array([[0.0, 0.0], [crop_px, 0.0], [crop_px, crop_px], [0.0, crop_px]])
    corners = transform_points(invert_similarity(matrix), corners)
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    margin = 2 + 2 / scale
    limit = np.array([width, height])
    low = np.clip(np.floor(corners.min(0) - margin), 0, limit - 1).astype(int)
    high = np.maximum(np.clip(np.ceil(corners.max(0) + margin), 0, limit).astype(int), low + 1)
    part = image[low[1] : high[1], low[0] : high[0]]
    factor = np.ones(2)
    if scale * _OVERSAMPLING < 1:
        size = np.maximum(np.rint((high - low) * scale * _OVERSAMPLING), 1).astype(int)
        factor = (high - low) / size
        part = cv2.resize(np.ascontiguousarray(part), (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    linear = matrix[:, :2] * factor
    shift = matrix[:, 2] + matrix[:, :2] @ low + linear @ (0.5, 0.5) - 0.5
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    warp = np.column_stack([linear, shift])
    return cv2.warpAffine(np.ascontiguousarray(part), warp, (crop_px, crop_px), flags=cv2.INTER_LINEAR, borderMode=border)


def inside_image(
    crop_from_image: Float[np.ndarray, "faces 2 3"], crop_px: int, size_px: Float[np.ndarray, "faces 2"]
) -> Bool[np.ndarray, "faces crop crop"]:
    """Crop pixels whose centres lie inside the photo of that width and height."""
    steps = np.arange(crop_px) + 0.5
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(1, -1, 2)
    points = transform_points(invert_similarity(np.asarray(crop_from_image, np.float64)), grid)
    inside = ((points >= 0) & (points <= size_px[:, None])).all(-1)
    return inside.reshape(-1, crop_px, crop_px)
