"""The interface of every rasterizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MAX_SIDE_PX = 32768
SUBPIXEL = 4096
"""Vertices snap to 1 / SUBPIXEL px, so that edge functions are exact integers and shared edges watertight."""
LIMIT_PX = 65536.0
"""Triangles with a coordinate beyond +-LIMIT_PX are dropped: their edge functions could run out of int64."""
FAR = 1e18
"""Triangles with a vertex at this depth or beyond are dropped: their nearness could run out of float32."""


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

    Rules of every backend (pytorch3d_backend says where that one has to differ):

    Coverage    vertices snap to 1 / SUBPIXEL px (halves to even); edge functions are exact integers (Pineda 1988, "A parallel
                algorithm for polygon rasterization"). A pixel belongs to a triangle when its centre (+0.5, +0.5) lies
                inside. A centre exactly on an edge belongs to the triangle for which that edge is a left one, or a level
                one at its top: neighbours neither overlap nor leave gaps, whichever way each of them turns.
    Depth       the nearest fragment wins by its nearness, interpolated in float32: 1 / Z, which is linear in the picture, or
                -Z without perspective. Where that is equal the triangle of smaller index wins, in whatever order and on
                whatever hardware triangles are drawn.
    Weights     perspective-correct (w_i / Z_i over their sum), at the centre, of the snapped triangle: never negative.
    Dropped     whole triangles, never parts of them, when a vertex is nearer than `near`, not finite, or beyond LIMIT_PX or
                FAR; triangles without area; with `cull_backfaces` those that turn clockwise as the viewer sees them.

    The same mesh gives the same bits in any batch.
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


def usable(vertices_px: Float[Tensor, "faces vertices 3"], near: float) -> Bool[Tensor, "faces vertices"]:
    """Vertices whose triangles can be drawn: finite, not nearer than `near`, within LIMIT_PX and FAR."""
    x, y, z = vertices_px.detach().unbind(-1)
    return (z >= near) & (z.abs() < FAR) & (x.abs() < LIMIT_PX) & (y.abs() < LIMIT_PX)


def covered(
    fragments: Fragments, triangles: Int[Tensor, "triangles 3"]
) -> tuple[Int[Tensor, " n"], Int[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Covered pixels in row order: the face of the batch, the triangle's corners and their weights."""
    hit = fragments.pix_to_face >= 0
    face = torch.nonzero(hit)[:, 0]
    return face, triangles.long()[fragments.pix_to_face[hit].long()], fragments.barycentric[hit]
