"""What holds a mask, and what is screwed to it: ear loops, head straps, filters. Small meshes of one colour each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from operators.synthesize.worn.head import Head, unit
from operators.synthesize.worn.membrane import string
from operators.synthesize.worn.shell import COLUMNS, ROWS, Shell

_STEPS, _AROUND = 28, 41
_PROFILE = np.radians(np.linspace(-90, 90, 5))
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A mesh of one colour (0-1): face frame, mm."""

    points: Float[np.ndarray, "points 3"]
    normals: Float[np.ndarray, "points 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    colour: RGB
    gloss: float = 0.0
    under_hair: bool = False


def _grid_triangles(rows: int, columns: int) -> np.ndarray:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1))).astype(np.int32)


SHELL_TRIANGLES = _grid_triangles(ROWS, COLUMNS)


def band(head: Head, start: np.ndarray, end: np.ndarray, width_mm: float, thick_mm: float, colour: RGB, under_hair: bool) -> Part:
    """A strap from one point to another along the skin, as a rounded ribbon."""
    ends = head.angles(np.stack((start, end)))
    t = np.linspace(0, 1, _STEPS)[:, None]
    angles = ends[0] + t * (ends[1] - ends[0])
    directions = unit(angles)
    most = 1 / (head.skin(angles) + 0.8 * thick_mm)
    most[0] = 1 / np.linalg.norm(start - head.centre)
    w = string(directions, most)
    line = head.centre + directions / w[:, None]
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    side = np.cross(along, directions)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    out = np.cross(side, along)
    sin, cos = np.sin(_PROFILE)[None, :, None], np.cos(_PROFILE)[None, :, None]
    points = line[:, None] + 0.5 * width_mm * sin * side[:, None] + thick_mm * (cos - 0.3) * out[:, None]
    normals = sin * side[:, None] * (thick_mm / width_mm) ** 0.5 + cos * out[:, None]
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
    triangles = _grid_triangles(_STEPS, len(_PROFILE))
    return Part(points.reshape(-1, 3), normals.reshape(-1, 3), triangles, colour, under_hair=under_hair)


def ear_loops(head: Head, shell: Shell, colour: RGB, width_mm: float, rng: np.random.Generator) -> list[Part]:
    """From the corners to the roots of the ears."""
    parts = []
    rise, fall = rng.uniform(16, 24), rng.uniform(12, 22)
    inset = 2
    for side, ear, column in ((-1, 234, inset), (1, 454, COLUMNS - 1 - inset)):
        root = head.landmarks[ear]
        top = root + np.array([side * 1.0, rise, -12.0])
        low = root + np.array([side * 0.5, -fall, -8.0])
        for start, end in ((shell.points[2, column], top), (shell.points[-3, column], low)):
            parts.append(band(head, start.astype(np.float64), end, width_mm, min(0.5 * width_mm, 1.3), colour, True))
    return parts


def head_straps(head: Head, shell: Shell, colour: RGB, width_mm: float, rng: np.random.Generator) -> list[Part]:
    """Two bands from the sides, one above the ears to the crown, one below them to the neck."""
    parts = []
    lift = rng.uniform(30, 44)
    for side, ear, column in ((-1, 234, 3), (1, 454, COLUMNS - 4)):
        root = head.landmarks[ear]
        up, down = root + np.array([side * 4.0, lift, -25.0]), root + np.array([-side * 2.0, -34.0, -25.0])
        for start, end in ((shell.points[16, column], up), (shell.points[-17, column], down)):
            parts.append(band(head, start.astype(np.float64), end, width_mm, 0.8, colour, False))
    return parts


def _lathe(centre: np.ndarray, axis: np.ndarray, profile: Float[np.ndarray, "n 2"], colour: RGB, gloss: float) -> Part:
    """A body of revolution: (radius, height along the axis) from the foot outwards and up, mm; sharp at every point."""
    one = np.cross((0.0, 1.0, 0.0), axis)
    one /= np.linalg.norm(one)
    turn = np.linspace(0, 2 * np.pi, _AROUND)
    ring = np.cos(turn)[:, None] * one + np.sin(turn)[:, None] * np.cross(axis, one)
    points, normals, triangles = [], [], []
    for k, (low, high) in enumerate(pairwise(profile)):
        step = high - low
        outward = step[1] * ring - step[0] * axis
        points += [centre + r * ring + h * axis for r, h in (low, high)]
        normals += [outward / max(float(np.hypot(*step)), 1e-9)] * 2
        triangles.append(_grid_triangles(2, _AROUND) + 2 * k * _AROUND)
    return Part(np.concatenate(points), np.concatenate(normals), np.concatenate(triangles), colour, gloss)


_FILTERS: tuple[tuple[RGB, RGB], ...] = (
    ((0.28, 0.29, 0.31), (0.80, 0.33, 0.50)), ((0.24, 0.25, 0.27), (0.42, 0.43, 0.46)), ((0.52, 0.53, 0.55), (0.86, 0.84, 0.80)),
)  # fmt: skip


def filters(shell: Shell, rng: np.random.Generator) -> list[Part]:
    """Two round cartridges on the cheeks of a half-mask respirator."""
    radius, deep = float(rng.uniform(25, 31)), float(rng.uniform(11, 16))
    body, face = _FILTERS[int(rng.integers(len(_FILTERS)))]
    rings = np.linspace(0.93, 0.0, 12) * radius
    front = np.stack((rings, deep + 1.0 + 0.9 * (np.arange(12) % 2) + 0.06 * (radius - rings)), 1)
    walls = np.array([(0.5, -4.0), (0.55, 5.0), (0.97, 5.5), (1.0, 7.0), (1.0, deep), (0.97, deep + 1.8), (0.93, deep + 1.0)])
    walls[:, 0] *= radius
    parts = []
    row = int(ROWS * 0.58)
    for column, side in ((int(COLUMNS * 0.24), -1), (COLUMNS - 1 - int(COLUMNS * 0.24), 1)):
        axis = np.array([side * 0.72, -0.22, 0.66])
        axis /= np.linalg.norm(axis)
        seat = shell.points[row, column].astype(np.float64) - 2 * axis
        parts += [_lathe(seat, axis, walls, body, 0.25), _lathe(seat, axis, front, face, 0.03)]
    return parts


_WHITE, _BLACK = (0.93, 0.93, 0.92), (0.13, 0.13, 0.14)
_ELASTIC: tuple[RGB, ...] = ((0.93, 0.80, 0.40), _WHITE, (0.25, 0.35, 0.62))


def accessories(head: Head, shell: Shell, kind: str, cut: str, with_straps: bool, rng: np.random.Generator) -> list[Part]:
    """Everything of a type of mask that is not cloth; `cut` is one of `cuts.CUTS`."""
    parts = filters(shell, rng) if cut == "gas" else []
    if not with_straps:
        return parts
    if cut == "gas":
        return parts + head_straps(head, shell, _BLACK, 9.0, rng)
    if cut == "n95":
        return head_straps(head, shell, _ELASTIC[int(rng.integers(len(_ELASTIC)))], 6.0, rng)
    dark = kind == "cloth" and rng.random() < 0.7
    width = rng.uniform(5, 9) if cut == "cloth_fitted" else rng.uniform(2.2, 3.2)
    return ear_loops(head, shell, _BLACK if dark else _WHITE, float(width), rng)
