"""What a landmark fit minimises, and its Gauss-Newton system.

Unknowns of a face, in this order: coefficients, rotation (3, axis-angle in the viewer's frame), translation (3), logarithm of
the focal length (1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as nnf

from operators.morphable import camera
from operators.morphable.model import LinearPoints

CAMERA = 7
"""Unknowns beside the coefficients."""
_ALIGN, _CHUNK, _GPU_CHUNK = 16, 8, 1024
_KNOWN = 1e10
"""Information about a focal length that is given."""


@dataclass(frozen=True)
class FitSettings:
    """Noise is the landmarks' standard deviation in pixels; `huber` the residual, in noise, where the loss turns linear."""

    noise_px: float = 2.0
    huber: float = 3.0
    identity_prior: float = 1.0
    max_steps: int = 20
    tolerance: float = 1e-4
    min_points: float = 6.0
    pitch_prior_deg: tuple[float, float] = (0.0, float("inf"))
    """Mean and standard deviation; it matters where only the upper face is seen, which says little about pitch."""
    focal_log_std: float = 0.0
    """How far the focal length may be from the given one, as the standard deviation of its logarithm; 0 = it is known."""


DEFAULT = FitSettings()


@dataclass(frozen=True)
class FaceState:
    """Where the fit of each face stands."""

    coefficients: Float[Tensor, "faces modes"]
    rotation: Float[Tensor, "faces 3 3"]
    translation: Float[Tensor, "faces 3"]
    focal_px: Float[Tensor, " faces"]

    def __getitem__(self, index: Shaped[Tensor, " some"]) -> FaceState:
        return FaceState(self.coefficients[index], self.rotation[index], self.translation[index], self.focal_px[index])

    def put(self, index: Shaped[Tensor, " some"], other: FaceState) -> None:
        """Write `other` over these faces."""
        for mine, its in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[index] = its

    def moved(self, step: Float[Tensor, "faces unknowns"]) -> FaceState:
        """The state after a step in the unknowns."""
        modes = self.coefficients.shape[1]
        turn, shift, zoom = step[:, modes : modes + 3], step[:, modes + 3 : modes + 6], step[:, modes + 6]
        rotation = camera.rotation_from_axis_angle(turn) @ self.rotation
        focal = self.focal_px * zoom.clamp(-1, 1).exp()
        return FaceState(self.coefficients + step[:, :modes], rotation, self.translation + shift, focal)


@dataclass(frozen=True)
class LandmarkCost:
    """sum_i w_i huber(|projection_i - target_i| / noise) + |precision^1/2 (c - centre)|^2 + pitch prior + focal prior, per face.

    Without `centre` the priors pull towards the mean face.
    """

    points: LinearPoints
    target: Float[Tensor, "faces points 2"]
    weights: Float[Tensor, "faces points"]
    precision: Float[Tensor, "faces modes"]
    focal_px: Float[Tensor, " faces"]
    size: float
    settings: FitSettings
    centre: Float[Tensor, "faces modes"] | None = None

    def __getitem__(self, index: Shaped[Tensor, " some"] | slice) -> LandmarkCost:
        return replace(
            self, target=self.target[index], weights=self.weights[index], precision=self.precision[index],
            focal_px=self.focal_px[index], centre=None if self.centre is None else self.centre[index],
        )  # fmt: skip

    def _off(self, state: FaceState) -> Float[Tensor, "faces modes"]:
        """Coefficients from where the priors pull them to."""
        return state.coefficients if self.centre is None else state.coefficients - self.centre

    @property
    def unknowns(self) -> int:
        """Unknowns of a face, padded."""
        count = self.points.modes.shape[-1] + CAMERA
        return count + -count % _ALIGN

    def residual(self, state: FaceState) -> tuple[Float[Tensor, "faces points 2"], Bool[Tensor, " faces"]]:
        """Projection minus target in pixels; which faces have a point behind the camera (theirs mean nothing)."""
        inside = camera.to_camera(self.points.at(state.coefficients), state.rotation, state.translation)
        behind = (inside[..., 2] <= 1e-3 * state.translation[:, 2:].abs()).any(1)
        inside = torch.where(behind[:, None, None], torch.ones_like(inside), inside)
        return camera.project(inside, state.focal_px, self.size) - self.target, behind

    def value(self, state: FaceState) -> Float[Tensor, " faces"]:
        """The cost; infinite behind the camera or where a number is not finite."""
        residual, behind = self.residual(state)
        error = residual.square().sum(-1) / self.settings.noise_px**2
        k = self.settings.huber
        huber = torch.where(error <= k * k, error, 2 * k * error.clamp_min(1e-20).sqrt() - k * k)
        priors = (self.precision * self._off(state).square()).sum(1)
        priors = priors + pitch_prior(state.rotation, self.settings)[0].square() + self._focal(state).square()
        cost = (self.weights * huber).sum(1) + priors
        return torch.where(behind | ~torch.isfinite(cost), torch.full_like(cost, float("inf")), cost)

    def _focal(self, state: FaceState) -> Float[Tensor, " faces"]:
        std = self.settings.focal_log_std
        return (state.focal_px / self.focal_px).log() / std if std > 0 else torch.zeros_like(state.focal_px)

    def system(self, state: FaceState) -> tuple[Float[Tensor, "faces unknowns unknowns"], Float[Tensor, "faces unknowns"]]:
        """Half the cost's Gauss-Newton Hessian and half its gradient, Huber by reweighting.

        Unknowns are padded with ones on the diagonal to a multiple of 16 columns; a known focal length does not move.
        """
        modes, settings = self.points.modes.shape[-1], self.settings
        projected, by_face, by_camera = derivatives(self.points, state, self.size)
        residual = projected - self.target
        if not settings.focal_log_std > 0:
            by_camera[..., -1] = 0
        length = residual.square().sum(-1).sqrt() / settings.noise_px
        scale = (self.weights * (settings.huber / length.clamp_min(1e-12)).clamp_max(1)).sqrt() / settings.noise_px
        by_face = by_face * scale[..., None, None]
        side = torch.cat((by_camera, residual[..., None]), -1) * scale[..., None, None]
        H, g = _gauss_newton(self.points.padded, by_face, side, modes)
        H.diagonal(dim1=1, dim2=2)[:, :modes] += self.precision
        g[:, :modes] += self.precision * self._off(state)
        pitch, slope = pitch_prior(state.rotation, settings)
        turn = slice(modes, modes + 3)
        H[:, turn, turn] += slope[:, :, None] * slope[:, None, :]
        g[:, turn] += slope * pitch[:, None]
        if settings.focal_log_std > 0:
            H[:, modes + 6, modes + 6] += settings.focal_log_std**-2
            g[:, modes + 6] += self._focal(state) / settings.focal_log_std
        return H, g


def landmark_cost(
    points: LinearPoints, target: Float[Tensor, "faces points 2"], weights: Float[Tensor, "faces points"],
    focal_px: Float[Tensor, " faces"], size: int | float, settings: FitSettings = DEFAULT,
    expression_prior: Float[Tensor, " faces"] | None = None, centre: Float[Tensor, "faces modes"] | None = None,
) -> LandmarkCost:  # fmt: skip
    """The cost, in the points' precision. Landmarks that are not finite lose their weight; no expression prior means 1."""
    target, weights, focal_px = (x.to(points.mean.dtype) for x in (target, weights, focal_px))
    finite = torch.isfinite(target).all(-1) & torch.isfinite(weights)
    weights = torch.where(finite, weights, torch.zeros_like(weights)).clamp(0, 1)
    target = torch.where(finite[..., None], target, torch.full_like(target, size / 2))
    precision = target.new_full((len(target), points.modes.shape[-1]), settings.identity_prior**2)
    precision[:, points.identity :] = 1.0 if expression_prior is None else expression_prior.to(precision)[:, None].square()
    return LandmarkCost(points, target, weights, precision, focal_px, float(size), settings, centre)


def derivatives(points: LinearPoints, state: FaceState, size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Projected points in pixels (faces points 2), their derivatives by the point in the face frame (faces points 2 3) and by
    the camera (faces points 2 7)."""
    face = points.at(state.coefficients)
    axes = camera.camera_axes(state.rotation)
    turned = (face[:, :, None, :] * axes[:, None]).sum(-1)
    inside = turned + state.translation[:, None]
    by_point = camera.projection_jacobian(inside, state.focal_px)
    by_face = (by_point[..., :, None] * axes[:, None, None]).sum(-2)
    flip = by_point.new_tensor([1.0, -1.0, -1.0])
    by_rotation = torch.linalg.cross((turned * flip)[:, :, None].expand_as(by_point), by_point * flip)
    projected = camera.project(inside, state.focal_px, size)
    return projected, by_face, torch.cat((by_rotation, by_point, (projected - size / 2)[..., None]), -1)


def jacobian(points: LinearPoints, state: FaceState, size: float) -> Float[Tensor, "faces points 2 unknowns"]:
    """Derivative of every projected point in pixels by the unknowns."""
    _, by_face, by_camera = derivatives(points, state, size)
    return torch.cat((torch.einsum("fprx,pxm->fprm", by_face, points.modes), by_camera), -1)


def _gauss_newton(
    padded: Float[Tensor, "points 3 padded"], by_face: Float[Tensor, "faces points 2 3"], side: Float[Tensor, "faces points 2 8"],
    modes: int,
) -> tuple[Float[Tensor, "faces unknowns unknowns"], Float[Tensor, "faces unknowns"]]:  # fmt: skip
    """J'J and J'r from the factors of J; `side` holds the camera's columns and the residual."""
    # J is made for a few faces at a time, so that it stays in the cache, and always for as many: the bits of a face must
    # not depend on its batch. Its rows lie point by point, so that one matrix product per point makes it.
    n, unknowns = len(by_face), modes + CAMERA
    width = unknowns + -unknowns % _ALIGN
    H = by_face.new_zeros(n, width, width)
    g = by_face.new_zeros(n, width)
    chunk = _CHUNK if by_face.device.type == "cpu" else max(1, min(n, _GPU_CHUNK))
    for start in range(0, n, chunk):
        rows = torch.arange(start, start + chunk, device=by_face.device).clamp_max(n - 1)
        count = min(chunk, n - start)
        factor = by_face[rows].permute(1, 2, 0, 3).flatten(1, 2)
        J = (factor @ padded).unflatten(1, (2, chunk))
        edge = nnf.pad(side[rows], (0, _ALIGN - CAMERA - 1))
        top, mixed, corner = 0, 0, 0
        for axis in (0, 1):
            x, y = J[:, axis].permute(1, 0, 2), edge[:, :, axis]
            top, mixed, corner = top + x.mT @ x, mixed + y.mT @ x, corner + y.mT @ y
        part = slice(start, start + count)
        camera_columns = slice(modes, unknowns)
        H[part, :modes, :modes] = top[:count, :modes, :modes]
        H[part, camera_columns, :modes] = mixed[:count, :CAMERA, :modes]
        H[part, :modes, camera_columns] = mixed[:count, :CAMERA, :modes].mT
        H[part, camera_columns, camera_columns] = corner[:count, :CAMERA, :CAMERA]
        g[part, :modes] = mixed[:count, CAMERA, :modes]
        g[part, camera_columns] = corner[:count, CAMERA, :CAMERA]
    free = H.diagonal(dim1=1, dim2=2)
    free[:, unknowns:] = 1
    free[:, unknowns - 1] += (free[:, unknowns - 1] == 0) * _KNOWN
    return H, g


def pitch_prior(
    rotation: Float[Tensor, "faces 3 3"], settings: FitSettings
) -> tuple[Float[Tensor, " faces"], Float[Tensor, "faces 3"]]:
    """Pitch minus its prior mean, in prior standard deviations, and its derivative by the local axis-angle update."""
    mean, deviation = (torch.pi / 180 * v for v in settings.pitch_prior_deg)
    up, out = rotation[:, 2, 1], rotation[:, 2, 2]
    square = (up.square() + out.square()).clamp_min(1e-12)
    by_x = (out * rotation[:, 1, 1] - up * rotation[:, 1, 2]) / square
    by_y = (up * rotation[:, 0, 2] - out * rotation[:, 0, 1]) / square
    slope = torch.stack((by_x, by_y, torch.zeros_like(by_x)), -1) / deviation
    return (torch.atan2(up, out) - mean) / deviation, slope
