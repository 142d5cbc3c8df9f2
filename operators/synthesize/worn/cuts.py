"""How masks are cut, and where their edges run on a face."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from operators.synthesize.worn.head import Head, mirrored_landmarks

_MOUTH = 0
_SINK_MM = 7.0
"""How far the lower corners follow the upper edge down, per unit of height below the nose."""


@dataclass(frozen=True)
class Knot:
    """A point of an edge: its place from the middle (0) to the side (1), `share` of the way between two landmarks of the
    viewer's left, and an offset in mm (x outwards, y up, z forward)."""

    place: float
    first: int
    second: int
    share: float
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


_TOP: dict[float, tuple[Knot, ...]] = {
    -1.0: (
        Knot(0.0, 6, 168, 0.5), Knot(0.16, 193, 122, 0.6), Knot(0.4, 119, 230, 0.5), Knot(0.7, 111, 117, 0.2),
        Knot(1.0, 116, 227, 0.5),
    ),
    0.0: (
        Knot(0.0, 195, 197, 0.6), Knot(0.16, 174, 188, 0.6), Knot(0.4, 119, 101, 0.35), Knot(0.7, 117, 123, 0.6),
        Knot(1.0, 123, 137, 0.6),
    ),
    1.0: (
        Knot(0.0, 2, 164, 0.7), Knot(0.16, 98, 206, 0.25, (0.0, -3.0, 0.0)), Knot(0.4, 36, 205, 0.8), Knot(0.7, 123, 147, 0.4),
        Knot(1.0, 137, 177, 0.35, (0.0, 0.0, 8.0)),
    ),
    2.0: (
        Knot(0.0, 200, 18, 0.3), Knot(0.16, 18, 202, 0.5, (0.0, -6.0, 0.0)), Knot(0.4, 202, 210, 0.7), Knot(0.7, 192, 135, 0.4),
        Knot(1.0, 215, 177, 0.3),
    ),
}  # fmt: skip
"""Upper edges by height: towards the eyes, on the bridge of the nose, under the nose, on the chin."""
_BOTTOM = (
    Knot(0.0, 152, 152, 0.0, (0.0, -4.0, -16.0)), Knot(0.3, 148, 176, 0.6, (0.0, -5.0, -14.0)),
    Knot(0.62, 150, 136, 0.5, (0.0, -4.0, -8.0)), Knot(1.0, 215, 138, 0.4, (2.0, -2.0, 0.0)),
)  # fmt: skip
_JITTERED = 9


@dataclass(frozen=True)
class Cut:
    """How a type of mask is cut; lengths in mm.

    `top_side` and `bottom_side` move the corners from those of a surgical mask (x outwards, y up, z forward), `bottom_mm` the
    middle of the lower edge. `gap_mm` is the air under the cloth, `side_gap_mm` that under its sides, `billow_mm` how far it
    stands off where nothing pushes it, `dome_mm` the height of a stiff cup, `ridge_mm` that of a fold down the middle.
    `across` is the share of the tension from side to side, `wire` how well the upper edge follows the nose, `bow` how far the
    sides curve inwards (share of the half width), `stiff_mm` the smallest radius to which the cloth bends, `loose` how much
    the place of its sides varies.
    """

    top_side: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bottom_side: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bottom_mm: float = 0.0
    gap_mm: float = 2.5
    side_gap_mm: float = 3.0
    billow_mm: float = 6.0
    dome_mm: float = 0.0
    ridge_mm: float = 0.0
    across: float = 0.4
    wire: float = 0.7
    bow: float = 0.0
    stiff_mm: float = 30.0
    loose: float = 1.0


CUTS: dict[str, Cut] = {
    "surgical": Cut(bow=0.03),
    "cloth_fitted": Cut(
        top_side=(1.0, 2.0, -14.0), bottom_side=(2.0, 8.0, -14.0), gap_mm=2.0, side_gap_mm=1.2, billow_mm=2.0, ridge_mm=4.0,
        across=0.5, wire=0.35, bow=0.06, stiff_mm=18.0,
    ),
    "cloth_pleated": Cut(side_gap_mm=2.5, billow_mm=4.0, wire=0.45),
    "kn95": Cut(
        top_side=(-1.0, 1.0, 2.0), bottom_side=(-2.0, 7.0, 4.0), bottom_mm=1.0, gap_mm=3.0, side_gap_mm=2.0, billow_mm=2.0,
        ridge_mm=15.0, across=0.5, wire=0.8,
    ),
    "n95": Cut(
        top_side=(-18.0, -13.0, 23.0), bottom_side=(-13.0, 3.0, 25.0), bottom_mm=4.0, gap_mm=4.0, side_gap_mm=1.5, billow_mm=5.0,
        dome_mm=15.0, wire=0.75, bow=-0.12, stiff_mm=60.0, loose=0.5,
    ),
    "gas": Cut(
        top_side=(-9.0, -8.0, 14.0), bottom_side=(-6.0, 6.0, 18.0), bottom_mm=5.0, gap_mm=7.0, side_gap_mm=2.0, billow_mm=6.0,
        dome_mm=16.0, bow=-0.10, stiff_mm=60.0, loose=0.3,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """How one mask sits: `height` of the upper edge (0 bridge of the nose, 1 under it, 2 chin), tilt, scale, more air under the
    cloth, how far its sides stay in front of the ears, and shifts of the edges' points (up, forward), mm."""

    height: float = 0.0
    tilt_deg: float = 0.0
    size: float = 1.0
    gap_mm: float = 0.0
    narrow_mm: float = 0.0
    jitter_mm: Float[np.ndarray, "18 2"] = field(default_factory=lambda: np.zeros((18, 2)))


def edges(
    head: Head, cut: Cut, placement: Placement, columns: int
) -> tuple[Float[np.ndarray, "columns 2"], Float[np.ndarray, "columns 2"]]:
    """Directions of the upper and the lower edge from the head's centre, degrees, from the viewer's left to the right."""
    heights = sorted(_TOP)
    height = min(max(placement.height, heights[0]), heights[-1])
    above = max(h for h in heights[:-1] if h <= height)
    below = heights[heights.index(above) + 1]
    share = (height - above) / (below - above)
    narrow = np.array((-0.3, 0.0, 1.0)) * placement.narrow_mm

    top_side, bottom_side = np.array(cut.top_side) + narrow, np.array(cut.bottom_side) + narrow
    upper = [(1 - share) * a + share * b for a, b in zip(_points(head, _TOP[above]), _points(head, _TOP[below]), strict=True)]
    places = np.array([knot.place for knot in _TOP[above]])
    upper = [side + _outward(places**1.5, top_side, sign) for side, sign in zip(upper, (-1, 1), strict=True)]
    low_places = np.array([knot.place for knot in _BOTTOM])
    fade = low_places**1.5
    sunk = bottom_side - (0.0, _SINK_MM * max(placement.height - 1, 0), 0.0)
    lower = [side + _outward(fade, sunk, sign) for side, sign in zip(_points(head, _BOTTOM), (-1, 1), strict=True)]
    for side in lower:
        side[:, 1] += cut.bottom_mm * (1 - fade)
    jitter = placement.jitter_mm
    return (
        _edge(head, places, upper, jitter[:_JITTERED], placement, columns),
        _edge(head, low_places, lower, jitter[_JITTERED:], placement, columns),
    )


@lru_cache(maxsize=1)
def _mirror() -> np.ndarray:
    return mirrored_landmarks()


def _points(head: Head, knots: tuple[Knot, ...]) -> list[np.ndarray]:
    """Knots on the viewer's left and right side of the face, mm."""
    first, second = (np.array([getattr(knot, name) for knot in knots]) for name in ("first", "second"))
    share, offset = np.array([[knot.share] for knot in knots]), np.array([knot.offset for knot in knots])
    sides = []
    for sign, a, b in ((-1, first, second), (1, _mirror()[first], _mirror()[second])):
        sides.append((1 - share) * head.landmarks[a] + share * head.landmarks[b] + offset * (sign, 1, 1))
    return sides


def _outward(fade: np.ndarray, offset: np.ndarray, sign: int) -> np.ndarray:
    return fade[:, None] * (offset * (sign, 1, 1))


def _edge(
    head: Head, places: np.ndarray, sides: list[np.ndarray], jitter: np.ndarray, placement: Placement, columns: int
) -> Float[np.ndarray, "columns 2"]:
    """A smooth curve through the points of both sides, tilted and scaled about the mouth."""
    at = np.concatenate((-places[:0:-1], places))
    points = np.concatenate((sides[0][:0:-1], sides[1]))
    points[:, 1] += jitter[: len(points), 0]
    points[:, 2] += 0.5 * jitter[: len(points), 1] * np.abs(at)
    pivot = head.angles(head.landmarks[_MOUTH])
    turn = np.radians(placement.tilt_deg)
    tilt = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return CubicSpline(at, pivot + (head.angles(points) - pivot) * placement.size @ tilt)(np.linspace(-1, 1, columns))
