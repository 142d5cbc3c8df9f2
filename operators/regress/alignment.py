"""What a regressor looks at: the photo aligned by its landmarks as in training, and the map from photo to aligned pixels.

Pixels have their centres at +0.5 here as everywhere; the official code counts from pixel centres, so half a pixel is taken off
where its formulas want their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from operators.faces.geometry import warp

SIDE = 224
_BICUBIC = Image.Resampling.BICUBIC
DEEP3D_SCALE = 102.0
"""Size of the reference face in the aligned picture, pixels per decimetre."""
REFERENCE = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""Eyes, nose tip and mouth corners of Deep3D's mean face (viewer's left first), y up: similarity_Lm3D_all.mat."""


class AlignmentError(ValueError):
    """Landmarks that no picture can be aligned by."""


@dataclass(frozen=True)
class Aligned:
    """A picture of `SIDE` pixels and the 2 x 3 map that takes photo pixels to its own."""

    picture: UInt8[np.ndarray, "side side 3"]
    from_photo: Float[np.ndarray, "2 3"]


@dataclass(frozen=True)
class Placement:
    """Deep3D's alignment: `scale` of the photo, and the point of the photo (y up) that the reference's origin falls on."""

    width: int
    height: int
    scale: float
    centre: Float[np.ndarray, "2"]

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height of the scaled photo, cut down to whole pixels."""
        return int(self.width * self.scale), int(self.height * self.scale)

    @property
    def corner(self) -> tuple[int, int]:
        """Left and upper edge of the aligned picture in the scaled photo (cut off towards zero, as the official code does)."""
        w, h = self.resized
        left = w / 2 - SIDE / 2 + (self.centre[0] - self.width / 2) * self.scale
        up = h / 2 - SIDE / 2 + (self.height / 2 - self.centre[1]) * self.scale
        return int(left), int(up)

    def points(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Official landmarks (pixel centres whole, y up) of the photo in the aligned picture, y up."""
        w, h = self.resized
        middle = np.array([self.width / 2, self.height / 2])
        return (points - self.centre + middle) * self.scale - np.array([w / 2 - SIDE / 2, h / 2 - SIDE / 2])


def five_points(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "5 2"]:
    """Eyes (mean of their corners), nose tip and mouth corners of iBUG-68 points."""
    eyes = landmarks[[36, 42]] / 2 + landmarks[[39, 45]] / 2
    return np.concatenate((eyes, landmarks[[30, 48, 54]]))


def place_by_five(
    points: Float[np.ndarray, "5 2"], width: int, height: int, reference: Float[np.ndarray, "5 3"] = REFERENCE
) -> Placement:
    """Scaled-orthographic pose of the reference face (POS; DeMenthon and Davis 1995) by least squares, for points with y up.

    Errors: AlignmentError when the points collapse or are not finite.
    """
    system = np.concatenate((reference, np.ones((len(reference), 1))), 1).astype(np.float64)
    with np.errstate(all="ignore"):
        rows = np.linalg.pinv(system) @ points.astype(np.float64)
        scale = np.linalg.norm(rows[:3], axis=0).mean()
    if not np.isfinite(rows).all() or not scale > 1.0:
        raise AlignmentError(f"five landmarks span {scale:.2f} px per decimetre: the face is too small or collapsed")
    return Placement(width, height, float(DEEP3D_SCALE / scale), rows[3])


def align_by_five(photo: UInt8[np.ndarray, "h w 3"], placed: Placement) -> Aligned:
    """The aligned picture: the photo resized by PIL's bicubic filter and cut out, black beyond it.

    Only the part that shows is resized. Errors: AlignmentError when the picture would lie beside the photo.
    """
    (w, h), (left, up) = placed.resized, placed.corner
    x0, y0, x1, y1 = max(left, 0), max(up, 0), min(left + SIDE, w), min(up + SIDE, h)
    if x1 <= x0 or y1 <= y0:
        raise AlignmentError("the landmarks lie beside the photo")
    sx, sy = placed.width / w, placed.height / h
    reach = 2 * max(sy, 1.0) + 2
    top, bottom = max(int(y0 * sy - reach), 0), min(int(y1 * sy + reach), placed.height)
    rows = Image.fromarray(np.ascontiguousarray(photo[top:bottom]))
    # Across, then down, as PIL long did it: which comes first decides some last bits, and newer versions choose by cost.
    rows = rows.resize((x1 - x0, bottom - top), _BICUBIC, (x0 * sx, 0, min(x1 * sx, placed.width), bottom - top))
    part = rows.resize((x1 - x0, y1 - y0), _BICUBIC, (0, y0 * sy - top, x1 - x0, min(y1 * sy, placed.height) - top))
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[y0 - up : y1 - up, x0 - left : x1 - left] = np.asarray(part)
    return Aligned(picture, np.array([[1 / sx, 0, -left], [0, 1 / sy, -up]], np.float64))


def deep3d_alignment(photo: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "68 2"]) -> Aligned:
    """Deep3D's input for one face from its 68 landmarks in photo pixels. Errors: AlignmentError."""
    height, width = photo.shape[:2]
    five = five_points(landmarks.astype(np.float64)) - 0.5
    five[:, 1] = height - 1 - five[:, 1]
    return align_by_five(photo, place_by_five(five, width, height))


def ffhq_quad(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "4 2"]:
    """Corners of FFHQ's crop (Karras et al. 2019, appendix C): upper left, lower left, lower right, upper right.

    A square along the line through the eyes, turned by that through eyes and mouth; its half side is twice the distance of the
    eyes or 1.8 times that from eyes to mouth, whichever is larger. Errors: AlignmentError.
    """
    points = landmarks.astype(np.float64)
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    eyes, across = (left + right) / 2, right - left
    down = (points[48] + points[54]) / 2 - eyes
    x = across + np.array([down[1], -down[0]])
    length = np.hypot(*x)
    if not np.isfinite(length) or length < 1:
        raise AlignmentError("eyes and mouth lie on one point: the face is too small or collapsed")
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / length
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    return np.stack((centre - x - y, centre - x + y, centre + x + y, centre + x - y))


def ffhq_alignment(photo: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "68 2"]) -> Aligned:
    """FFHQ's crop of one face at `SIDE` pixels, shrunk by averaging, with the photo's edge repeated beyond it.

    The rectangle is FFHQ's; its padding (mirrored and blurred) and its detour over 4096 pixels are not repeated.
    Errors: AlignmentError.
    """
    quad = ffhq_quad(landmarks)
    right, down = (quad[3] - quad[0]) / SIDE, (quad[1] - quad[0]) / SIDE
    linear = np.linalg.inv(np.stack((right, down), 1))
    matrix = np.concatenate((linear, -(linear @ quad[0])[:, None]), 1)
    return Aligned(warp(photo, matrix, SIDE), matrix)
