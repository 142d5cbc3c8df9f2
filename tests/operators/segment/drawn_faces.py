"""Drawn faces with face-mesh landmarks on them, and masks painted over: exact truth for the segmenters."""

from __future__ import annotations

import cv2
import numpy as np

from operators.batch import Batch
from operators.segment.regions import JAW, LEFT_BROW, LEFT_EYE, OVAL, RIGHT_BROW, RIGHT_EYE

SIZE = 256

# Vertices that regions, prompts and evidence use: x, y on a face whose eyes are at y = 0 and whose chin is at (0, 1).
_PLACED = {
    **{
        v: (x, y)
        for v, x, y in ((4, 0, 0.42), (195, 0, 0.28), (197, 0, 0.2), (5, 0, 0.38), (1, 0, 0.44), (6, 0, 0.06), (168, 0, 0.0))
    },
    **{v: (x, y) for v, x, y in ((8, 0, -0.08), (9, 0, -0.15), (151, 0, -0.3), (45, -0.05, 0.42), (275, 0.05, 0.42))},
    **{
        v: (x, y)
        for v, x, y in ((51, -0.05, 0.33), (281, 0.05, 0.33), (13, 0, 0.65), (14, 0, 0.67), (61, -0.18, 0.66), (291, 0.18, 0.66))
    },
    **{
        v: (x, y)
        for v, x, y in ((0, 0, 0.61), (17, 0, 0.72), (37, -0.05, 0.61), (267, 0.05, 0.61), (39, -0.1, 0.62), (269, 0.1, 0.62))
    },
    **{v: (x, y) for v, x, y in ((84, -0.05, 0.72), (314, 0.05, 0.72), (164, 0, 0.54), (167, -0.05, 0.54), (393, 0.05, 0.54))},
    **{v: (x, y) for v, x, y in ((165, -0.09, 0.56), (391, 0.09, 0.56), (92, -0.13, 0.58), (322, 0.13, 0.58), (18, 0, 0.78))},
    **{
        v: (x, y)
        for v, x, y in (
            (199, 0, 0.9),
            (175, 0, 0.95),
            (200, 0, 0.84),
            (171, -0.1, 0.94),
            (396, 0.1, 0.94),
            (170, -0.2, 0.9),
            (395, 0.2, 0.9),
        )
    },
    **{
        v: (x, y)
        for v, x, y in (
            (50, -0.36, 0.36),
            (280, 0.36, 0.36),
            (205, -0.32, 0.48),
            (425, 0.32, 0.48),
            (207, -0.34, 0.62),
            (427, 0.34, 0.62),
        )
    },
    **{
        v: (x, y)
        for v, x, y in (
            (36, -0.22, 0.4),
            (266, 0.22, 0.4),
            (187, -0.42, 0.5),
            (411, 0.42, 0.5),
            (147, -0.48, 0.55),
            (376, 0.48, 0.55),
        )
    },
    **{
        v: (x, y)
        for v, x, y in (
            (206, -0.22, 0.52),
            (426, 0.22, 0.52),
            (117, -0.4, 0.2),
            (346, 0.4, 0.2),
            (119, -0.2, 0.22),
            (348, 0.2, 0.22),
        )
    },
    **{
        v: (x, y)
        for v, x, y in (
            (118, -0.3, 0.2),
            (347, 0.3, 0.2),
            (188, -0.1, 0.16),
            (412, 0.1, 0.16),
            (114, -0.12, 0.12),
            (343, 0.12, 0.12),
        )
    },
    **{
        v: (x, y)
        for v, x, y in (
            (193, -0.08, -0.02),
            (417, 0.08, -0.02),
            (122, -0.1, 0.06),
            (351, 0.1, 0.06),
            (108, -0.1, -0.3),
            (337, 0.1, -0.3),
        )
    },
}


def landmarks(centre=(128.0, 95.0), unit: float = 90.0, angle_deg: float = 0.0) -> np.ndarray:
    """(468, 2) face-mesh landmarks of a drawn face; vertices that nothing uses lie on the nose."""
    points = np.tile(np.array([0.0, 0.4]), (468, 1))
    turn = np.pi * np.arange(len(JAW)) / (len(JAW) - 1)
    points[list(JAW)] = np.stack([-0.66 * np.cos(turn), 0.15 + 0.85 * np.sin(turn)], 1)
    rest = OVAL[len(JAW) :]
    turn = np.pi * (1 + np.arange(len(rest))) / (len(rest) + 1)
    points[list(rest)] = np.stack([0.66 * np.cos(turn), 0.15 - 0.8 * np.sin(turn)], 1)
    for ring, x, y, rx, ry in (
        (LEFT_EYE, -0.28, 0.0, 0.12, 0.04),
        (RIGHT_EYE, 0.28, 0.0, 0.12, 0.04),
        (LEFT_BROW, -0.28, -0.14, 0.16, 0.03),
        (RIGHT_BROW, 0.28, -0.14, 0.16, 0.03),
    ):
        turn = 2 * np.pi * np.arange(len(ring)) / len(ring)
        points[list(ring)] = np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1)
    for vertex, place in _PLACED.items():
        points[vertex] = place
    angle = np.deg2rad(angle_deg)
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ spin.T * unit + centre).astype(np.float32)


def _fill(image: np.ndarray, points: np.ndarray, colour) -> None:
    cv2.fillPoly(image, [np.round(points * 16 - 8).astype(np.int32)], colour, shift=4)


def draw(points: np.ndarray, skin=(205, 160, 135), mask=None, background=(70, 110, 90), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """RGB uint8 picture and the true mask (bool) of a face with these landmarks; `mask` is the colour of its mask, if any."""
    image = np.full((SIZE, SIZE, 3), background, np.uint8)
    down = points[152] - points[[33, 133, 362, 263]].mean(0)
    neck = points[[58, 288]].mean(0) + np.array([[-0.3, 0], [0.3, 0], [0.3, 3], [-0.3, 3]]) @ np.array(
        [[down[1], -down[0]], down]
    )
    _fill(image, neck, tuple(int(0.8 * c) for c in skin))
    _fill(image, points[list(OVAL)], skin)
    for ring, colour in (
        (LEFT_EYE, (240, 240, 240)),
        (RIGHT_EYE, (240, 240, 240)),
        (LEFT_BROW, (60, 40, 30)),
        (RIGHT_BROW, (60, 40, 30)),
    ):
        _fill(image, points[list(ring)], colour)
    _fill(image, points[[61, 0, 291, 17]], (180, 90, 90))
    truth = np.zeros((SIZE, SIZE), np.uint8)
    if mask is not None:
        chin = points[152] + 0.06 * down
        outline = np.stack([points[93], points[117], points[197], points[346], points[323], points[288], chin, points[58]])
        _fill(truth, outline, 1)
        image[truth > 0] = mask
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.8) + noise, 0, 255).astype(np.uint8), truth > 0


def batch_of(pictures, points, rows=None, **columns) -> Batch:
    """A batch whose crops are these pictures, one row per face unless `rows` says which row each belongs to."""
    rows = np.arange(len(pictures)) if rows is None else np.asarray(rows)
    batch = Batch.from_images([b""] * (int(rows.max()) + 1), **columns)
    batch.set_faces(rows)
    batch.put("crop", np.stack(pictures))
    batch.put("crop_valid", np.ones((len(pictures), SIZE, SIZE), bool))
    batch.put("crop_from_image", np.tile(np.array([[1, 0, 0], [0, 1, 0]], np.float32), (len(pictures), 1, 1)))
    batch.put("landmarks468_px", np.concatenate([np.stack(points), np.zeros((len(points), 468, 1), np.float32)], 2))
    return batch
