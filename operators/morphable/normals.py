"""Vertex normals of triangle meshes: sums of the triangles' area vectors, made unit."""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from operators.threads import share


def vertex_normals(
    vertices: Float[Tensor, "faces vertices 3"], triangles: Int[Tensor, "triangles 3"]
) -> Float[Tensor, "faces vertices 3"]:
    """Unit normals, area-weighted, outward where triangles turn counter-clockwise seen from outside; 0 where no triangle is.

    Differentiable. A CPU tensor that needs no gradient takes a compiled loop instead.
    """
    if not vertices.is_cuda and not vertices.requires_grad:
        return torch.from_numpy(mesh_normals(vertices.numpy(), triangles.numpy()))
    a, b, c = (vertices[:, triangles[:, k]] for k in range(3))
    areas = torch.linalg.cross(b - a, c - a).transpose(0, 1).contiguous()
    summed = areas.new_zeros(vertices.shape[1], len(vertices), 3)
    for k in range(3):
        summed.index_add_(0, triangles[:, k], areas)
    return torch.nn.functional.normalize(summed.transpose(0, 1), dim=-1, eps=1e-20)


def mesh_normals(
    points: Float[np.ndarray, "faces vertices 3"], triangles: Int[np.ndarray, "triangles 3"]
) -> Float[np.ndarray, "faces vertices 3"]:
    """The same for arrays, in their own precision."""
    out = np.zeros(points.shape, points.dtype)
    given = np.ascontiguousarray(points), np.ascontiguousarray(triangles)
    share(lambda first, step: _normals(*given, out, first, step), len(out))
    return out


@numba.njit(cache=True, nogil=True)
@no_type_check
def _normals(points, triangles, out, first, step):
    for f in range(first, len(points), step):
        p, n = points[f], out[f]
        for t in range(len(triangles)):
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            ux, uy, uz = p[b, 0] - p[a, 0], p[b, 1] - p[a, 1], p[b, 2] - p[a, 2]
            vx, vy, vz = p[c, 0] - p[a, 0], p[c, 1] - p[a, 1], p[c, 2] - p[a, 2]
            x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            for v in (a, b, c):
                n[v, 0] += x
                n[v, 1] += y
                n[v, 2] += z
        for v in range(len(p)):
            length = np.sqrt(n[v, 0] * n[v, 0] + n[v, 1] * n[v, 1] + n[v, 2] * n[v, 2])
            if length > 1e-20:
                n[v, 0] /= length
                n[v, 1] /= length
                n[v, 2] /= length
