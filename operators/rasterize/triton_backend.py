"""Rasterizer on the GPU, written in Triton."""

from __future__ import annotations

import os
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from operators.rasterize.base import Fragments, check_input

_CHUNK_BYTES = 2**30
_MOST_FACES = 65535
"""Second dimension of a CUDA grid."""
_SMALL_BLOCK, _RESOLVE_BLOCK = 32, 256
_TILE_X, _TILE_Y = 8, 4
_WARPS, _HUGE_WARPS = 4096, (256, 32)


def available() -> bool:
    """Whether triton can be imported and there is a GPU for it (or its interpreter is switched on)."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return torch.cuda.is_available() or _interpreted()


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


class TritonRasterizer:
    """GPU backend. Gradients do not flow into barycentrics or depth (see `attributes.differentiable`).

    Vertices must lie on a CUDA device. Raises ImportError without triton or a GPU, ValueError for vertices on the CPU.
    Corners that are no vertices drop their triangle. Needs 8 bytes per pixel and per triangle of up to
    `_CHUNK_BYTES` worth of faces beyond its results.
    """

    def __init__(self, near: float = 1e-3, cull_backfaces: bool = False, perspective: bool = True):
        if not available():
            raise ImportError("rasterizer 'triton' needs the package triton and a CUDA device; choose 'numba' or 'auto'")
        self.near, self.cull_backfaces, self.perspective = near, cull_backfaces, perspective

    def __call__(
        self,
        vertices_px: Float[Tensor, "faces vertices 3"],
        triangles: Int[Tensor, "triangles 3"],
        height: int,
        width: int,
    ) -> Fragments:
        check_input(vertices_px, triangles, height, width)
        if not vertices_px.is_cuda and not _interpreted():
            raise ValueError(
                f"expected vertices on a CUDA device, got {vertices_px.device}: choose rasterizer 'numba' for the CPU"
            )
        vertices = vertices_px.detach().float().contiguous()
        corners = triangles.to(vertices.device).T.int().contiguous()
        n, device = len(vertices), vertices.device
        index = torch.empty(n, height, width, dtype=torch.int32, device=device)
        weights = torch.empty(n, height, width, 3, device=device)
        depth = torch.empty(n, height, width, device=device)
        per_face = 8 * (height * width + corners.shape[1])
        step = max(1, min(_MOST_FACES, _CHUNK_BYTES // per_face, (2**31 - 1) // max(corners.shape[1], 1)))
        for start in range(0, n, step):
            part = slice(start, start + step)
            self._draw(vertices[part], corners, index[part], weights[part], depth[part])
        return Fragments(index, weights, depth)

    def _draw(self, vertices: Tensor, corners: Tensor, index: Tensor, weights: Tensor, depth: Tensor) -> None:
        from operators.rasterize import triton_kernels

        kernels: Any = triton_kernels

        n, height, width = index.shape
        n_vertices, n_triangles = vertices.shape[1], corners.shape[1]
        capacity = max(n * n_triangles, 1)
        keys = torch.full((n, height, width), kernels.EMPTY_KEY, dtype=torch.int64, device=vertices.device)
        queues = torch.empty(2, capacity, dtype=torch.int32, device=vertices.device)
        lengths = torch.zeros(2, dtype=torch.int32, device=vertices.device)
        sizes = n_vertices, n_triangles, height, width, float(self.near)
        flags = {"PERSPECTIVE": bool(self.perspective), "enable_fp_fusion": False}
        if n_triangles:
            kernels.draw_small[(-(-n_triangles // _SMALL_BLOCK), n)](
                vertices, corners, keys, queues, lengths, n_vertices, n_triangles, capacity, height, width, float(self.near),
                CULL=bool(self.cull_backfaces), BLOCK=_SMALL_BLOCK, num_warps=1, **flags,
            )  # fmt: skip
            tile = {"TILE_X": _TILE_X, "TILE_Y": _TILE_Y, "num_warps": 1}
            for q, (programs, shares) in enumerate(((_WARPS, 1), _HUGE_WARPS)):
                grid = (min(programs, capacity), shares)
                kernels.draw_queued[grid](vertices, corners, keys, queues[q], lengths[q:], *sizes, **tile, **flags)
        kernels.resolve[(-(-height * width // _RESOLVE_BLOCK), n)](
            vertices, corners, keys, index, weights, depth, *sizes, BLOCK=_RESOLVE_BLOCK, num_warps=4, **flags
        )
