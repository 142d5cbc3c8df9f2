"""Surface samples as they fall into a photo: what they read there, what the model says, and how both change with the shape."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as nnf

from operators.morphable import camera
from operators.morphable.landmark_cost import LandmarkCost
from operators.morphable.light import sh_basis, sh_slope, shading_at, to_viewer
from operators.morphable.surface import SurfaceSamples

CHUNK = 16
"""Faces worked on together."""


Geometry = tuple[Float[Tensor, "faces modes"], Float[Tensor, "faces 3 3"], Float[Tensor, "faces 3"]]
"""Coefficients, rotation, translation."""


@dataclass(frozen=True)
class Maps:
    """Photos shrunk to `px` a side: colour, share of skin, and the colour's slope along x and y per pixel of the photo."""

    values: Float[Tensor, "faces 10 px px"]

    @staticmethod
    def of(photo: Float[Tensor, "faces height width 3"], skin: Float[Tensor, "faces height width"], px: int) -> Maps:
        full = torch.cat((photo.movedim(-1, 1), skin[:, None].to(photo.dtype)), 1)
        small = nnf.interpolate(full, size=(px, px), mode="area")
        around = nnf.pad(small[:, :3], (1, 1, 1, 1), mode="replicate")
        unit = 2 * photo.shape[1] / px
        by_x = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / unit
        by_y = (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]) / unit
        return Maps(torch.cat((small, by_x, by_y), 1))

    def read(self, place_px: Float[Tensor, "faces samples 2"], size: int | float) -> Float[Tensor, "faces samples 10"]:
        """Bilinear values at places in pixels of the photo, 0 outside it."""
        grid = place_px[:, None] / size * 2 - 1
        return nnf.grid_sample(self.values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, :, 0].mT


@dataclass(frozen=True)
class Sampled:
    """Unknowns of some faces and what follows from them at every sample; every field has the faces first."""

    coefficients: Float[Tensor, "faces modes"]
    rotation: Float[Tensor, "faces 3 3"]
    translation: Float[Tensor, "faces 3"]
    point: Float[Tensor, "faces samples 3"]
    across: Float[Tensor, "faces samples 3"]
    along: Float[Tensor, "faces samples 3"]
    own_normal: Float[Tensor, "faces samples 3"]
    stretch: Float[Tensor, "faces samples"]
    inside: Float[Tensor, "faces samples 3"]
    normal: Float[Tensor, "faces samples 3"]
    look: Float[Tensor, "faces samples 10"]
    albedo: Float[Tensor, "faces albedo"]
    light: Float[Tensor, "faces 9 3"]
    tint: Float[Tensor, "faces samples 3"]
    shading: Float[Tensor, "faces samples 3"]
    error: Float[Tensor, "faces samples"]

    @staticmethod
    def of(samples: SurfaceSamples, maps: Maps, geometry: Geometry, term: LandmarkCost, albedo: Tensor, light: Tensor) -> Sampled:
        """Placed, read from the photo, and shaded."""
        placed = samples.place(geometry[0])
        inside = camera.to_camera(placed.point, geometry[1], geometry[2])
        look = maps.read(camera.project_with_depth(inside, term.focal_px, term.size)[..., :2], term.size)
        normal = to_viewer(placed.normal, geometry[1])
        tint, shading = samples.tint(albedo), shading_at(sh_basis(normal), light)
        return Sampled(
            *geometry, placed.point, placed.across, placed.along, placed.normal, placed.stretch, inside, normal, look,
            albedo, light, tint, shading, (look[..., :3] - tint * shading).square().mean(-1),
        )  # fmt: skip

    def shaded(
        self, samples: SurfaceSamples, albedo: Float[Tensor, "faces albedo"], light: Float[Tensor, "faces 9 3"]
    ) -> Sampled:
        """The same samples of another colour."""
        tint, shading = samples.tint(albedo), shading_at(self.harmonics, light)
        error = (self.colour - tint * shading).square().mean(-1)
        return replace(self, albedo=albedo, light=light, tint=tint, shading=shading, error=error)

    @property
    def geometry(self) -> Geometry:
        return self.coefficients, self.rotation, self.translation

    @property
    def colour(self) -> Float[Tensor, "faces samples 3"]:
        return self.look[..., :3]

    @property
    def harmonics(self) -> Float[Tensor, "faces samples 9"]:
        return sh_basis(self.normal)

    def weight(self, facing: float) -> Float[Tensor, "faces samples"]:
        """1 where the sample faces the camera and lies wholly on visible skin."""
        return ((self.look[..., 3] > 0.98) & (self.normal[..., 2] > facing)).to(self.look.dtype)

    def where(self, better: Bool[Tensor, " faces"], new: Sampled) -> Sampled:
        """`new` where better, this elsewhere."""
        chosen = {}
        for item in fields(self):
            ours, theirs = getattr(self, item.name), getattr(new, item.name)
            chosen[item.name] = torch.where(better.reshape(-1, *[1] * (ours.ndim - 1)), theirs, ours)
        return Sampled(**chosen)


def geometry_jacobian(
    samples: SurfaceSamples, state: Sampled, term: LandmarkCost, mix: Float[Tensor, "faces samples 3"]
) -> Float[Tensor, "faces samples padded"]:
    """Derivative of  mix . (model - photo)  at the samples by (axis-angle update, translation, coefficients, zeros).

    `mix` weighs red, green and blue. The photo's part is its slope times the motion of the sample's projection; the model's
    part is its albedo times the change of shading as the normal turns. Zero columns pad to an aligned width.
    """
    axes = camera.camera_axes(state.rotation)
    slope = (state.look[..., 4:].unflatten(-1, (2, 3)) * mix[..., None, :]).sum(-1)
    projection = camera.projection_jacobian(state.inside, term.focal_px)
    by_inside = -(slope[..., None] * projection).sum(-2)
    by_normal = sh_slope(state.normal, (state.tint * mix)[..., None, :] * state.light[:, None])

    flip = axes.new_tensor([1.0, -1.0, -1.0])
    turned = (state.inside - state.translation[:, None]) * flip
    by_rotation = torch.linalg.cross(turned, by_inside * flip) + torch.linalg.cross(state.normal, by_normal)

    by_point = (by_inside[..., :, None] * axes[:, None]).sum(-2)
    by_own = (by_normal[..., :, None] * state.rotation[:, None]).sum(-2)
    by_own = (by_own - (by_own * state.own_normal).sum(-1, keepdim=True) * state.own_normal) / state.stretch[..., None]
    by_across = torch.linalg.cross(state.along, by_own)
    by_along = torch.linalg.cross(by_own, state.across)

    # Always as many faces: the bits of one must not depend on how many share its batch.
    nine = torch.cat((by_point, by_across, by_along), -1)
    nine = nnf.pad(nine, (0, 0, 0, 0, 0, -len(nine) % CHUNK)).transpose(0, 1).contiguous()
    J = torch.bmm(nine, samples.pose_and_modes)[:, : len(by_own)].transpose(0, 1).contiguous()
    J[..., :3], J[..., 3:6] = by_rotation, by_inside
    return J
