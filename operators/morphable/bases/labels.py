"""Region labels from the 468 face-mesh points, where a source has none of its own."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.morphable.basis import REGIONS
from operators.segment.regions import LEFT_BROW, LEFT_EYE, OVAL, RIGHT_BROW, RIGHT_EYE

# Face-mesh vertices around the outer lips and the nose.
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
NOSE = (168, 193, 122, 196, 236, 198, 209, 49, 64, 98, 97, 2, 326, 327, 294, 279, 429, 420, 456, 419, 351, 417)
_POLYGONS = (
    ("nose", NOSE), ("lips", LIPS), ("left_brow", LEFT_BROW), ("right_brow", RIGHT_BROW),
    ("left_eye", LEFT_EYE), ("right_eye", RIGHT_EYE),
)  # fmt: skip


def region(name: str) -> int:
    """Index of a region's name."""
    return REGIONS.index(name)


def label_by_mesh(vertices: Float[np.ndarray, "vertices 3"], mesh: Float[np.ndarray, "468 3"]) -> UInt8[np.ndarray, " vertices"]:
    """Labels from polygons of the face mesh, seen from the front.

    Inside the face's oval: skin, and on it nose, lips, brows, eyes, as far as a vertex lies no deeper behind the polygon than
    0.15 of the polygon's width (what is behind the lips is `mouth`). Outside the oval or behind it: `head`.
    """
    labels = np.full(len(vertices), region("skin"), np.uint8)
    oval = mesh[list(OVAL)]
    labels[~inside_outline(vertices, oval) | (vertices[:, 2] < oval[:, 2].min() - 0.1 * np.ptp(oval[:, 0]))] = region("head")
    for name, corners in _POLYGONS:
        outline = mesh[list(corners)]
        inside = inside_outline(vertices, outline) & (labels != region("head"))
        deep = vertices[:, 2] < outline[:, 2].min() - 0.15 * np.ptp(outline[:, 0])
        labels[inside & ~deep] = region(name)
        if name == "lips":
            labels[inside & deep] = region("mouth")
    return labels


def inside_outline(vertices: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Whether points lie in a polygon in x and y, seen from the front."""
    corners = outline[:, :2].astype(np.float32).reshape(-1, 1, 2)
    low, high = corners.min((0, 1)), corners.max((0, 1))
    near = np.flatnonzero(((vertices[:, :2] >= low) & (vertices[:, :2] <= high)).all(1))
    out = np.zeros(len(vertices), bool)
    out[near] = [cv2.pointPolygonTest(corners, (float(x), float(y)), False) >= 0 for x, y in vertices[near, :2]]
    return out
