"""The photo itself as evidence: albedo and light, and where asked for pose and shape, from samples of the visible surface.

Each surface sample is projected into the shrunken photo and reads colour and colour gradient there; the residual is the
photo minus albedo times light. Landmarks, priors and samples meet in one set of normal equations (maximum a posteriori by
damped Gauss-Newton). A triangle is looked up only to find which samples are hidden behind others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as nnf

from operators.morphable import camera
from operators.morphable.appearance import (
    LIGHT,
    AppearanceSettings,
    appearance_system,
    believable,
    fit_appearance,
    geman_mcclure,
    known_unknowns,
    light_cost,
    light_slope,
    robust_cost,
    robust_scale,
    volume,
    volume_slope,
)
from operators.morphable.landmark_cost import FaceState, LandmarkCost
from operators.morphable.light import light_precision
from operators.morphable.linear import normal_equations, pad_columns, solve_spd
from operators.morphable.model import MorphableModel
from operators.morphable.sampled import CHUNK, Geometry, Maps, Sampled, geometry_jacobian
from operators.morphable.surface import SurfaceSamples
from operators.rasterize.base import Rasterizer

_GPU_CHUNK = 256


@dataclass(frozen=True)
class PhotometricSettings:
    """`steps` on geometry, 0 = albedo and light alone; `px` side of the shrunken photo, `depth_px` of the depth map. Samples
    turned away further than `facing` (z of their normal) say nothing. `first` is how appearance is fitted before the first step,
    `joint` the samples' noise and robustness in the steps; `expected` is the residual, in that noise, that four fifths of the
    samples stay below when the model fits."""

    steps: int = 0
    px: int = 64
    depth_px: int = 96
    facing: float = 0.25
    expected: float = 0.6
    first: AppearanceSettings = field(default_factory=AppearanceSettings)
    joint: AppearanceSettings = field(default_factory=AppearanceSettings)


@dataclass(frozen=True)
class PhotometricFit:
    """Coefficients, pose, albedo and light per face; `cost` before and after the steps; `seen` samples per face."""

    coefficients: Float[Tensor, "faces modes"]
    rotation: Float[Tensor, "faces 3 3"]
    translation: Float[Tensor, "faces 3"]
    albedo: Float[Tensor, "faces albedo"]
    light: Float[Tensor, "faces 9 3"]
    inliers: Float[Tensor, "faces samples"]
    taken: Float[Tensor, " faces"]
    """Accepted steps."""


class PhotometricFitter:
    """Albedo, light and optionally geometry of many faces. `samples` must be those of `model`."""

    def __init__(
        self, model: MorphableModel, samples: SurfaceSamples, rasterizer: Rasterizer, light_mean: Float[Tensor, "9 3"],
        light_std: Float[Tensor, "9 3"], settings: PhotometricSettings = PhotometricSettings(),
    ):  # fmt: skip
        self.model, self.samples, self.rasterizer, self.settings = model, samples, rasterizer, settings
        self.light_mean, self.light_std = light_mean, light_std
        self.precision = light_precision(light_std, settings.joint.light_correlation)

    def __call__(
        self, photo: Float[Tensor, "faces height width 3"], skin: Float[Tensor, "faces height width"],
        start: Geometry, landmarks: LandmarkCost, fixed: Bool[Tensor, " faces"] | None = None,
    ) -> PhotometricFit:  # fmt: skip
        """`photo` in [0, 1]; `skin` 1 where the face itself shows, 0 elsewhere; `start` from the landmarks.

        Faces that are `fixed` keep their pose and shape.
        """
        parts = []
        fixed = torch.zeros(len(photo), dtype=torch.bool, device=photo.device) if fixed is None else fixed
        chunk = CHUNK if photo.device.type == "cpu" else _GPU_CHUNK
        for i in range(0, max(len(photo), 1), chunk):
            part = slice(i, i + chunk)
            maps = Maps.of(photo[part], skin[part], self.settings.px)
            geometry = (start[0][part], start[1][part], start[2][part])
            parts.append(self._fit(maps, geometry, landmarks[part], fixed[part]))
        names = PhotometricFit.__dataclass_fields__
        return PhotometricFit(**{name: torch.cat([getattr(p, name) for p in parts]) for name in names})

    def _fit(self, maps: Maps, geometry: Geometry, term: LandmarkCost, fixed: Tensor) -> PhotometricFit:
        seen = self.unhidden(geometry, term)
        blank = self.light_std.new_zeros(len(geometry[0]), self.samples.albedo.shape[-1])
        state = Sampled.of(self.samples, maps, geometry, term, blank, self.light_mean.expand(len(blank), -1, -1))
        first = fit_appearance(
            state.colour, seen * state.weight(self.settings.facing), state.normal, self.samples, self.light_mean,
            self.light_std, self.settings.first,
        )  # fmt: skip
        state = state.shaded(self.samples, first.albedo, first.light)
        taken = first.albedo.new_zeros(len(first.albedo))
        inliers = first.inliers
        if self.settings.steps and not fixed.all():
            state, inliers, taken = self._refine(maps, state, term, seen, fixed)
        return PhotometricFit(*state.geometry, state.albedo, state.light, inliers, taken)

    def unhidden(self, geometry: Geometry, term: LandmarkCost) -> Float[Tensor, "faces samples"]:
        """1 where no other part of the face lies in front of a sample."""
        px = self.settings.depth_px
        placed = self._place(geometry, term.focal_px, term.size, px)
        depth = self.rasterizer(placed, self.model.triangles, px, px).depth
        depth = torch.where(torch.isfinite(depth), depth, torch.zeros_like(depth))
        point = placed[:, self.samples.vertex]
        grid = point[:, None, :, :2] / px * 2 - 1
        front = nnf.grid_sample(depth[:, None], grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0, 0]
        z = placed[..., 2]
        margin = 0.03 * (z.amax(1) - z.amin(1))
        return ((point[..., 2] <= front + margin[:, None]) & (front > 0)).to(placed.dtype)

    def _place(self, geometry: Geometry, focal_px: Tensor, size: int | float, px: int) -> Float[Tensor, "faces vertices 3"]:
        """Every vertex in a picture of `px` a side, with its depth; by coordinates, as there are many."""
        corners = self.model.vertices(geometry[0]).unbind(-1)
        axes = camera.camera_axes(geometry[1])
        x, y, z = (
            sum(axes[:, i, k, None] * corners[k] for k in range(3)) + geometry[2][:, i, None] for i in range(3)
        )  # fmt: skip
        scale = focal_px[:, None] * (px / size) / torch.where(z > 0, z, torch.ones_like(z))
        return torch.stack((x * scale + px / 2, y * scale + px / 2, z), -1)

    def _refine(
        self, maps: Maps, state: Sampled, term: LandmarkCost, seen: Tensor, fixed: Tensor
    ) -> tuple[Sampled, Tensor, Tensor]:
        settings, joint = self.settings, self.settings.joint
        damping = seen.new_full((len(seen),), 1e-3)
        taken, inliers = torch.zeros_like(damping), torch.zeros_like(seen)
        known, noise = None, self._noise(state, seen)
        for _ in range(settings.steps):
            base = seen * believable(state.colour, state.weight(settings.facing))
            base = base * (base.sum(1, keepdim=True) >= joint.min_samples)
            scale = robust_scale(state.error, base > 0, joint.robust)
            inliers = geman_mcclure(state.error, scale) * (base > 0)
            share = base / base.sum(1, keepdim=True).clamp_min(1e-12)
            H, g, known = self._system(state, term, base * inliers / noise.square(), share, known)
            H.diagonal(dim1=1, dim2=2).mul_(1 + damping[:, None])
            step, solved = solve_spd(H, g)
            new = self._moved(maps, state, term, step)
            before, after = (self._cost(s, term, base, scale, noise, share, known) for s in (state, new))
            better = (after < before) & solved & torch.isfinite(after) & ~fixed
            damping = torch.where(better, damping * 0.1, damping * 30)
            taken = taken + better
            state = state.where(better, new)
        return state, inliers, taken

    def _noise(self, state: Sampled, seen: Tensor) -> Float[Tensor, "faces 1"]:
        """Noise of each face's samples: larger where light and albedo leave more unexplained than the settings' noise would
        (beards, glasses, cast shadows): what is not in the model must not be taken for shape."""
        noise = self.settings.joint.noise
        left = torch.where(seen * state.weight(self.settings.facing) > 0, state.error.sqrt(), torch.nan)
        spread = torch.nan_to_num(left.nanquantile(0.8, dim=1, keepdim=True))
        return noise * (spread / (self.settings.expected * noise)).clamp_min(1).square()

    def _moved(self, maps: Maps, state: Sampled, term: LandmarkCost, step: Tensor) -> Sampled:
        coefficients, rotation, translation = state.geometry
        shape = 6 + coefficients.shape[1]
        turned = camera.rotation_from_axis_angle(step[:, :3]) @ rotation
        geometry = (coefficients + step[:, 6:shape], turned, translation + step[:, 3:6])
        light = state.light + step[:, shape : shape + LIGHT].unflatten(1, (3, 9)).mT
        return Sampled.of(self.samples, maps, geometry, term, state.albedo + step[:, shape + LIGHT :], light)

    def _cost(
        self,
        state: Sampled,
        term: LandmarkCost,
        base: Tensor,
        scale: Tensor,
        noise: Tensor,
        share: Tensor,
        known: tuple[Tensor, Tensor],
    ) -> Float[Tensor, " faces"]:
        shape = term.value(FaceState(*state.geometry, term.focal_px))
        cost = shape + robust_cost(state.error, base, scale, noise[:, 0]) + state.albedo.square().sum(1)
        cost = cost + light_cost(state.light, self.light_mean, self.precision)
        return cost + 2 * volume(state.tint, state.shading, share, known)

    def _system(
        self, state: Sampled, term: LandmarkCost, w: Tensor, share: Tensor, known: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Normal equations H step = g for (pose and shape, light, albedo), and the `known_unknowns`."""
        shape_H, shape_g = _pose_first(*term.system(FaceState(*state.geometry, term.focal_px)), state.geometry[0].shape[1])
        residual = state.colour - state.tint * state.shading
        look_H, look_g = appearance_system(self.samples, state.harmonics, state.tint, state.shading, residual, w)
        look_H[:, :LIGHT, :LIGHT] += self.precision
        look_g[:, :LIGHT] -= light_slope(state.light, self.light_mean, self.precision)
        look_H.diagonal(dim1=1, dim2=2)[:, LIGHT:] += 1
        look_g[:, LIGHT:] -= state.albedo
        known = known or known_unknowns(look_H, self.precision)
        look_g -= volume_slope(self.samples, state.harmonics, state.tint, state.shading, share, known)
        mix = w.sqrt()[..., None].expand_as(residual) * 3**-0.5
        J = geometry_jacobian(self.samples, state, term, mix)
        shape, look = shape_H.shape[1], look_H.shape[1]
        gram, moment = normal_equations(J, (residual * mix).sum(-1))
        H = J.new_zeros(len(w), shape + look, shape + look)
        H[:, :shape, :shape] = shape_H + gram[:, :shape, :shape]
        H[:, shape:, shape:] = look_H
        cross = self._cross(J, state, mix)[:, :shape]
        H[:, :shape, shape:] = cross
        H[:, shape:, :shape] = cross.mT
        return H, torch.cat((moment[:, :shape] - shape_g, look_g), 1), known

    def _cross(self, J: Tensor, state: Sampled, mix: Tensor) -> Tensor:
        """J' times the derivative of  mix . model  by light and albedo."""
        by_light = (state.harmonics[..., None, :] * (state.tint * mix)[..., None]).flatten(2)
        albedo, shading = self.samples.channels, state.shading * mix
        by_albedo = albedo[0] * shading[..., :1] + albedo[1] * shading[..., 1:2] + albedo[2] * shading[..., 2:]
        light = (J.mT @ pad_columns(by_light))[..., :LIGHT]
        return torch.cat((light, (J.mT @ by_albedo)[..., : self.samples.albedo.shape[-1]]), -1)


def _pose_first(H: Tensor, g: Tensor, modes: int) -> tuple[Tensor, Tensor]:
    """The landmarks' system in the order rotation, translation, coefficients; the focal length stays as it is."""
    order = torch.cat((torch.arange(modes, modes + 6), torch.arange(modes))).to(H.device)
    return H[:, order[:, None], order], g[:, order]
