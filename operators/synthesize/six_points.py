"""The six face points that a mask template is hung on, and how far they say the face is turned (geometry of MaskTheFace)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

TURNED_DEG = 13.0
"""Beyond this angle a face takes a template drawn from the side."""

FARTHEST_PX = 1e6

_JAW, _LEFT_EYE, _RIGHT_EYE = slice(0, 17), slice(36, 42), slice(42, 48)
_BRIDGE_TOP, _BRIDGE_END = 27, 30
_LOWER_LIP = (54, 55, 56, 57, 58, 59, 48, 60, 67, 66, 65, 64)
_SLACK_PX = 1.0  # a crossing that misses a jaw segment by no more than this counts: the jaw is a polyline of whole pixels
_UPRIGHT = 0.1  # an exactly vertical line is tilted by this over its length, as the original does


@dataclass(frozen=True)
class SixPoints:
    """`points_px`: left, bridge, right on top, then right, chin, left below (a b c f e d); `angle_deg` > 0: nose to the
    viewer's left."""

    points_px: Float[np.ndarray, "6 2"]
    angle_deg: float

    @property
    def side(self) -> str:
        """The template that fits: `left` for a nose to the viewer's left, `right`, or `front`."""
        if self.angle_deg > TURNED_DEG:
            return "left"
        return "right" if self.angle_deg < -TURNED_DEG else "front"


def six_points(landmarks68_px: Float[np.ndarray, "68 2"]) -> SixPoints:
    """Six points and angle from iBUG-68 landmarks, in the landmarks' own pixels, float64.

    a, c: where the line through the eyes' middles, moved down by the nose's length, crosses the jaw. d, f: the same line
    moved down by as much as the lower lip's lowest point lies under the eyes' middle. b: middle of the nose bridge. e: mean
    of the jaw's crossings with the perpendicular on the eye line at half the nose's length and with the line from the bridge
    to the lower lip. The angle is that of the bridge minus that of the latter line.
    Where the jaw is not crossed an ellipse through it is, then the jaw points 0 and 16, 4 and 12, or 8 stand in. Landmarks
    that are not finite, or farther away than any picture is large, give NaN; nothing raises. Source: Anwar and Raychowdhury,
    "Masked face recognition for secure authentication", 2020, and its code.
    """
    p = np.asarray(landmarks68_px, np.float64)
    if p.shape != (68, 2):
        raise ValueError(f"expected 68 2 landmarks, got {p.shape}: pass one face's iBUG-68 points")
    if not (np.abs(p) < FARTHEST_PX).all():
        return SixPoints(np.full((6, 2), np.nan), float("nan"))
    jaw, left, right = p[_JAW], p[_LEFT_EYE].mean(0), p[_RIGHT_EYE].mean(0)
    between, bridge = (left + right) / 2, p[_BRIDGE_TOP]
    lip = p[list(_LOWER_LIP)]
    nose_px = p[_BRIDGE_END, 1] - bridge[1]

    eye_line = right - left
    a, c = _both_sides(jaw, left + _down(nose_px), eye_line, (0, 16))
    d, f = _both_sides(jaw, left + _down(lip[:, 1].max() - between[1]), eye_line, (4, 12))
    upright = np.array([-eye_line[1], eye_line[0]])
    through = between + _down(nose_px / 2) + upright
    across, down = _tilted(upright), _tilted(lip.mean(0) - bridge)
    below = [crossings(jaw, end, line) for end, line in ((through, across), (lip.mean(0), down))]
    hits = [found[0] for found in below if len(found)]
    e = np.mean(hits, axis=0) if hits else jaw[8]
    b = (bridge + p[_BRIDGE_END]) / 2
    return SixPoints(np.stack([a, b, c, f, e, d]), _degrees(_tilted(p[_BRIDGE_END] - bridge)) - _degrees(down))


def crossings(
    polyline: Float[np.ndarray, "n 2"], start: Float[np.ndarray, "2"], direction: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "hits 2"]:
    """Where an endless straight line crosses a polyline, in the polyline's order; segments reach one pixel beyond their box."""
    first, step = polyline[:-1], np.diff(polyline, axis=0)
    cross = step[:, 0] * direction[1] - step[:, 1] * direction[0]
    crossed = np.abs(cross) > 1e-12
    to = start - first
    t = (to[:, 0] * direction[1] - to[:, 1] * direction[0]) / np.where(crossed, cross, 1)
    hits = first + t[:, None] * step
    low, high = np.minimum(first, polyline[1:]) - _SLACK_PX, np.maximum(first, polyline[1:]) + _SLACK_PX
    return hits[crossed & ((hits >= low) & (hits <= high)).all(1)]


def _both_sides(
    jaw: np.ndarray, start: np.ndarray, direction: np.ndarray, instead: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    hits = crossings(jaw, start, direction)
    if len(hits) < 2 or np.array_equal(hits[0], hits[-1]):
        hits = _ellipse_crossings(jaw, start, direction)
    return (hits[0], hits[-1]) if len(hits) else (jaw[instead[0]], jaw[instead[1]])


def _ellipse_crossings(jaw: np.ndarray, start: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Where the line crosses the least-squares ellipse of the jaw, against and along `direction`; (0, 2) where it doesn't."""
    centre, size = jaw.mean(0), max(float(np.ptp(jaw, axis=0).max()), 1e-9)
    x, y = ((jaw - centre) / size).T
    conic, _, rank, _ = np.linalg.lstsq(np.stack([x * x, x * y, y * y, x, y], 1), np.ones(len(x)), rcond=None)
    a, b, c, d, e = conic
    if rank < 5 or b * b - 4 * a * c >= 0:
        return np.zeros((0, 2))
    (px, py), (ux, uy) = (start - centre) / size, direction / size
    square = a * ux * ux + b * ux * uy + c * uy * uy
    linear = 2 * a * px * ux + b * (px * uy + py * ux) + 2 * c * py * uy + d * ux + e * uy
    inside = linear**2 - 4 * square * (a * px * px + b * px * py + c * py * py + d * px + e * py - 1)
    if inside <= 0 or abs(square) < 1e-12:
        return np.zeros((0, 2))
    t = np.sort((-linear + np.array([-1, 1]) * np.sqrt(inside)) / (2 * square))
    hits = start + t[:, None] * direction
    return hits if np.abs(hits - centre).max() < 3 * size else np.zeros((0, 2))


def _down(by: float) -> np.ndarray:
    return np.array([0.0, by])


def _tilted(line: np.ndarray) -> np.ndarray:
    return line if line[0] != 0 else line - [_UPRIGHT, 0]


def _degrees(line: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(line[1], line[0])) % 180)
