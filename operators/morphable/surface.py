"""Points spread over the surface of a model, with everything about them that is linear in its coefficients.

A fixed set of points makes photometric fitting dense linear algebra: position, tangents and albedo are shared matrices times
coefficients, and no pixel has to look up its triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.spatial import KDTree
from torch import Tensor

from operators.morphable.atlas import AlbedoModel
from operators.morphable.linear import pad_columns
from operators.morphable.model import LinearPoints, MorphableModel, rows_times
from operators.morphable.subdivide import boundary_edges

_REACH = 2.5
"""Neighbours further than this many standard deviations of the blur say nothing."""


@dataclass(frozen=True)
class PlacedSamples:
    """Samples in the face frame: places, the two tangents, and unit normals."""

    point: Float[Tensor, "faces samples 3"]
    across: Float[Tensor, "faces samples 3"]
    along: Float[Tensor, "faces samples 3"]
    normal: Float[Tensor, "faces samples 3"]
    stretch: Float[Tensor, "faces samples"]
    """Length of across x along."""


class SurfaceSamples:
    """About `count` vertices of the mean face, evenly spread, no two nearer than any left-out one is to them.

    `frame` holds place and two tangents of every sample, nine numbers linear in the coefficients; the tangents are those of the
    plane that fits the neighbourhood. Albedo is averaged over the same neighbourhood (Gaussian of the
    standard deviation `blur`, in outer eye distances), as a photo shrunk before sampling shows it.
    """

    frame: LinearPoints
    vertex: Int[Tensor, " samples"]
    albedo_mean: Float[Tensor, "samples 3"]
    albedo: Float[Tensor, "samples 3 modes"]
    channels: tuple[Float[Tensor, "samples padded"], ...]
    """`albedo` of each channel, and `rows` of all, with zero columns up to an aligned width (`linear.pad_columns`)."""
    rows: Float[Tensor, "samples_and_channels padded"]

    def __init__(self, model: MorphableModel, albedo: AlbedoModel, count: int, blur: float = 0.022):
        basis = model.basis
        mean, triangles = basis.mean.astype(np.float64), basis.triangles.astype(np.int64)
        sigma = blur * float(np.linalg.norm(np.subtract(*basis.mean[basis.landmarks68[[36, 45]]].mean(1))))
        area, normals = _areas_and_normals(mean, triangles)
        rim = mean[np.unique(boundary_edges(triangles))]
        usable = np.flatnonzero((area > 0) & (KDTree(rim).query(mean)[0] > 1.5 * sigma))
        chosen = np.sort(usable[farthest_points(mean[usable], min(count, len(usable)))])
        average, tangents = _stencils(mean, normals, area, chosen, sigma)
        shape, device, dtype = model.shape, model.device, model.dtype

        def put(array: Any) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype, device=device)

        linear = sparse.vstack([_pick(chosen, len(mean)), *tangents]).tocsr()
        flat = shape.modes.flatten(1).cpu().numpy()
        modes = (linear @ flat).reshape(3, len(chosen), 3, -1).transpose(1, 0, 2, 3)
        means = (linear @ mean).reshape(3, len(chosen), 3).transpose(1, 0, 2)
        self.frame = LinearPoints(put(means.reshape(-1, 3)), put(modes.reshape(len(chosen) * 3, 3, -1)), shape.identity)
        self.vertex = torch.as_tensor(chosen, device=device)
        colours = albedo.at_vertices().flatten(1).cpu().numpy()
        colours = (average @ colours).reshape(len(chosen), 3, -1)
        self.albedo_mean, self.albedo = put(colours[..., 0]), put(colours[..., 1:])
        self.channels = tuple(pad_columns(self.albedo[:, c]) for c in range(3))
        self.rows = pad_columns(self.albedo.flatten(0, 1))
        self._squares: Tensor | None = None
        self._modes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vertex)

    @property
    def pose_and_modes(self) -> Float[Tensor, "samples 9 padded"]:
        """Derivative of place, across and along by the coefficients, six zero columns before (room for a pose) and some after."""
        if self._modes is None:
            self._modes = pad_columns(torch.nn.functional.pad(self.frame.modes.reshape(len(self), 9, -1), (6, 0)))
        return self._modes

    @property
    def squares(self) -> Float[Tensor, "samples_and_channels pairs"]:
        """Products of every two albedo modes (upper triangle), so that weighted normal equations are one product."""
        if self._squares is None:
            modes = self.albedo.flatten(0, 1)
            row, column = torch.triu_indices(modes.shape[1], modes.shape[1], device=modes.device)
            self._squares = pad_columns(modes[:, row] * modes[:, column])
        return self._squares

    def tint(self, albedo: Float[Tensor, "faces modes"]) -> Float[Tensor, "faces samples 3"]:
        """Albedo of the samples."""
        return self.albedo_mean + rows_times(self.albedo.flatten(0, 1), albedo).unflatten(1, (-1, 3))

    def place(self, coefficients: Float[Tensor, "faces modes"]) -> PlacedSamples:
        """The samples of these faces."""
        frame = self.frame.at(coefficients).unflatten(1, (-1, 3))
        point, across, along = frame.unbind(2)
        normal = torch.linalg.cross(across, along)
        stretch = normal.square().sum(-1).sqrt().clamp_min(1e-12)
        return PlacedSamples(point, across, along, normal / stretch[..., None], stretch)


def farthest_points(points: Float[np.ndarray, "points 3"], count: int) -> Int[np.ndarray, " count"]:
    """Each next point is the one farthest from all before it; the first lies nearest the middle (Gonzalez 1985)."""
    chosen = np.empty(count, np.int64)
    chosen[0] = np.square(points - points.mean(0)).sum(1).argmin()
    distance = np.full(len(points), np.inf)
    for i in range(1, count):
        distance = np.minimum(distance, np.square(points - points[chosen[i - 1]]).sum(1))
        chosen[i] = distance.argmax()
    return chosen


def _areas_and_normals(mean: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c = (mean[triangles[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    normals, area = np.zeros_like(mean), np.zeros(len(mean))
    for k in range(3):
        np.add.at(normals, triangles[:, k], cross)
        np.add.at(area, triangles[:, k], np.linalg.norm(cross, axis=1) / 6)
    return area, normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


def _pick(chosen: np.ndarray, vertices: int) -> Any:
    return sparse.coo_matrix((np.ones(len(chosen)), (np.arange(len(chosen)), chosen)), (len(chosen), vertices))


def _stencils(
    mean: np.ndarray, normals: np.ndarray, area: np.ndarray, chosen: np.ndarray, sigma: float
) -> tuple[Any, tuple[Any, Any]]:
    """Sparse matrices over vertices: the Gaussian average, and the slopes of the weighted plane fit."""
    tree = KDTree(mean)
    near = tree.query(mean[chosen], 9)[1]
    lists = [np.union1d(ball, few) for ball, few in zip(tree.query_ball_point(mean[chosen], _REACH * sigma), near, strict=True)]
    rows = np.repeat(np.arange(len(chosen)), [len(x) for x in lists])
    cols = np.concatenate(lists).astype(np.int64)
    same_side = ((normals[chosen][rows] * normals[cols]).sum(1) > 0.5) | (cols == chosen[rows])
    rows, cols = rows[same_side], cols[same_side]
    offset = mean[cols] - mean[chosen][rows]
    axis = np.where(np.abs(normals[chosen][:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    across = np.cross(axis, normals[chosen])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    along = np.cross(normals[chosen], across)
    x, y = (offset * across[rows]).sum(1), (offset * along[rows]).sum(1)
    spread = np.maximum(sigma, np.sqrt(np.bincount(rows, (offset**2).sum(1)) / np.bincount(rows)))[rows]
    weight = area[cols] * np.exp(-0.5 * (offset**2).sum(1) / spread**2)
    design = np.stack((np.ones_like(x), x / sigma, y / sigma), 1)
    gram = np.zeros((len(chosen), 3, 3))
    np.add.at(gram, rows, weight[:, None, None] * design[:, :, None] * design[:, None, :])
    gram += 1e-6 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    slopes = np.einsum("nij,nj->in", np.linalg.inv(gram)[rows], weight[:, None] * design)[1:] / sigma

    def matrix(values: np.ndarray) -> Any:
        return sparse.coo_matrix((values, (rows, cols)), (len(chosen), len(mean))).tocsr()

    average = matrix(weight / np.bincount(rows, weight)[rows])
    return average, (matrix(slopes[0]), matrix(slopes[1]))
