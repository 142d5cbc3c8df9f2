"""Rasterizer through pytorch3d, where it is installed."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from operators.rasterize.base import Fragments, check_input


def available() -> bool:
    """Whether pytorch3d can be imported."""
    try:
        import pytorch3d.renderer.mesh.rasterize_meshes  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return False
    return True


class Pytorch3dRasterizer:
    """pytorch3d's `rasterize_meshes` behind this project's conventions; its own edge rule, otherwise the same results.

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
        short = min(height, width)
        x = (width - 2 * vertices_px[..., 0]) / short
        y = (height - 2 * vertices_px[..., 1]) / short
        meshes = Meshes(torch.stack((x, y, vertices_px[..., 2]), -1), triangles.long().expand(len(vertices_px), -1, -1))
        index, depth, weights, _ = rasterize_meshes(
            meshes,
            image_size=(height, width),
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=self.perspective,
            cull_backfaces=self.cull_backfaces,
            z_clip_value=self.near,
        )
        index, depth, weights = index[..., 0], depth[..., 0], weights[..., 0, :]
        miss = index < 0
        first = torch.arange(len(vertices_px), device=index.device)[:, None, None] * len(triangles)
        return Fragments(
            torch.where(miss, index, index - first).int(),
            weights.masked_fill(miss[..., None], 0.0),
            depth.masked_fill(miss, float("inf")),
        )
