"""The surface of a worn mask: cloth under tension between its edges, over nose, mouth and chin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from operators.synthesize.worn.cuts import Cut, Placement, edges
from operators.synthesize.worn.head import Head, unit
from operators.synthesize.worn.membrane import relax, stencil, string

ROWS, COLUMNS = 49, 65
_SPACING_MM = (2.8, 3.2)
"""Between rows and between columns, roughly."""
_LEAST_MM = 1.2
_ROUNDS, _OVER = 70, 1.85
_WINDOW = 8


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


def lay_shell(head: Head, cut: Cut, placement: Placement) -> Shell:
    """A mask of that cut on that head."""
    top, bottom = edges(head, cut, placement, COLUMNS)
    u, v = np.linspace(-1, 1, COLUMNS), np.linspace(0, 1, ROWS)
    angles = top[None] * (1 - v)[:, None, None] + bottom[None] * v[:, None, None]
    angles[..., 0] *= 1 - cut.bow * 4 * (v * (1 - v))[:, None] * np.abs(u) ** 3
    directions = unit(angles)
    skin = head.skin(angles)
    near_edge = np.minimum(v, 1 - v)[:, None], (1 - np.abs(u))[None]
    inner = np.minimum(near_edge[0] * 6, 1) * np.minimum(near_edge[1] * 8, 1)
    bent = np.minimum(near_edge[0] * 4, 1) * np.minimum(near_edge[1] * 4, 1)
    gap = max(cut.gap_mm + placement.gap_mm, 0.8)
    air = np.where(np.abs(u)[None] > 0.99, cut.side_gap_mm, _LEAST_MM + (gap - _LEAST_MM) * inner)
    most = 1 / (skin + air + bent * (_under_stiff(skin, cut.stiff_mm) - skin))
    for row, follow in ((0, cut.wire), (-1, 0.5)):
        hull = string(directions[row], most[row])
        most[row] = 1 / (follow / most[row] + (1 - follow) / hull)
    for column in (0, -1):
        most[:, column] = string(directions[:, column], most[:, column])
    if cut.ridge_mm:
        middle = COLUMNS // 2
        line = string(directions[:, middle], most[:, middle])
        most[:, middle] = 1 / (1 / line + cut.ridge_mm * np.sin(np.pi * v**0.9) ** 1.1)
    w = np.minimum(most, 1 / (1 / most + 2 * cut.billow_mm * inner))
    # Under this pressure a sheet of that many rows bulges by about `billow_mm`.
    pressure = cut.billow_mm * 8 / (0.6 * ROWS**2) * most**2
    relax(w, most, stencil(directions, cut.across), pressure, _ROUNDS, _OVER)
    radius = 1 / w
    if cut.dome_mm:
        radius = radius + cut.dome_mm * (np.sin(np.pi * v) ** 0.8)[:, None] * np.clip(1 - u**2, 0, 1)[None] ** 0.8
    return measured(head.centre + directions * radius[..., None], radius - skin, directions)


def _under_stiff(skin: Float[np.ndarray, "rows columns"], radius_mm: float) -> Float[np.ndarray, "rows columns"]:
    """The skin as stiff cloth feels it: every point carries a parabola of that radius (a grey dilation, hence separable)."""
    out = skin
    shifts = np.arange(-_WINDOW, _WINDOW + 1)
    for axis, spacing in enumerate(_SPACING_MM):
        padded = np.pad(out, [(_WINDOW, _WINDOW) if a == axis else (0, 0) for a in range(2)], mode="edge")
        around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _WINDOW + 1, axis)
        out = (around - (shifts * spacing) ** 2 / (2 * radius_mm)).max(-1)
    return out


def measured(
    points: Float[np.ndarray, "rows columns 3"],
    air_mm: Float[np.ndarray, "rows columns"],
    outward: Float[np.ndarray, "rows columns 3"],
) -> Shell:
    """A shell from its points: directions along it, normals and lengths."""
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(down, across)
    # Where two edges meet at a flat angle, cells of the grid may be turned over.
    normals *= np.where((normals * outward).sum(-1, keepdims=True) < 0, -1, 1)
    x, y = (
        np.cumsum(np.insert(np.linalg.norm(np.diff(points, axis=axis), axis=-1), 0, 0, axis=axis), axis=axis) for axis in (1, 0)
    )
    cloth = np.stack((x - x[:, points.shape[1] // 2, None], y), -1)
    parts = (points, _unit(normals), _unit(across), _unit(down), cloth, air_mm)
    return Shell(*(part.astype(np.float32) for part in parts))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
