"""Edges of a face that several views agree on: found in renders of slightly turned heads, laid back on the photo's view.

An edge of one render may be there by chance of light, foreshortening or resampling. One that belongs to the surface (lips,
nostrils, lids, brows) is at the same place of the mesh in every view. So each view is drawn, its edges are found, and every pixel
of the photo's view asks the views that see its point of the surface whether an edge runs there.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num, UInt8
from torch import Tensor

from operators import masks
from operators.edges import canny
from operators.morphable import camera
from operators.morphable.draw import draw_textured
from operators.morphable.views import placed
from operators.rasterize.attributes import interpolate
from operators.rasterize.base import Fragments, Rasterizer

_SLACK = 0.02
"""A point is hidden in a view when something lies in front of it by more than this share of the head's depth."""
_MARGIN = 2.0
"""Edges nearer to a view's outline than so many Gaussians are the outline's: it is elsewhere on the surface in every view."""
Place = tuple[Float[Tensor, "faces 3 3"], Float[Tensor, "faces 3"], Float[Tensor, " faces"], int]


def edge_votes(
    vertices: Float[Tensor, "faces vertices 3"], triangles: Int[Tensor, "triangles 3"],
    corner_uv: Float[Tensor, "triangles 3 2"], textures: Num[Tensor, "faces px px 3"], place: Place,
    turns_deg: Float[Tensor, "views 2"], rasterizer: Rasterizer, sigma: float, samples: int = 2,
) -> UInt8[Tensor, "faces size size"]:  # fmt: skip
    """Share of the views (0 … 255) with an edge at most a pixel from each pixel's point, among those that see the point.

    `place` is rotation, translation, focal length and size of the photo's view, which votes, too; `turns_deg` are yaw and pitch
    by which the head is turned from it, as the viewer sees it, about its own middle. Faces are done one at a time on a CPU.
    """
    rotation, translation, focal, size = place
    together = len(vertices) if vertices.is_cuda else 1
    turns = torch.cat((turns_deg.new_zeros(1, 2), turns_deg))
    parts = zip(*(part.split(together) for part in (vertices, textures, rotation, translation, focal)), strict=True)
    found = []
    for points, own, turned_from, shift, to in parts:
        placed_points = _turned(points, turned_from, shift, to, size, turns)
        large = placed_points.flatten(0, 1) * points.new_tensor([samples, samples, 1.0])
        fragments = rasterizer(large, triangles, size * samples, size * samples)
        drawing = draw_textured(fragments, corner_uv, own.repeat_interleave(len(turns), 0), samples)
        edges, inside = _edges(drawing.picture(0).cpu().numpy(), (drawing.coverage > 0.5).cpu().numpy(), sigma)
        asked = rasterizer(placed_points[:, 0].contiguous(), triangles, size, size)
        depth = fragments.depth[:, samples // 2 :: samples, samples // 2 :: samples]
        maps = [torch.from_numpy(m).to(points.device).unflatten(0, (len(points), len(turns))) for m in (edges, inside)]
        found.append(_counted(placed_points, triangles, asked, depth.unflatten(0, (len(points), len(turns))), *maps))
    return torch.cat(found)


def _turned(
    points: Tensor, rotation: Tensor, translation: Tensor, focal: Tensor, size: int, turns: Tensor
) -> Float[Tensor, "faces views vertices 3"]:
    """Pixels and depth of every vertex in every view; the middle of the head stays where it is."""
    count, views = len(points), len(turns)
    angles = torch.stack((turns[:, 1], turns[:, 0], torch.zeros_like(turns[:, 0])), -1)
    turned = (camera.rotation_from_deg(angles)[None, :, :, :, None] * rotation[:, None, None]).sum(3)
    middle = (points.amin(1) + points.amax(1)) / 2
    moved = camera.camera_axes((rotation[:, None] - turned).flatten(0, 1)).unflatten(0, (count, views))
    shift = translation[:, None] + (moved * middle[:, None, None]).sum(-1)
    pictures = (turned.flatten(0, 1), shift.flatten(0, 1), focal.repeat_interleave(views), size)
    return placed(points, *pictures).unflatten(0, (count, views))


def _edges(
    pictures: UInt8[np.ndarray, "n h w 3"], covered: Bool[np.ndarray, "n h w"], sigma: float
) -> tuple[Bool[np.ndarray, "n h w"], Bool[np.ndarray, "n h w"]]:
    """Edges, a pixel wider to all sides, and where a view can have any: away from its outline."""
    inside = masks.erode(covered, _MARGIN * sigma)
    return masks.dilate(canny(pictures, sigma) & inside, 1.5), inside


def _counted(
    points: Float[Tensor, "faces views vertices 3"], triangles: Tensor, asked: Fragments, depth: Tensor, edges: Tensor,
    inside: Tensor,
) -> UInt8[Tensor, "faces size size"]:  # fmt: skip
    """For every pixel of the first view: how many views that see its point have an edge there."""
    faces, views, size = edges.shape[:3]
    hit = asked.pix_to_face >= 0
    face = torch.arange(faces, device=points.device)[:, None, None].expand_as(hit)
    votes, seen = (torch.zeros(hit.shape, dtype=torch.int32, device=points.device) for _ in range(2))
    slack = _SLACK * (points[:, 0, :, 2].amax(1) - points[:, 0, :, 2].amin(1))[:, None, None]
    for k in range(views):
        at = interpolate(points[:, k].contiguous(), asked, triangles)
        column, row = (at[..., i].floor().long() for i in (0, 1))
        within = hit & (column >= 0) & (column < size) & (row >= 0) & (row < size)
        pixel = (face, row.clamp(0, size - 1), column.clamp(0, size - 1))
        sees = within & inside[:, k][pixel] & (at[..., 2] <= depth[:, k][pixel] + slack)
        votes += sees & edges[:, k][pixel]
        seen += sees
    return (votes * 255 // seen.clamp_min(1)).to(torch.uint8)
