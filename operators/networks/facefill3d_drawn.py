"""A face definition in 3DFaceFill's layout that needs nobody's data: half an ellipsoid with a nose, for benchmarks and tests."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from operators.networks.facefill3d_definition import COLUMNS, ROWS

MARGIN = 4
"""Empty texels around the layout."""
_RADII = np.array((75e3, 100e3, 80e3))
_REACH = np.radians((80.0, 70.0))
"""Half the ellipsoid's longitude and latitude that the face covers."""


def drawn_definition(across: int = 145, down: int = 367, modes: tuple[int, int] = (199, 29)) -> dict[str, Tensor]:
    """The files' arrays for a grid of `across` x `down` vertices, in micrometres; by default the official 53,215."""
    v, u = np.meshgrid(np.linspace(-1, 1, down), np.linspace(-1, 1, across), indexing="ij")
    u, v = u.ravel(), v.ravel()
    longitude, latitude = u * _REACH[0], -v * _REACH[1]
    face = np.stack((np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)), 1) * _RADII
    face[:, 2] += 18e3 * np.exp(-((face[:, 0] / 14e3) ** 2) - (face[:, 1] / 22e3) ** 2)
    triangles = _triangles(across, down)
    counts = sum(modes)
    arrays: dict[str, np.ndarray] = {
        "3DMM_tri.dat": triangles.T + 1,
        "3DMM_vertex_tri.dat": _around(triangles, len(u)),
        "3DMM_tri_2d.dat": _layout(across, down),
        "vertices_2d_u.dat": 1 + MARGIN + (v + 1) / 2 * (ROWS - 1 - 2 * MARGIN),
        "vertices_2d_v.dat": 1 + MARGIN + (u + 1) / 2 * (COLUMNS - 1 - 2 * MARGIN),
        "shape_para_mean.npy": 2e4 * np.cos(np.arange(counts)),
        "shape_para_std.npy": np.full(counts, 2e5),
    }
    waves = np.stack([_wave(u, v, i) for i in range(counts)]).reshape(counts, -1)
    arrays["3DMM_shape_basis.dat"] = np.concatenate((face.reshape(1, -1), waves[: modes[0]]))
    arrays["3DMM_exp_basis.dat"] = np.concatenate((np.zeros((1, face.size)), waves[modes[0] :]))
    return {
        name: torch.from_numpy(np.ascontiguousarray(values, np.int32 if values.dtype.kind == "i" else np.float32))
        for name, values in arrays.items()
    }


def _wave(u: np.ndarray, v: np.ndarray, i: int) -> np.ndarray:
    """A smooth mode: with a coefficient of one standard deviation it moves the skin by up to 2 mm, later ones by less."""
    height = 1e-2 / (1 + i / 8) * np.cos((1 + i % 5) * np.pi * u / 2 + i) * np.cos((1 + i // 5 % 5) * np.pi * v / 2 + 2 * i)
    return np.stack([height * (axis == i % 3) for axis in range(3)], 1)


def _triangles(across: int, down: int) -> np.ndarray:
    """Two for each cell of the grid, counter-clockwise from outside, upper left ones first in each cell."""
    first = (np.arange(down - 1)[:, None] * across + np.arange(across - 1)).ravel()
    right, below, both = first + 1, first + across, first + across + 1
    return np.stack((np.stack((first, below, right), 1), np.stack((right, below, both), 1)), 1).reshape(-1, 3)


def _around(triangles: np.ndarray, vertices: int) -> np.ndarray:
    """(8, vertices): the triangles of each vertex counted from 1, then 0."""
    corner, owner = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    order = np.argsort(corner, kind="stable")
    corner, owner = corner[order], owner[order]
    slot = np.arange(len(corner)) - np.searchsorted(corner, corner)
    listed = np.zeros((8, vertices), np.int64)
    listed[slot, corner] = owner + 1
    return listed


def _layout(across: int, down: int) -> np.ndarray:
    """The triangle of each texel counted from 1, 0 outside the grid."""
    row, column = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    at = (row - MARGIN) / (ROWS - 1 - 2 * MARGIN) * (down - 1), (column - MARGIN) / (COLUMNS - 1 - 2 * MARGIN) * (across - 1)
    inside = (at[0] >= 0) & (at[0] <= down - 1) & (at[1] >= 0) & (at[1] <= across - 1)
    i, j = np.clip(at[0].astype(int), 0, down - 2), np.clip(at[1].astype(int), 0, across - 2)
    lower = (at[0] - i) + (at[1] - j) > 1
    return np.where(inside, 2 * (i * (across - 1) + j) + lower + 1, 0)
