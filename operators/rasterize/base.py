"""The interface of every rasterizer, and the attributes interpolated from what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

MAX_SIDE_PX = 32768


@dataclass(frozen=True)
class Fragments:
    """What each pixel shows.

    `pix_to_face` is the triangle in front (-1 = none), `barycentric` its perspective-correct weights at the pixel's centre
    (0 where none), `depth` the camera depth Z there (inf where none).
    """

    pix_to_face: Int[Tensor, "faces height width"]
    barycentric: Float[Tensor, "faces height width 3"]
    depth: Float[Tensor, "faces height width"]


@runtime_checkable
class Rasterizer(Protocol):
    """Turns projected vertices into fragments; one set of triangles shared by all faces of the batch.

    Rules of every backend: a pixel belongs to a triangle when its centre (+0.5, +0.5) lies inside; a centre exactly on an
    edge belongs to the triangle for which that edge is a top or a left one, so that neighbours neither overlap nor leave
    gaps; the nearest fragment wins and on equal depth the triangle of smaller index; triangles with a vertex nearer than
    `near` or a coordinate that is not finite are dropped whole.
    """

    def __call__(
        self,
        vertices_px: Float[Tensor, "faces vertices 3"],
        triangles: Int[Tensor, "triangles 3"],
        height: int,
        width: int,
    ) -> Fragments:
        """`vertices_px` holds x and y in pixels and depth Z."""
        ...


def check_input(vertices_px: Tensor, triangles: Tensor, height: int, width: int) -> None:
    """ValueError that says what was received."""
    if vertices_px.ndim != 3 or vertices_px.shape[-1] != 3:
        raise ValueError(f"expected vertices faces vertices 3, got {tuple(vertices_px.shape)}")
    if triangles.ndim != 2 or triangles.shape[-1] != 3:
        raise ValueError(f"expected triangles n 3, got {tuple(triangles.shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"expected a picture of at least one pixel, got height {height}, width {width}")
    if max(height, width) > MAX_SIDE_PX:
        raise ValueError(f"expected a picture of at most {MAX_SIDE_PX} pixels a side, got height {height}, width {width}")
    if not triangles.is_cuda and len(triangles) and len(vertices_px):
        low, high = (int(x) for x in torch.aminmax(triangles))
        if low < 0 or high >= vertices_px.shape[1]:
            raise ValueError(f"expected corners in 0..{vertices_px.shape[1] - 1}, got {low}..{high}")


def interpolate(
    attributes: Float[Tensor, "faces vertices channels"], fragments: Fragments, triangles: Int[Tensor, "triangles 3"]
) -> Float[Tensor, "faces height width channels"]:
    """Vertex attributes at every pixel, 0 where no triangle is; differentiable by attributes and barycentrics."""
    face, corners, weights = covered(fragments, triangles)
    values = (attributes[face[:, None], corners] * weights[..., None]).sum(1)
    hit = fragments.pix_to_face >= 0
    out = attributes.new_zeros(*hit.shape, attributes.shape[-1])
    return out.index_put((hit,), values)


def covered(
    fragments: Fragments, triangles: Int[Tensor, "triangles 3"]
) -> tuple[Int[Tensor, " n"], Int[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Covered pixels in row order: the face of the batch, the triangle's corners and their weights."""
    hit = fragments.pix_to_face >= 0
    face = torch.nonzero(hit)[:, 0]
    return face, triangles.long()[fragments.pix_to_face[hit].long()], fragments.barycentric[hit]
