"""The surface of a worn mask: where its rim runs on the face, and cloth under tension between."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from operators.synthesize.worn.head import Head, mirrored_landmarks, unit
from operators.synthesize.worn.membrane import relax, stencil, string

ROWS, COLUMNS = 49, 65

Knot = tuple[float, int, int, float, tuple[float, ...]]
"""Place along the rim from the middle (0) to the side (1), two landmarks of the viewer's left, how far from the first to the
second, and an offset in mm (its x counts outwards)."""

_MIRROR = mirrored_landmarks()

_TOP: dict[float, tuple[Knot, ...]] = {
    -1.0: ((0.0, 6, 168, 0.5, (0.0, 0.0, 0.0)), (0.16, 193, 122, 0.6, (0.0, 0.0, 0.0)), (0.4, 119, 230, 0.5, (0.0, 0.0, 0.0)),
           (0.7, 111, 117, 0.2, (0.0, 0.0, 0.0)), (1.0, 116, 227, 0.5, (0.0, 0.0, 0.0))),
    0.0: ((0.0, 195, 197, 0.6, (0.0, 0.0, 0.0)), (0.16, 174, 188, 0.6, (0.0, 0.0, 0.0)), (0.4, 119, 101, 0.35, (0.0, 0.0, 0.0)),
          (0.7, 117, 123, 0.6, (0.0, 0.0, 0.0)), (1.0, 123, 137, 0.6, (0.0, 0.0, 0.0))),
    1.0: ((0.0, 2, 164, 0.7, (0.0, 0.0, 0.0)), (0.16, 98, 206, 0.25, (0.0, -3.0, 0.0)), (0.4, 36, 205, 0.8, (0.0, 0.0, 0.0)),
          (0.7, 123, 147, 0.4, (0.0, 0.0, 0.0)), (1.0, 137, 177, 0.35, (0.0, 0.0, 8.0))),
    2.0: ((0.0, 200, 18, 0.3, (0.0, 0.0, 0.0)), (0.16, 18, 202, 0.5, (0.0, -6.0, 0.0)), (0.4, 202, 210, 0.7, (0.0, 0.0, 0.0)),
          (0.7, 192, 135, 0.4, (0.0, 0.0, 0.0)), (1.0, 215, 177, 0.3, (0.0, 0.0, 0.0))),
}  # fmt: skip
_BOTTOM: tuple[Knot, ...] = (
    (0.0, 152, 152, 0.0, (0.0, -4.0, -16.0)), (0.3, 148, 176, 0.6, (0.0, -5.0, -14.0)), (0.62, 150, 136, 0.5, (0.0, -4.0, -8.0)),
    (1.0, 215, 138, 0.4, (2.0, -2.0, 0.0)),
)  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """How a type of mask is cut. `top_side` and `bottom_side` are the corners, as offsets in mm from those of a surgical mask
    (x outwards, y up, z forward); `gap_mm` is the air under the cloth, `billow_mm` how far it stands off where nothing pushes it,
    `dome_mm` a stiff cup's height, `ridge_mm` that of a folded middle, `across` the tension from side to side as a share,
    `wire` how well the upper edge follows the nose, `bow` how far the sides curve inwards (share of the half width), `stiff_mm` the
    smallest radius to which the cloth bends, `loose` how much the place of its sides varies."""

    top_side: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bottom_side: tuple[float, float, float] = (0.0, 0.0, 0.0)
    top_mm: float = 0.0
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
        top_side=(1.0, 2.0, -14.0), bottom_side=(2.0, 8.0, -14.0), gap_mm=2.0, side_gap_mm=1.2, billow_mm=2.0, ridge_mm=4.0, wire=0.35,
        across=0.5, bow=0.06, stiff_mm=18.0,
    ),
    "cloth_pleated": Cut(gap_mm=2.5, side_gap_mm=2.5, billow_mm=4.0, wire=0.45),
    "kn95": Cut(
        top_side=(-1.0, 1.0, 2.0), bottom_side=(-2.0, 7.0, 4.0), bottom_mm=1.0, gap_mm=3.0, side_gap_mm=2.0, billow_mm=2.0, ridge_mm=15.0,
        wire=0.8, across=0.5,
    ),
    "n95": Cut(
        top_side=(-13.0, -12.0, 17.0), bottom_side=(-8.0, 4.0, 20.0), bottom_mm=4.0, gap_mm=4.0, side_gap_mm=1.5, billow_mm=5.0,
        dome_mm=15.0, wire=0.75, bow=-0.12, stiff_mm=60.0, loose=0.5,
    ),
    "gas": Cut(
        top_side=(-9.0, -8.0, 14.0), bottom_side=(-6.0, 6.0, 18.0), bottom_mm=5.0, gap_mm=7.0, side_gap_mm=2.0, billow_mm=6.0, dome_mm=16.0,
        wire=0.7, bow=-0.10, stiff_mm=60.0, loose=0.3,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """How one mask sits: `height` of the upper edge (0 bridge of the nose, 1 under it, 2 chin), tilt, scale, how far its
    sides stay in front of the ears, and random shifts of the rim, mm."""

    height: float = 0.0
    tilt_deg: float = 0.0
    size: float = 1.0
    gap_mm: float = 0.0
    narrow_mm: float = 0.0
    jitter_mm: Float[np.ndarray, "18 2"] = field(default_factory=lambda: np.zeros((18, 2)))


@dataclass(frozen=True)
class Shell:
    """A mask's surface, rows from the upper to the lower edge, columns from the viewer's left; face frame, mm.

    `cloth_mm` are lengths along the cloth from its middle column and its upper edge; `air_mm` the distance to the skin.
    """

    points: Float[np.ndarray, "rows columns 3"]
    normals: Float[np.ndarray, "rows columns 3"]
    across: Float[np.ndarray, "rows columns 3"]
    down: Float[np.ndarray, "rows columns 3"]
    cloth_mm: Float[np.ndarray, "rows columns 2"]
    air_mm: Float[np.ndarray, "rows columns"]


def _knot(head: Head, knot: Knot, extra: tuple[float, ...], right: bool) -> np.ndarray:
    _, one, two, share, offset = knot
    a, b = (int(_MIRROR[one]), int(_MIRROR[two])) if right else (one, two)
    point = (1 - share) * head.landmarks[a] + share * head.landmarks[b]
    x, y, z = (o + e for o, e in zip(offset, extra, strict=True))
    return point + np.array([x if right else -x, y, z])


def _top_keys(height: float) -> tuple[float, float, float]:
    heights = sorted(_TOP)
    h = min(max(height, heights[0]), heights[-1])
    low = max(k for k in heights[:-1] if k <= h)
    high = heights[heights.index(low) + 1]
    return low, high, (h - low) / (high - low)


def rims(head: Head, cut: Cut, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Directions (columns, 2) of the upper and the lower edge, degrees."""
    low, high, share = _top_keys(placement.height)
    narrow = np.array((-0.3, 0.0, 1.0)) * placement.narrow_mm
    top_side, bottom_side = (tuple((np.array(side) + narrow).tolist()) for side in (cut.top_side, cut.bottom_side))
    u = np.linspace(-1, 1, COLUMNS)
    edges = []
    for upper in (True, False):
        knots, angles = [], []
        count = len(_BOTTOM) if not upper else len(_TOP[low])
        for right in (False, True):
            for k in range(count):
                if k == 0 and right:
                    continue
                if upper:
                    one, two = _TOP[low][k], _TOP[high][k]
                    fade = (one[0]) ** 1.5
                    extra = tuple(fade * s + (cut.top_mm if i == 1 else 0) for i, s in enumerate(top_side))
                    point = (1 - share) * _knot(head, one, extra, right) + share * _knot(head, two, extra, right)
                    at = one[0]
                else:
                    one = _BOTTOM[k]
                    fade = one[0] ** 1.5
                    sink = 7.0 * max(placement.height - 1, 0) * fade
                    extra = tuple(
                        fade * s + (cut.bottom_mm * (1 - fade) - sink if i == 1 else 0) for i, s in enumerate(bottom_side)
                    )
                    point, at = _knot(head, one, extra, right), one[0]
                knots.append(at if right else -at)
                angles.append(point)
        order = np.argsort(knots)
        points = np.array(angles)[order]
        jitter = placement.jitter_mm[: len(points)] if upper else placement.jitter_mm[9 : 9 + len(points)]
        points[:, 1] += jitter[:, 0]
        points[:, 2] += 0.5 * jitter[:, 1] * np.abs(np.array(knots)[order])
        edges.append(CubicSpline(np.array(knots)[order], _turned(head, points, placement))(u))
    return edges[0], edges[1]


def _turned(head: Head, points: np.ndarray, placement: Placement) -> np.ndarray:
    """Directions of the rim's points after tilt and scale about the mouth."""
    angles = head.angles(points)
    pivot = head.angles(head.landmarks[0])
    turn = np.radians(placement.tilt_deg)
    shift = (angles - pivot) * placement.size
    return pivot + shift @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def lay_shell(head: Head, cut: Cut, placement: Placement) -> Shell:
    """Cloth between the two edges, under tension over nose, mouth and chin."""
    top, bottom = rims(head, cut, placement)
    u, v = np.linspace(-1, 1, COLUMNS), np.linspace(0, 1, ROWS)
    angles = top[None] * (1 - v)[:, None, None] + bottom[None] * v[:, None, None]
    bow = 1 - cut.bow * 4 * (v * (1 - v))[:, None] * np.abs(u) ** 3
    angles[..., 0] *= bow
    directions = unit(angles)
    skin = head.skin(angles)
    gap = max(cut.gap_mm + placement.gap_mm, 0.8)
    edge = np.minimum(np.minimum(v, 1 - v)[:, None] * 6, 1) * np.minimum((1 - np.abs(u))[None] * 8, 1)
    air = np.where(np.abs(u)[None] > 0.99, cut.side_gap_mm, 1.2 + (gap - 1.2) * edge)
    reach = np.minimum(np.minimum(v, 1 - v)[:, None] * 4, 1) * np.minimum((1 - np.abs(u))[None] * 4, 1)
    most = 1 / (skin + air + reach * (_capped(skin, cut.stiff_mm) - skin))
    for row, follow in ((0, cut.wire), (-1, 0.5)):
        hull = string(directions[row], most[row])
        most[row] = 1 / (follow / most[row] + (1 - follow) / hull)
    for column in (0, -1):
        most[:, column] = string(directions[:, column], most[:, column])
    w = most.copy()
    if cut.ridge_mm:
        middle = COLUMNS // 2
        line = string(directions[:, middle], most[:, middle])
        most[:, middle] = w[:, middle] = 1 / (1 / line + cut.ridge_mm * np.sin(np.pi * v**0.9) ** 1.1)
    weights = stencil(directions, cut.across)
    pressure = cut.billow_mm * 8 / (0.6 * ROWS**2) * most**2
    w = np.minimum(w, 1 / (1 / w + 2 * cut.billow_mm * edge))
    relax(w, most, weights, pressure, 70, 1.85)
    radius = 1 / w
    if cut.dome_mm:
        radius = radius + cut.dome_mm * (np.sin(np.pi * v) ** 0.8)[:, None] * np.clip(1 - u**2, 0, 1)[None] ** 0.8
    return measured(head.centre + directions * radius[..., None], radius - skin)


def _capped(skin: np.ndarray, radius_mm: float) -> np.ndarray:
    """The skin under stiff cloth: every point carries a parabola of that radius (a dilation, hence separable)."""
    out = skin
    for axis, spacing in ((0, 2.8), (1, 3.2)):
        padded = np.pad(out, [(8, 8) if a == axis else (0, 0) for a in range(2)], mode="edge")
        n = skin.shape[axis]
        shifted = [
            np.take(padded, np.arange(8 + k, 8 + k + n), axis=axis) - (k * spacing) ** 2 / (2 * radius_mm) for k in range(-8, 9)
        ]  # fmt: skip
        out = np.max(shifted, axis=0)
    return out


def measured(points: np.ndarray, air: np.ndarray) -> Shell:
    """A shell from its points."""
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(down, across)
    lengths = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    x = np.concatenate((np.zeros((len(points), 1)), np.cumsum(lengths, axis=1)), 1)
    x = x - x[:, points.shape[1] // 2, None]
    y = np.concatenate((np.zeros((1, points.shape[1])), np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=-1), axis=0)))
    parts = [_unit(a).astype(np.float32) for a in (normals, across, down)]
    return Shell(points.astype(np.float32), *parts, np.stack((x, y), -1).astype(np.float32), air.astype(np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
