"""Batched Levenberg-Marquardt: pose, identity and expression of many faces from their landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from operators.morphable import camera
from operators.morphable.linear import normal_equations, solve_spd
from operators.morphable.model import LinearPoints


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


@dataclass(frozen=True)
class LandmarkFit:
    """Result per face; where `ok` is False the numbers are a neutral face in front of the camera and `reason` says why."""

    coefficients: Float[Tensor, "faces modes"]
    rotation: Float[Tensor, "faces 3 3"]
    translation: Float[Tensor, "faces 3"]
    rmse_px: Float[Tensor, " faces"]
    cost: Float[Tensor, " faces"]
    ok: Bool[Tensor, " faces"]
    converged: Bool[Tensor, " faces"]
    reason: tuple[str, ...]


def initial_pose(
    points: LinearPoints, target: Float[Tensor, "faces points 2"], weights: Float[Tensor, "faces points"],
    focal_px: Float[Tensor, " faces"], size: int | float,
) -> tuple[Float[Tensor, "faces 3 3"], Float[Tensor, "faces 3"]]:  # fmt: skip
    """Closed-form scaled-orthographic pose of the mean face (POS; DeMenthon and Davis 1995), orthonormalised.

    The 2 x 3 affine map from weighted least squares is replaced by its polar factor.
    """
    w = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    centre_3d = (w[..., None] * points.mean).sum(1)
    centre_2d = (w[..., None] * target).sum(1)
    x = points.mean - centre_3d[:, None]
    y = (target - centre_2d[:, None]) * target.new_tensor([1.0, -1.0])
    wx = w[..., None] * x
    spread = wx.mT @ x
    ridge = 1e-3 * spread.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] * torch.eye(3, dtype=x.dtype, device=x.device)
    affine = torch.linalg.solve(spread + ridge, wx.mT @ y).mT
    p = affine @ affine.mT
    root_det = (p[:, 0, 0] * p[:, 1, 1] - p[:, 0, 1] ** 2).clamp_min(1e-12).sqrt()[:, None, None]
    trace = (p[:, 0, 0] + p[:, 1, 1])[:, None, None]
    root = (p + root_det * torch.eye(2, dtype=p.dtype, device=p.device)) / (trace + 2 * root_det).sqrt()
    rows = torch.linalg.solve(root, affine)
    scale = 0.5 * (root[:, 0, 0] + root[:, 1, 1])
    rotation = torch.cat((rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]), 1)
    depth = focal_px / scale
    offset = torch.cat(((centre_2d - size / 2) / scale[:, None], depth[:, None]), 1)
    translation = offset - (camera.camera_axes(rotation) * centre_3d[:, None]).sum(-1)
    return rotation, translation


def jacobian(
    points: LinearPoints, coefficients: Float[Tensor, "faces modes"], rotation: Float[Tensor, "faces 3 3"],
    translation: Float[Tensor, "faces 3"], focal_px: Float[Tensor, " faces"], size: int | float,
) -> tuple[Float[Tensor, "faces points 2"], Float[Tensor, "faces points 2 parameters"]]:  # fmt: skip
    """Projected points and their derivative by (axis-angle update, translation, coefficients).

    The rotation's update is local: R <- exp([w]x) R, at w = 0.
    """
    face = points.at(coefficients)
    axes = camera.camera_axes(rotation)
    turned = (face[:, :, None, :] * rotation[:, None]).sum(-1)
    inside = (face[:, :, None, :] * axes[:, None]).sum(-1) + translation[:, None]
    by_point = camera.projection_jacobian(inside, focal_px)
    flip = by_point.new_tensor([1.0, -1.0, -1.0])
    by_rotation = -(by_point * flip) @ camera.skew(turned)
    by_face = (by_point[..., :, None] * axes[:, None, None]).sum(-2)
    by_modes = by_face[..., 0, None] * points.modes[None, :, None, 0]
    for k in (1, 2):
        by_modes = by_modes + by_face[..., k, None] * points.modes[None, :, None, k]
    return camera.project(inside, focal_px, size), torch.cat((by_rotation, by_point, by_modes), -1)


def _residual(points, state, target, focal_px, size):
    coefficients, rotation, translation = state
    inside = camera.to_camera(points.at(coefficients), rotation, translation)
    behind = (inside[..., 2] <= 1e-3 * translation[:, 2:].abs()).any(1)
    inside = torch.where(behind[:, None, None], torch.ones_like(inside), inside)
    return camera.project(inside, focal_px, size) - target, behind


def _cost(residual, weights, coefficients, rotation, precision, settings):
    error = residual.square().sum(-1) / settings.noise_px**2
    k = settings.huber
    huber = torch.where(error <= k * k, error, 2 * k * error.clamp_min(1e-20).sqrt() - k * k)
    priors = (precision * coefficients.square()).sum(1) + _pitch(rotation, settings)[0].square()
    return (weights * huber).sum(1) + priors


def _pitch(rotation: Tensor, settings: FitSettings) -> tuple[Tensor, Tensor]:
    """Pitch minus its prior mean, in prior standard deviations, and its derivative by the local axis-angle update."""
    mean, deviation = (torch.pi / 180 * v for v in settings.pitch_prior_deg)
    up, out = rotation[:, 2, 1], rotation[:, 2, 2]
    square = (up.square() + out.square()).clamp_min(1e-12)
    by_x = (out * rotation[:, 1, 1] - up * rotation[:, 1, 2]) / square
    by_y = (up * rotation[:, 0, 2] - out * rotation[:, 0, 1]) / square
    slope = torch.stack((by_x, by_y, torch.zeros_like(by_x)), -1) / deviation
    return (torch.atan2(up, out) - mean) / deviation, slope


def fit_landmarks(
    points: LinearPoints,
    target: Float[Tensor, "faces points 2"],
    weights: Float[Tensor, "faces points"],
    focal_px: Float[Tensor, " faces"],
    size: int | float,
    settings: FitSettings = FitSettings(),
    expression_prior: Float[Tensor, " faces"] | None = None,
) -> LandmarkFit:
    """Pose and coefficients that minimise  sum_i w_i huber(|projection_i - target_i| / noise) + |prior * c|^2 + pitch prior.

    `target` and `focal_px` in crop pixels; `weights` in [0, 1] per point, 0 = ignore; `expression_prior` is 1 where not given.
    A face stops costing when it has
    converged. Its result does not depend on the other faces of the batch. Nothing raises for bad numbers: such faces come
    back with `ok` False. Levenberg-Marquardt with Marquardt's diagonal scaling, Huber by iterated reweighting.
    """
    n, modes = len(target), points.modes.shape[-1]
    target, weights = target.to(points.mean.dtype), weights.to(points.mean.dtype)
    focal_px = focal_px.to(points.mean.dtype)
    finite = torch.isfinite(target).all(-1) & torch.isfinite(weights)
    weights = torch.where(finite, weights, torch.zeros_like(weights)).clamp(0, 1)
    target = torch.where(finite[..., None], target, torch.full_like(target, size / 2))
    enough = weights.sum(1) >= settings.min_points
    spread = _spread_px(target, weights)
    good = enough & (spread > 0.02 * size) & torch.isfinite(focal_px) & (focal_px > 0)

    coefficients = target.new_zeros(n, modes)
    rotation = torch.eye(3, dtype=target.dtype, device=target.device).repeat(n, 1, 1)
    focal = torch.where(good, focal_px, torch.full_like(focal_px, size))
    translation = torch.stack((torch.zeros_like(focal), torch.zeros_like(focal), 10 * _radius(points) * focal / size), 1)
    cost = target.new_full((n,), float("inf"))
    converged = torch.zeros(n, dtype=torch.bool, device=target.device)
    damping = target.new_full((n,), 1e-3)
    precision = target.new_full((n, modes), settings.identity_prior**2)
    if expression_prior is not None:
        precision[:, points.identity :] = expression_prior.to(target)[:, None].square()
    else:
        precision[:, points.identity :] = 1.0

    active = torch.nonzero(good)[:, 0]
    if len(active):
        start = initial_pose(points, target[active], weights[active].clamp_min(0.02) * finite[active], focal[active], size)
        rotation[active], translation[active] = start
        residual, behind = _residual(points, (coefficients[active], *start), target[active], focal[active], size)
        cost[active] = _cost(residual, weights[active], coefficients[active], start[0], precision[active], settings)
        good[active[behind | ~torch.isfinite(cost[active])]] = False
        active = torch.nonzero(good)[:, 0]

    for _ in range(settings.max_steps):
        if not len(active):
            break
        c, R, t, y, f, w, prior = (v[active] for v in (coefficients, rotation, translation, target, focal, weights, precision))
        predicted, J = jacobian(points, c, R, t, f, size)
        r = predicted - y
        length = r.square().sum(-1).sqrt() / settings.noise_px
        scale = (w * (settings.huber / length.clamp_min(1e-12)).clamp_max(1)).sqrt() / settings.noise_px
        J = (J * scale[..., None, None]).flatten(1, 2)
        r = (r * scale[..., None]).flatten(1)
        H, g = normal_equations(J, r)
        H.diagonal(dim1=1, dim2=2)[:, 6:] += prior
        g[:, 6:] += prior * c
        pitch, slope = _pitch(R, settings)
        H[:, :3, :3] += slope[:, :, None] * slope[:, None, :]
        g[:, :3] += slope * pitch[:, None]
        H.diagonal(dim1=1, dim2=2).mul_(1 + damping[active, None])
        step = -solve_spd(H, g)[0]
        new_R = camera.rotation_from_axis_angle(step[:, :3]) @ R
        new_t, new_c = t + step[:, 3:6], c + step[:, 6:]
        residual, behind = _residual(points, (new_c, new_R, new_t), y, f, size)
        new_cost = _cost(residual, w, new_c, new_R, prior, settings)
        old = cost[active]
        better = (new_cost < old) & ~behind & torch.isfinite(new_cost)
        rows = active[better]
        coefficients[rows], rotation[rows], translation[rows] = new_c[better], new_R[better], new_t[better]
        cost[rows] = new_cost[better]
        damping[active] = torch.where(better, damping[active] * 0.2, damping[active] * 8).clamp(1e-7, 1e7)
        gain = torch.where(better, (old - new_cost) / old.clamp_min(1e-12), torch.ones_like(old))
        done = (better & (gain < settings.tolerance)) | (~better & (damping[active] > 1e3)) | (old < 1e-12)
        converged[active[done]] = True
        active = active[~done]

    rotation = _orthonormal(rotation)
    residual, behind = _residual(points, (coefficients, rotation, translation), target, focal, size)
    squares = (weights * residual.square().sum(-1)).sum(1) / weights.sum(1).clamp_min(1e-12)
    ok = good & ~behind & torch.isfinite(squares)
    rmse = torch.where(ok, squares.sqrt(), torch.full_like(squares, float("inf")))
    reason = tuple(
        "" if fine else _reason(bool(many), float(wide), size)
        for fine, many, wide in zip(ok.tolist(), enough.tolist(), spread.tolist(), strict=True)
    )
    return LandmarkFit(coefficients, rotation, translation, rmse, cost, ok, converged, reason)


def _reason(enough: bool, spread: float, size: int | float) -> str:
    if not enough:
        return "too few usable landmarks: most are hidden, outside the picture or not finite"
    if not spread > 0.02 * size:
        return f"landmarks span only {spread:.1f} px: the face is too small or collapsed"
    return "no face in front of the camera explains these landmarks"


def _spread_px(target, weights):
    w = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    centre = (w[..., None] * target).sum(1, keepdim=True)
    return (w * (target - centre).square().sum(-1)).sum(1).sqrt()


def _radius(points: LinearPoints) -> Tensor:
    return (points.mean - points.mean.mean(0)).square().sum(-1).mean().sqrt()


def _orthonormal(rotation: Float[Tensor, "faces 3 3"]) -> Float[Tensor, "faces 3 3"]:
    """Gram-Schmidt on rows: removes the rounding that repeated updates gather."""
    x = torch.nn.functional.normalize(rotation[:, 0], dim=-1)
    y = rotation[:, 1] - (rotation[:, 1] * x).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), 1)
