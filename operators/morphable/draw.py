"""Pictures of textured meshes: supersampled, edges blended."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num, UInt8
from torch import Tensor

from operators.rasterize.base import Fragments, Rasterizer
from operators.rasterize.textured import average_texture, blend


@dataclass(frozen=True)
class Drawing:
    """`colour` is the surface's own colour (not darkened towards the rim); `coverage` the share of the pixel it covers."""

    colour: Float[Tensor, "faces height width 3"]
    coverage: Float[Tensor, "faces height width"]

    def over(
        self, background: Float[Tensor, "*faces height width 3"], opacity: float = 1.0
    ) -> Float[Tensor, "faces height width 3"]:
        """The drawing laid over a background."""
        return background + (opacity * self.coverage)[..., None] * (self.colour - background)

    def picture(
        self, background: UInt8[Tensor, "faces height width 3"] | int, opacity: float = 1.0
    ) -> UInt8[Tensor, "faces height width 3"]:
        """`over` as bytes, on photos or on one grey level."""
        if isinstance(background, int):
            shape = (1, *self.colour.shape[1:])
            background = torch.full(shape, background, dtype=torch.uint8, device=self.colour.device)
        if self.colour.is_cuda or self.colour.requires_grad:
            return to_uint8(self.over(background / 255, opacity))
        out = torch.empty(self.colour.shape, dtype=torch.uint8)
        colour, coverage, ground = (a.contiguous().numpy() for a in (self.colour, self.coverage, background))
        blend(colour, coverage, ground, opacity, out.numpy())
        return out


def supersampled(
    rasterizer: Rasterizer,
    vertices_px: Float[Tensor, "faces vertices 3"],
    triangles: Int[Tensor, "triangles 3"],
    size: int,
    by: int = 2,
) -> Fragments:
    """Fragments of a `size` x `size` picture at `by` times its resolution."""
    return rasterizer(vertices_px * vertices_px.new_tensor([by, by, 1.0]), triangles, size * by, size * by)


def draw_textured(
    fragments: Fragments,
    corner_uv: Float[Tensor, "triangles 3 2"],
    textures: Num[Tensor, "faces_or_one px px 3"],
    supersample: int = 2,
) -> Drawing:
    """Meshes with their textures, fragments averaged in blocks of `supersample` pixels.

    Textures are looked up bilinearly; floats in [0, 1] or bytes; one for each face, or one for all.
    """
    if not textures.is_cuda and not textures.requires_grad:
        return Drawing(*average_texture(fragments, corner_uv, textures, supersample))
    textures = textures / 255 if textures.dtype == torch.uint8 else textures
    hit = fragments.pix_to_face >= 0
    face = torch.nonzero(hit)[:, 0] % len(textures)
    uv = (corner_uv[fragments.pix_to_face[hit].long()] * fragments.barycentric[hit][..., None]).sum(1)
    colour = textures.new_zeros(*hit.shape, 3)
    colour[hit] = bilinear(textures, face, uv)
    summed = _block_sum(colour, supersample)
    count = _block_sum(hit[..., None].float(), supersample)
    return Drawing(summed / count.clamp_min(1), count[..., 0] / (supersample * supersample))


def bilinear(textures: Float[Tensor, "faces px px 3"], face: Int[Tensor, " n"], uv: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
    """Texture colours at uv in [0, 1], clamped at the rim."""
    px = textures.shape[1]
    flat = textures.reshape(-1, 3)
    place = (uv * px - 0.5).clamp(0, px - 1)
    low = place.floor().clamp_max(max(px - 2, 0))
    fx, fy = (place - low).unsqueeze(-1).unbind(1)
    first = (face * px + low[:, 1].long()) * px + low[:, 0].long()
    right, down = min(px - 1, 1), px * min(px - 1, 1)
    top = flat[first] * (1 - fx) + flat[first + right] * fx
    bottom = flat[first + down] * (1 - fx) + flat[first + down + right] * fx
    return top * (1 - fy) + bottom * fy


def _block_sum(image: Float[Tensor, "faces height width channels"], s: int) -> Tensor:
    if s == 1:
        return image
    n, h, w, c = image.shape
    return image.reshape(n, h // s, s, w // s, s, c).sum((2, 4))


def to_uint8(image: Float[Tensor, "*shape"]) -> Tensor:
    """[0, 1] to 0..255, rounded."""
    return (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
