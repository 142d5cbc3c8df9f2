"""The UV texture of a mesh: which point of the surface each texel shows, and where albedo lives at any surface point."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy import ndimage
from scipy.spatial import KDTree
from torch import Tensor

from operators.morphable.basis import FaceBasis
from operators.rasterize.numba_backend import NumbaRasterizer


class AlbedoModel:
    """Albedo of a basis at surface points, whether it lives on vertices or on texels."""

    def __init__(self, basis: FaceBasis, device: str = "cpu"):
        self.texture_px = basis.texture_px
        self.count = len(basis.albedo)
        stacked = np.concatenate((basis.albedo_mean[None], basis.albedo)).transpose(1, 2, 0)
        self.values = torch.as_tensor(np.ascontiguousarray(stacked, dtype=np.float32), device=device)
        self.triangles = torch.as_tensor(basis.triangles.astype(np.int64), device=device)
        self.uv = torch.as_tensor(basis.uv[basis.uv_triangles].astype(np.float32), device=device)

    def taps(
        self, triangle: Int[Tensor, " n"], barycentric: Float[Tensor, "n 3"]
    ) -> tuple[Int[Tensor, "n taps"], Float[Tensor, "n taps"]]:
        """Texels and weights whose sum is the albedo: three vertices, or four texels (bilinear)."""
        if not self.texture_px:
            return self.triangles[triangle], barycentric
        uv = (self.uv[triangle] * barycentric[..., None]).sum(1) * self.texture_px - 0.5
        low = uv.floor()
        part = uv - low
        last = self.texture_px - 1
        x0, y0 = (low[:, k].long().clamp(0, last) for k in (0, 1))
        x1, y1 = (low[:, k].long().add(1).clamp(0, last) for k in (0, 1))
        wx, wy = part.unbind(1)
        index = torch.stack((y0, y0, y1, y1), 1) * self.texture_px + torch.stack((x0, x1, x0, x1), 1)
        return index, torch.stack(((1 - wy) * (1 - wx), (1 - wy) * wx, wy * (1 - wx), wy * wx), 1)

    def at(self, triangle: Int[Tensor, " n"], barycentric: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 modes_and_mean"]:
        """Mean (first) and modes of the albedo at surface points."""
        index, weights = self.taps(triangle, barycentric)
        return sum(self.values[index[:, k]] * weights[:, k, None, None] for k in range(index.shape[1]))  # type: ignore[return-value]

    def at_vertices(self) -> Float[Tensor, "vertices 3 modes_and_mean"]:
        """Mean (first) and modes of the albedo at every vertex that a triangle uses; 0 elsewhere."""
        if not self.texture_px:
            return self.values
        flat = self.triangles.flatten()
        corner = torch.full((int(flat.max()) + 1,), -1, dtype=torch.int64, device=flat.device)
        corner[flat] = torch.arange(len(flat), device=flat.device)
        used = corner.clamp_min(0)
        values = self.at(used // 3, torch.nn.functional.one_hot(used % 3, 3).to(self.values.dtype))
        return values * (corner >= 0)[:, None, None]


class TextureAtlas:
    """A square texture of `px` pixels over the UV layout of a basis, worked on at the texels that a triangle covers.

    `texels` are the covered ones in row order of the texture; `corners`, `barycentric` name the surface point of each, and
    `mirror` the position, among them, of the reflected point. `source` is the covered texel nearest to every texel of the
    square, so that filtering never bleeds.
    """

    texels: Int[Tensor, " covered"]
    triangle: Int[Tensor, " covered"]
    corners: Int[Tensor, "covered 3"]
    barycentric: Float[Tensor, "covered 3"]
    mirror: Int[Tensor, " covered"]
    source: Int[Tensor, " texels"]
    albedo: Float[Tensor, "covered_rgb modes_and_mean"]

    def __init__(self, basis: FaceBasis, albedo: AlbedoModel, px: int, device: str = "cpu"):
        self.px = px
        flat = np.concatenate((basis.uv * px, np.ones((len(basis.uv), 1))), 1)
        fragments = NumbaRasterizer(perspective=False)(
            torch.as_tensor(flat[None], dtype=torch.float32), torch.as_tensor(basis.uv_triangles), px, px
        )
        covered = fragments.pix_to_face[0].numpy().ravel() >= 0
        texels = np.flatnonzero(covered)
        triangle = fragments.pix_to_face[0].numpy().ravel()[texels].astype(np.int64)
        weights = fragments.barycentric[0].reshape(-1, 3).numpy()[texels]
        corners = basis.triangles[triangle].astype(np.int64)
        place = (basis.mean[corners] * weights[..., None]).sum(1)
        slot = np.cumsum(covered) - 1
        rows, columns = np.asarray(
            ndimage.distance_transform_edt(~covered.reshape(px, px), return_distances=False, return_indices=True)
        )

        def put(array: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array), device=device)

        self.texels, self.triangle, self.corners, self.barycentric = put(texels), put(triangle), put(corners), put(weights)
        self.mirror = put(np.asarray(KDTree(place).query(place * [-1, 1, 1])[1], np.int64))
        self.source = put(slot[(rows * px + columns).ravel()])
        self.albedo = albedo.at(self.triangle, self.barycentric).flatten(0, 1).contiguous()

    def interpolate(self, values: Float[Tensor, "faces vertices channels"]) -> Float[Tensor, "faces covered channels"]:
        """Vertex values at the covered texels."""
        return sum(values[:, self.corners[:, k]] * self.barycentric[:, k, None] for k in range(3))  # type: ignore[return-value]

    def spread(self, values: Shaped[Tensor, "faces covered channels"]) -> Shaped[Tensor, "faces px px channels"]:
        """The whole texture; texels that no triangle covers repeat the nearest covered one."""
        return values[:, self.source].unflatten(1, (self.px, self.px))

    def on_grid(self, values: Float[Tensor, "faces covered channels"]) -> Float[Tensor, "faces channels px px"]:
        """The whole texture with 0 where no triangle is."""
        grid = values.new_zeros(len(values), self.px * self.px, values.shape[-1])
        grid[:, self.texels] = values
        return grid.unflatten(1, (self.px, self.px)).movedim(-1, 1)
