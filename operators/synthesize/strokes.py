"""Flat occluders as inpainters are trained with: rectangles and irregular brush strokes."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize.base import Layer, Outfit
from operators.synthesize.coverage import aim, coverage_of, face_region, size_for

FILLS = ("plain", "mean", "noise", "blur")
_SUPERSAMPLE, _THINNEST = 4, 0.4


def rectangle(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks468_px: Float[np.ndarray, "468 k"],
    outfit: Outfit,
    seed: int,
    coverage: tuple[float, float] | None = None,
) -> Layer:
    """An upright or turned rectangle over part of the face, filled as `outfit.texture` says.

    Fills: `plain` (a colour), `mean` (the face's mean colour), `noise`, `blur` (the photo beneath, blurred); None picks one.
    Without a target it covers 10 to 40 % of the face.
    """
    rng = np.random.default_rng(seed)
    low, high = coverage or (0.1, 0.4)
    wanted = aim((low, high), rng)
    inside, span = _face_frame(landmarks468_px, image.shape[:2])
    aspect = float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))
    angle = float(rng.choice([0.0, 0.0, rng.uniform(-30, 30)]))
    centre = inside[rng.integers(len(inside))] + 0.5
    middle = inside.mean(0) + 0.5

    def corners(size: float) -> np.ndarray:
        half = size * span * np.array([aspect**0.5, aspect**-0.5])
        turn = np.deg2rad(angle)
        axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        # a large one moves to the middle, or it would run out of face
        at = centre + (middle - centre) * min(1.0, size)
        return at + (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half) @ axes

    size = size_for(lambda s: polygon_alpha(image.shape[:2], corners(s)), landmarks468_px, (low, high), wanted, (0.02, 1.6))
    alpha = polygon_alpha(image.shape[:2], corners(size))
    return Layer(_filled(image, alpha, landmarks468_px, outfit, rng), alpha)


def strokes(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks468_px: Float[np.ndarray, "468 k"],
    outfit: Outfit,
    seed: int,
    coverage: tuple[float, float] | None = None,
) -> Layer:
    """Irregular brush strokes over the face, filled like `rectangle`.

    Walks of 4 to 12 joints that turn by up to 4 rad with alternating sense, after the free-form masks of Yu et al. 2019
    (DeepFill v2), whose angle, length and width LaMa (4, 200, 100 of 256 px) kept. Without a target 15 to 45 % are covered.
    """
    rng = np.random.default_rng(seed)
    low, high = coverage or (0.15, 0.45)
    wanted = aim((low, high), rng)
    inside, span = _face_frame(landmarks468_px, image.shape[:2])
    walks = []
    for _ in range(int(rng.integers(1, 6))):
        at = inside[rng.integers(len(inside))] + 0.5
        joints = [at]
        for joint in range(int(rng.integers(4, 13))):
            angle = rng.uniform(0.01, 4.0)
            angle = 2 * np.pi - angle if joint % 2 == 0 else angle
            at = at + span * rng.uniform(0.08, 0.8) * np.array([np.sin(angle), np.cos(angle)])
            joints.append(at)
        walks.append((np.array(joints), rng.uniform(0.06, 0.4)))

    def alpha(size: float, count: int) -> np.ndarray:
        out = np.zeros(image.shape[:2], np.float32)
        for joints, width in walks[:count]:
            out = np.maximum(out, stroke_alpha(image.shape[:2], joints, max(1.0, width * span * size)))
        return out

    found = np.zeros(image.shape[:2], np.float32)
    for count in range(len(walks), 0, -1):  # few strokes of a brush's width instead of many hairs
        size = size_for(partial(alpha, count=count), landmarks468_px, (low, high), wanted, (0.02, 24.0))
        made = alpha(size, count)
        hit = low <= coverage_of(made, landmarks468_px) <= high
        if hit or count == len(walks):
            found = made
        if not hit or size >= _THINNEST:
            break
    return Layer(_filled(image, found, landmarks468_px, outfit, rng), found)


def _face_frame(landmarks468_px: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Pixels (x, y) of the face inside the picture, and half the face's height."""
    face = face_region(landmarks468_px, (shape[0], shape[1]))
    inside = np.argwhere(face)[:, ::-1]
    if not len(inside):
        inside = np.array([[shape[1] // 2, shape[0] // 2]])
    return inside, 0.5 * float(np.ptp(landmarks468_px[:, 1]))


def _filled(
    image: np.ndarray, alpha: np.ndarray, landmarks468_px: np.ndarray, outfit: Outfit, rng: np.random.Generator
) -> np.ndarray:
    """Colour of the whole layer, float32."""
    fill = outfit.texture or str(rng.choice(FILLS))
    if fill not in FILLS:
        raise ValueError(f"texture of a rectangle or strokes: expected one of {', '.join(FILLS)}, got {fill!r}")
    if outfit.texture is None and outfit.colour is not None:
        fill = "plain"
    face = face_region(landmarks468_px, image.shape[:2])
    if fill == "noise":
        return rng.integers(0, 256, image.shape, dtype=np.uint8).astype(np.float32)
    if fill == "blur":
        sigma = max(1.0, 0.08 * float(np.ptp(landmarks468_px[:, 1])))
        return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32)
    if fill == "mean":
        colour = image[face].mean(0) if face.any() else image.mean((0, 1))
    else:
        colour = rng.integers(0, 256, 3) if outfit.colour is None else np.array(outfit.colour)
    return np.broadcast_to(np.round(colour).astype(np.float32), image.shape).copy()


def polygon_alpha(shape: tuple[int, ...], corners_px: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "h w"]:
    """Anti-aliased share of each pixel inside a polygon, float32 in [0, 1]."""
    return _drawn(shape, lambda canvas, points: cv2.fillPoly(canvas, [points], 255, shift=4), corners_px, 1.0)


def stroke_alpha(shape: tuple[int, ...], line_px: Float[np.ndarray, "n 2"], width_px: float) -> Float[np.ndarray, "h w"]:
    """Anti-aliased share of each pixel under a brush of that width with round joints, float32 in [0, 1]."""
    wide = max(1, round(width_px * _SUPERSAMPLE))

    def draw(canvas: np.ndarray, points: np.ndarray) -> None:
        cv2.polylines(canvas, [points], False, 255, wide, cv2.LINE_8, shift=4)

    return _drawn(shape, draw, line_px, width_px)


def _drawn(shape, draw, points_px: np.ndarray, margin_px: float) -> np.ndarray:
    """What `draw` puts on a finer canvas of just the window that the points need, averaged down."""
    h, w = shape[0], shape[1]
    out = np.zeros((h, w), np.float32)
    low = np.clip(np.floor(points_px.min(0) - margin_px - 1).astype(int), 0, (w, h))
    high = np.clip(np.ceil(points_px.max(0) + margin_px + 1).astype(int), 0, (w, h))
    if (high <= low).any():
        return out
    size = high - low
    canvas = np.zeros((int(size[1]) * _SUPERSAMPLE, int(size[0]) * _SUPERSAMPLE), np.uint8)
    draw(canvas, np.round(((points_px - low) * _SUPERSAMPLE - 0.5) * 16).astype(np.int32))
    small = cv2.resize(canvas, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    out[low[1] : high[1], low[0] : high[0]] = small.astype(np.float32) / 255
    return out
