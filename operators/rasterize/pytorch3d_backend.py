"""Rasterizer through pytorch3d, where it is installed."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from operators.rasterize.base import Fragments, check_input, usable

_BINS = 16 * 16
"""Bins of a picture in pytorch3d's coarse pass with its own choice of bin size."""
_BIN_BYTES = 2**30


def available() -> bool:
    """Whether pytorch3d can be imported."""
    try:
        import pytorch3d.renderer.mesh.rasterize_meshes  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return False
    return True


class Pytorch3dRasterizer:
    """pytorch3d's `rasterize_meshes` behind this project's conventions.

    It differs from the other backends where it must: a centre exactly on an edge belongs to no triangle, triangles of less
    than 1e-8 in NDC area (about 1e-4 px^2 at 256 px) are skipped, vertices are not snapped. Gradients flow into barycentrics
    and depth.

    Raises ImportError when pytorch3d is missing: it has no wheel and has to be built from source.
    """

    def __init__(self, near: float = 1e-3, cull_backfaces: bool = False, perspective: bool = True):
        if not available():
            raise ImportError(
                "rasterizer 'pytorch3d' needs the package pytorch3d, which has no wheel and must be built from source "
                "(its INSTALL.md); choose rasterizer 'numba' or 'auto' to do without"
            )
        self.near, self.cull_backfaces, self.perspective = near, cull_backfaces, perspective

    def __call__(
        self,
        vertices_px: Float[Tensor, "faces vertices 3"],
        triangles: Int[Tensor, "triangles 3"],
        height: int,
        width: int,
    ) -> Fragments:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes  # type: ignore[import-not-found]
        from pytorch3d.structures import Meshes  # type: ignore[import-not-found]

        check_input(vertices_px, triangles, height, width)
        if not len(vertices_px) or not len(triangles):
            shape = len(vertices_px), height, width
            nothing = vertices_px.new_zeros(*shape, 3), vertices_px.new_full(shape, float("inf"))
            return Fragments(torch.full(shape, -1, dtype=torch.int32, device=vertices_px.device), *nothing)
        fine = usable(vertices_px, self.near)
        corners = triangles.to(vertices_px.device).long()
        # A triangle whose corners are one vertex has no area and is skipped: this drops it whole and keeps all indices.
        kept = torch.where(fine[:, corners].all(-1, keepdim=True), corners, torch.zeros_like(corners))
        # NDC: +x left, +y up, [-1, 1] along the shorter side, so that pixel centres fall where ours are.
        short = min(height, width)
        x, y = ((size - 2 * vertices_px[..., k]) / short for k, size in enumerate((width, height)))
        placed = torch.where(fine[..., None], torch.stack((x, y, vertices_px[..., 2]), -1), vertices_px.new_ones(3))
        step = max(1, _BIN_BYTES // (4 * _BINS * len(corners)))
        parts = []
        for start in range(0, len(placed), step):
            part = slice(start, start + step)
            index, depth, weights, _ = rasterize_meshes(
                Meshes(placed[part], kept[part]),
                image_size=(height, width),
                blur_radius=0.0,
                faces_per_pixel=1,
                # No bin can hold more than every triangle: coarse-to-fine never overflows, whatever lies behind each other.
                max_faces_per_bin=len(corners),
                perspective_correct=self.perspective,
                cull_backfaces=self.cull_backfaces,
            )
            first = torch.arange(len(index), device=index.device)[:, None, None, None] * len(corners)
            parts.append((torch.where(index < 0, index, index - first)[..., 0].int(), weights[..., 0, :], depth[..., 0]))
        found, weights, depth = (torch.cat(values) for values in zip(*parts, strict=True))
        miss = found < 0
        return Fragments(found, weights.masked_fill(miss[..., None], 0.0), depth.masked_fill(miss, float("inf")))
