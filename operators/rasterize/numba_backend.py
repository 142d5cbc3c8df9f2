"""Rasterizer on the CPU, parallel over the faces of a batch."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from operators.rasterize import numba_kernels
from operators.rasterize.base import Fragments, check_input
from operators.threads import share


class NumbaRasterizer:
    """CPU backend. Threads: as many as torch uses. Gradients do not flow into barycentrics or depth.

    `cull_backfaces` drops triangles that turn clockwise as the viewer sees them.
    """

    def __init__(self, near: float = 1e-3, cull_backfaces: bool = False, perspective: bool = True):
        self.near, self.cull_backfaces, self.perspective = near, cull_backfaces, perspective

    def __call__(
        self,
        vertices_px: Float[Tensor, "faces vertices 3"],
        triangles: Int[Tensor, "triangles 3"],
        height: int,
        width: int,
    ) -> Fragments:
        check_input(vertices_px, triangles, height, width)
        vertices = np.ascontiguousarray(vertices_px.detach().cpu().numpy(), dtype=np.float32)
        a, b, c = np.ascontiguousarray(triangles.cpu().numpy().T, dtype=np.int32)
        n = len(vertices)
        index = np.empty((n, height, width), np.int32)
        weights = np.empty((n, height, 3 * width), np.float32)
        depth = np.empty((n, height, width), np.float32)
        near, cull, perspective = np.float32(self.near), bool(self.cull_backfaces), bool(self.perspective)

        def work(first: int, step: int) -> None:
            numba_kernels.rasterize(vertices, a, b, c, near, cull, perspective, index, weights, depth, first, step)

        share(work, n)
        shaped = index, weights.reshape(n, height, width, 3), depth
        return Fragments(*(torch.from_numpy(array).to(vertices_px.device) for array in shaped))
