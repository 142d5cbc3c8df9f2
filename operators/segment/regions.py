"""Landmarks become regions of pixels."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float

# MediaPipe face-mesh vertices.
JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
OVAL = (*JAW, 356, 389, 251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21, 162, 127)
LOWER_FACE = (234, 117, 119, 197, 348, 346, *JAW[:0:-1])
CORE = (50, 205, 207, 170, 171, 175, 396, 395, 427, 425, 280, 275, 4, 45)
FOREHEAD = (10, 338, 297, 332, 284, 251, 389, 263, 374, 362, 168, 133, 145, 33, 162, 21, 54, 103, 67, 109)
NOSE_ROOT = (55, 285, 417, 351, 6, 122, 193)
LEFT_CHEEK = (117, 118, 119, 100, 101, 50)
RIGHT_CHEEK = (346, 347, 348, 329, 330, 280)
LEFT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
RIGHT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)


def polygons(points: Float[np.ndarray, "faces corners 2"], size: int) -> Bool[np.ndarray, "faces size size"]:
    """Filled polygons, in pixels with centres at +0.5; the outline belongs to them."""
    out = np.empty((len(points), size, size), bool)
    for i, corners in enumerate(points):
        canvas = np.zeros((size, size), np.uint8)
        cv2.fillPoly(canvas, [np.round(corners * 16 - 8).astype(np.int32)], 1, shift=4)
        out[i] = canvas > 0
    return out


def hulls(points: Float[np.ndarray, "faces corners 2"], size: int) -> Bool[np.ndarray, "faces size size"]:
    """Filled convex hulls of point sets, like `polygons`."""
    out = np.empty((len(points), size, size), bool)
    for i, corners in enumerate(points):
        out[i] = polygons(cv2.convexHull(corners.astype(np.float32))[:, 0][None], size)[0]
    return out
