"""3DFaceFill's picture formation: a posed face, its light, its UV picture, and the way from the photo there and back.

Formulas are those of the published code (github.com/human-analysis/3dfacefill), read from it; where its numbers depend on which
faces share a batch (ranges, the side that normals look to), here they are each face's own. Its frame is a square of 224 px with
x to the right and y up, pixel centres at whole numbers: a row is 224 - y - 1. Here, as everywhere in this project, y is down and
pixel centres lie at +0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from operators.networks.facefill3d_definition import FaceDefinition
from operators.networks.facefill3d_encoder import SIDE
from operators.rasterize import Rasterizer, interpolate

LEAST_SHADE = 0.5
"""Darker light than this is not divided by."""


def full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Half precision ends here: a coordinate needs more than 8 bits."""

    @wraps(function)
    def run(*given: Any) -> Any:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            return function(
                *(value.float() if isinstance(value, Tensor) and value.is_floating_point() else value for value in given)
            )

    return run


@dataclass(frozen=True)
class PosedFace:
    """Vertices in the 224 px frame (x, y down, depth; px), and unit normals: x right, y up, z to the viewer."""

    vertices_px: Float[Tensor, "faces vertices 3"]
    normals: Float[Tensor, "faces vertices 3"]

    @property
    def towards(self) -> Bool[Tensor, "faces vertices"]:
        """Vertices that look to the viewer; whether another part of the face hides them is not asked."""
        return self.normals[..., 2] > 0


def rotation_xyz(angles: Float[Tensor, "faces 3"]) -> Float[Tensor, "faces 3 3"]:
    """Rx(a) Ry(b) Rz(c), for column vectors; radians."""
    cos, sin = torch.cos(angles), torch.sin(angles)
    zero, one = torch.zeros_like(cos[:, 0]), torch.ones_like(cos[:, 0])

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, 1).unflatten(1, (3, 3))

    x = matrix(one, zero, zero, zero, cos[:, 0], -sin[:, 0], zero, sin[:, 0], cos[:, 0])
    y = matrix(cos[:, 1], zero, sin[:, 1], zero, one, zero, -sin[:, 1], zero, cos[:, 1])
    z = matrix(cos[:, 2], -sin[:, 2], zero, sin[:, 2], cos[:, 2], zero, zero, zero, one)
    return x @ y @ z


@full_precision
def posed(
    face: FaceDefinition,
    shape: Float[Tensor, "faces coefficients"],
    scale: Float[Tensor, " faces"],
    pose: Float[Tensor, "faces 5"],
) -> PosedFace:
    """The face where the encoder sees it: weak perspective, scale in px per unit of the definition."""
    vertices = face.mean + (shape @ face.modes).unflatten(1, (-1, 3))
    rotation = rotation_xyz(pose[:, :3] * (math.pi / 2))
    turned = (vertices @ rotation.mT) * scale[:, None, None]
    moved = 0.5 * (pose[:, 3:] + 1) * SIDE
    x = turned[..., 0] + moved[:, None, 0] + 0.5
    y = SIDE - (turned[..., 1] + moved[:, None, 1]) - 0.5
    depth = turned[..., 2].amax(1, keepdim=True) - turned[..., 2] + 1
    return PosedFace(torch.stack((x, y, depth), -1), normals(face, vertices) @ rotation.mT)


def normals(face: FaceDefinition, vertices: Float[Tensor, "faces vertices 3"]) -> Float[Tensor, "faces vertices 3"]:
    """Sums of the unit normals of the triangles that the definition lists for a vertex, made unit."""
    a, b, c = (vertices[:, face.triangles[:, k]] for k in range(3))
    flat = functional.normalize(torch.linalg.cross(b - a, c - a), dim=2)
    flat = functional.pad(flat, (0, 0, 0, 1))  # the triangle that means none
    summed = flat[:, face.vertex_triangles[:, 0]]
    for k in range(1, face.vertex_triangles.shape[1]):
        summed += flat[:, face.vertex_triangles[:, k]]
    return functional.normalize(summed, dim=2)


@full_precision
def shade(light: Float[Tensor, "faces 27"], normal: Float[Tensor, "faces 3 h w"]) -> Float[Tensor, "faces 3 h w"]:
    """Light reflected towards the viewer by a white surface: spherical harmonics of order 2 (Ramamoorthi & Hanrahan 2001)."""
    x, y, z = normal.unbind(1)
    first, second = 2 * math.pi / 3 * math.sqrt(3 / (4 * math.pi)), math.pi / 4 * 3 * math.sqrt(5 / (12 * math.pi))
    zonal = math.pi / 8 * math.sqrt(5 / (4 * math.pi))
    constant = torch.full_like(x, 1 / math.sqrt(4 * math.pi))
    bands = (
        *(constant, first * z, first * y, first * x, zonal * (2 * z * z - x * x - y * y)),
        *(second * y * z, second * x * z, second * x * y, second / 2 * (x * x - y * y)),
    )
    by_channel = light.unflatten(1, (3, 9))
    return sum(by_channel[:, :, k, None, None] * band[:, None] for k, band in enumerate(bands))  # type: ignore[return-value]


@full_precision
def sample(
    picture: Float[Tensor, "faces c h w"], vertices_px: Float[Tensor, "faces vertices 3"]
) -> Float[Tensor, "faces vertices c"]:
    """Bilinear values of a picture at its own pixel coordinates; its border goes on for ever."""
    size = vertices_px.new_tensor((picture.shape[3], picture.shape[2]))
    grid = 2 * vertices_px[:, None, :, :2] / size - 1
    return functional.grid_sample(picture, grid, padding_mode="border", align_corners=False)[:, :, 0].mT


class UvAtlas(nn.Module):
    """The UV picture of a face, 192 x 256, symmetric about column 127.5."""

    mapped: Bool[Tensor, "rows columns"]
    corners: Int[Tensor, "3 texels"]
    grid: Float[Tensor, "vertices 2"]

    def __init__(self, face: FaceDefinition):
        super().__init__()
        self.rows, self.columns = face.texel_triangle.shape
        corners = face.triangles[face.texel_triangle.clamp_min(0)].flatten(0, 1).T.contiguous()
        size = face.texel_of_vertex.new_tensor((self.columns, self.rows))
        self.register_buffer("mapped", face.texel_triangle >= 0, persistent=False)
        self.register_buffer("corners", corners, persistent=False)
        self.register_buffer("grid", 2 * (face.texel_of_vertex.flip(1) + 0.5) / size - 1, persistent=False)

    def unwrap(
        self, values: Float[Tensor, "faces vertices c"], weights: Shaped[Tensor, "faces vertices"] | None = None
    ) -> Float[Tensor, "faces c rows columns"]:
        """Weighted mean of each texel's three vertices, without barycentrics, as published; 0 where none counts."""
        ones = torch.ones_like(values[..., :1]) if weights is None else weights[..., None].to(values.dtype)
        both = torch.cat((values * ones, ones), 2).mT
        summed = both[..., self.corners[0]] + both[..., self.corners[1]] + both[..., self.corners[2]]
        summed = (summed * self.mapped.flatten()).unflatten(2, (self.rows, self.columns))
        return summed[:, :-1] / summed[:, -1:].clamp_min(1e-8)

    def wrap(self, picture: Float[Tensor, "faces c rows columns"]) -> Float[Tensor, "faces vertices c"]:
        """Bilinear values of a UV picture at the vertices."""
        grid = self.grid.expand(len(picture), 1, -1, -1)
        return functional.grid_sample(picture.float(), grid, padding_mode="border", align_corners=False)[:, :, 0].mT


@full_precision
def draw(
    colours: Float[Tensor, "faces vertices c"],
    counts: Bool[Tensor, "faces vertices"],
    vertices_px: Float[Tensor, "faces vertices 3"],
    face: FaceDefinition,
    rasterizer: Rasterizer,
    height: int,
    width: int,
) -> tuple[Float[Tensor, "faces c h w"], Bool[Tensor, "faces h w"]]:
    """Vertex colours as a picture, and where it shows the face; vertices that do not count give their share to the others.

    The rasterizer has no perspective and drops triangles that look away.
    """
    weight = counts[..., None].to(colours.dtype)
    drawn = interpolate(
        torch.cat((colours * weight, weight), 2), rasterizer(vertices_px, face.triangles, height, width), face.triangles
    )
    share = drawn[..., -1:]
    shown = share > 1e-3
    return torch.where(shown, drawn[..., :-1] / share.clamp_min(1e-3), 0.0).permute(0, 3, 1, 2), shown[..., 0]
