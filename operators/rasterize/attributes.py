"""Vertex attributes at pixels, and fragments through which gradients reach the geometry."""

from __future__ import annotations

from typing import no_type_check

import numba
import torch
from jaxtyping import Float, Int
from torch import Tensor

from operators.rasterize.base import SUBPIXEL, Fragments, covered
from operators.threads import share


def interpolate(
    attributes: Float[Tensor, "faces vertices channels"], fragments: Fragments, triangles: Int[Tensor, "triangles 3"]
) -> Float[Tensor, "faces height width channels"]:
    """Vertex attributes at every pixel, 0 where no triangle is; differentiable by attributes and barycentrics.

    Plain float32 on the CPU takes a compiled path with the same bits.
    """
    weights = fragments.barycentric
    plain = attributes.dtype == weights.dtype == torch.float32 and attributes.device.type == weights.device.type == "cpu"
    if plain and not (torch.is_grad_enabled() and (attributes.requires_grad or weights.requires_grad)):
        return _compiled(attributes.detach(), fragments, triangles)
    face, corners, weights = covered(fragments, triangles)
    a, b, c = (attributes[face, corners[:, k]] * weights[:, k, None] for k in range(3))
    hit = fragments.pix_to_face >= 0
    return (a + b + c).new_zeros(*hit.shape, attributes.shape[-1]).index_put((hit,), a + b + c)


def differentiable(
    vertices_px: Float[Tensor, "faces vertices 3"],
    fragments: Fragments,
    triangles: Int[Tensor, "triangles 3"],
    perspective: bool = True,
    snap: bool = True,
) -> Fragments:
    """The same fragments with barycentrics and depth as functions of `vertices_px`; which triangle a pixel shows stays fixed.

    With `snap`, values are those of the rasterizer, which snaps vertices to 1 / SUBPIXEL px, and gradients those without
    snapping; without it, values belong to the vertices as given and may leave [0, 1] by a hair at edges. Silhouettes carry
    no gradient. Perspective-correct weights: Heckbert & Moreton 1991, "Interpolation for polygon texture mapping".
    """
    face, corners, _ = covered(fragments, triangles)
    hit = fragments.pix_to_face >= 0
    place = vertices_px[face[:, None], corners].double()
    xy, z = place[..., :2], place[..., 2]
    if snap:
        xy = xy + (torch.round(xy * SUBPIXEL) / SUBPIXEL - xy).detach()
    _, row, column = torch.nonzero(hit, as_tuple=True)
    x, y = (xy - torch.stack((column, row), -1)[:, None] - 0.5).unbind(-1)
    edges = torch.stack([x[:, i] * y[:, j] - y[:, i] * x[:, j] for i, j in ((1, 2), (2, 0), (0, 1))], -1)
    scaled = edges / z if perspective else edges
    total = scaled.sum(-1, keepdim=True)
    weights = scaled / total
    depth = (edges.sum(-1, keepdim=True) / total)[:, 0] if perspective else (weights * z).sum(-1)
    shape, kind = hit.shape, vertices_px.dtype
    return Fragments(
        fragments.pix_to_face,
        vertices_px.new_zeros(*shape, 3).index_put((hit,), weights.to(kind)),
        vertices_px.new_full(shape, torch.inf).index_put((hit,), depth.to(kind)),
    )


def _compiled(attributes: Tensor, fragments: Fragments, triangles: Tensor) -> Tensor:
    n, height, width = fragments.pix_to_face.shape
    out = torch.empty(n, height, width, attributes.shape[-1])
    values, corners = attributes.contiguous().numpy(), triangles.cpu().int().contiguous().numpy()
    index, weights = fragments.pix_to_face.contiguous().numpy(), fragments.barycentric.detach().contiguous().numpy()
    share(lambda first, step: _gather(values, corners, index, weights, out.numpy(), first, step), n)
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _gather(values, corners, index, weights, out, first, step):
    for f in range(first, index.shape[0], step):
        for y in range(index.shape[1]):
            for x in range(index.shape[2]):
                t = index[f, y, x]
                if t < 0:
                    for k in range(out.shape[3]):
                        out[f, y, x, k] = 0
                    continue
                a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
                wa, wb, wc = weights[f, y, x, 0], weights[f, y, x, 1], weights[f, y, x, 2]
                for k in range(out.shape[3]):
                    out[f, y, x, k] = values[f, a, k] * wa + values[f, b, k] * wb + values[f, c, k] * wc
