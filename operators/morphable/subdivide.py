"""Smooth, interpolating, linear refinement of a coarse triangle mesh.

Each triangle is split in four at its edge midpoints, as often as asked. The old vertices keep their places and numbers; the
new ones are placed by the surface of least bending through the old (discrete thin plate: the bi-Laplacian of the mean mesh,
Botsch & Kobbelt 2004, "An intuitive framework for real-time freeform modeling"). The result is one fixed matrix, so that a
linear model on the coarse mesh is a linear model on the fine one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu


def midpoint_split(
    triangles: Int[np.ndarray, "triangles 3"], vertices: int
) -> tuple[Int[np.ndarray, "finer 3"], Int[np.ndarray, "edges 2"]]:
    """Triangles split in four, and the two end points of each new vertex (numbered after the old, in order of edges)."""
    corners = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1)
    edges, which = np.unique(np.sort(corners.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    ab, bc, ca = (which.reshape(-1, 3) + vertices).T
    a, b, c = triangles.T
    finer = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1).reshape(-1, 3)
    return finer.astype(triangles.dtype), edges


def boundary_edges(triangles: Int[np.ndarray, "triangles 3"]) -> Int[np.ndarray, "edges 2"]:
    """Edges that only one triangle has."""
    corners = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, count = np.unique(np.sort(corners, axis=1), axis=0, return_counts=True)
    return edges[count == 1]


def _laplacian(points: np.ndarray, triangles: np.ndarray) -> tuple[Any, np.ndarray]:
    """Cotangent Laplacian and the vertex areas (a third of the triangles around)."""
    n = len(points)
    rows, cols, values = [], [], []
    area = np.zeros(n)
    for corner in range(3):
        o, i, j = triangles[:, corner], triangles[:, (corner + 1) % 3], triangles[:, (corner + 2) % 3]
        u, v = points[i] - points[o], points[j] - points[o]
        double_area = np.linalg.norm(np.cross(u, v), axis=1)
        cotangent = 0.5 * (u * v).sum(1) / np.maximum(double_area, 1e-9)
        rows += [i, j]
        cols += [j, i]
        values += [cotangent, cotangent]
        np.add.at(area, o, double_area / 6)
    weights: Any = sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), (n, n)).tocsr()
    return (sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights).tocsr(), np.maximum(area, 1e-9)


def _boundary_laplacian(points: np.ndarray, edges: np.ndarray) -> Any:
    """Second differences along the open boundary, so that its curve is smooth by itself."""
    n = len(points)
    i, j = edges.T
    length = np.maximum(np.linalg.norm(points[i] - points[j], axis=1), 1e-9)
    value = 1 / length
    weights: Any = sparse.coo_matrix((np.r_[value, value], (np.r_[i, j], np.r_[j, i])), (n, n)).tocsr()
    return (sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights).tocsr()


def fair(
    points: Float[np.ndarray, "vertices 3"], triangles: Int[np.ndarray, "triangles 3"], known: Int[np.ndarray, " known"]
) -> Float[np.ndarray, "vertices known"]:
    """Matrix that spreads values at the known vertices over the mesh with the least bending (bi-Laplacian of `points`)."""
    result = np.zeros((len(points), len(known)))
    result[known, np.arange(len(known))] = 1
    free = np.setdiff1d(np.arange(len(points)), known)
    if len(free):
        stiffness, area = _laplacian(points, triangles)
        edges = boundary_edges(triangles)
        inside = np.ones(len(points))
        inside[edges.ravel()] = 0
        rim = _boundary_laplacian(points, edges)
        energy: Any = (stiffness.T @ sparse.diags(inside / area) @ stiffness + rim.T @ rim).tocsr()
        rows = energy[free]
        result[free] = splu(rows[:, free].tocsc()).solve(-rows[:, known].toarray())
    return result


class Refinement:
    """The finer mesh and the matrix that carries any per-vertex quantity to it.

    `triangles` (finer, 3); `smooth` (fine, coarse) for positions and modes; `linear` (fine, coarse) for UV coordinates, which
    must stay inside the coarse triangles. In both, the first rows are the identity. Triangles named in `membrane` (between
    the lips) do not bend with the rest: the surface is cut open there, and they are stretched flat over the cut.
    """

    def __init__(
        self,
        points: Float[np.ndarray, "vertices 3"],
        triangles: Int[np.ndarray, "triangles 3"],
        levels: int,
        membrane: Bool[np.ndarray, " triangles"] | None = None,
    ):
        coarse = len(points)
        cut = np.zeros(len(triangles), bool) if membrane is None else membrane
        linear: Any = sparse.identity(coarse, format="csr")
        parents = np.tile(np.arange(coarse)[:, None], 2)
        for _ in range(levels):
            triangles, edges = midpoint_split(triangles, linear.shape[0])
            cut = np.repeat(cut, 4)
            count = len(edges)
            half = sparse.coo_matrix(
                (np.full(2 * count, 0.5), (np.repeat(np.arange(count), 2), edges.ravel())), (count, linear.shape[0])
            )
            linear = sparse.vstack([linear, half.tocsr() @ linear]).tocsr()
            parents = np.concatenate([parents, edges])
        self.triangles = triangles
        self.linear: np.ndarray = linear.toarray()
        self.smooth: np.ndarray = np.zeros(linear.shape)
        used = np.union1d(np.unique(triangles[~cut]), np.arange(coarse))
        number = np.full(len(parents), -1)
        number[used] = np.arange(len(used))
        flat = linear @ np.asarray(points, np.float64)
        self.smooth[used] = fair(flat[used], number[triangles[~cut]], np.arange(coarse))
        for vertex in np.flatnonzero(number < 0):
            self.smooth[vertex] = self.smooth[parents[vertex]].mean(0)

    def mirror(self, coarse_mirror: Int[np.ndarray, " vertices"]) -> Int[np.ndarray, " fine"]:
        """Mirror partner of every fine vertex; the coarse triangulation must be symmetric."""
        keys = {tuple(np.flatnonzero(row)) + tuple(np.round(row[row > 0], 4)): i for i, row in enumerate(self.linear)}
        partner = np.empty(len(self.linear), np.int64)
        for i, row in enumerate(self.linear):
            used = np.flatnonzero(row)
            order = np.argsort(coarse_mirror[used])
            key = tuple(coarse_mirror[used][order]) + tuple(np.round(row[used][order], 4))
            if key not in keys:
                raise ValueError(f"fine vertex {i} has no mirror partner: the coarse triangles are not symmetric")
            partner[i] = keys[key]
        return partner
