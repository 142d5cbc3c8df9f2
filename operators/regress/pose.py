"""The pose in our crop at which a face projects as a regressor's own camera projects it, with its shape held."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from operators.morphable import camera
from operators.morphable.landmark_cost import FaceState, derivatives
from operators.morphable.light import sh_basis
from operators.morphable.linear import normal_equations, solve_spd
from operators.morphable.model import LinearPoints
from operators.morphable.pose import orthonormal

_STEPS = 10


def pose_like(
    points: LinearPoints,
    coefficients: Float[Tensor, "faces modes"],
    target: Float[Tensor, "faces points 2"],
    rotation: Float[Tensor, "faces 3 3"],
    focal_px: Float[Tensor, " faces"],
    size: int | float,
) -> tuple[Float[Tensor, "faces 3 3"], Float[Tensor, "faces 3"], Float[Tensor, " faces"]]:
    """Rotation, translation and what is left (root mean square, px) of Gauss-Newton on the projected points.

    `target` in crop pixels; `rotation` near the one that is looked for. In double precision, face by face the same numbers.
    """
    double = LinearPoints(points.mean.double(), points.modes.double(), points.identity)
    target, rotation, focal = target.double(), rotation.double(), focal_px.double()
    coefficients = coefficients.double()
    state = FaceState(coefficients, rotation, _ahead(double, coefficients, target, rotation, focal, float(size)), focal)
    for _ in range(_STEPS):
        projected, _, by_camera = derivatives(double, state, float(size))
        slope = by_camera[..., :6].flatten(1, 2)
        system, right = normal_equations(slope, (target - projected).flatten(1))
        system.diagonal(dim1=1, dim2=2).mul_(1 + 1e-9)
        step, _ = solve_spd(system, right)
        still = step.new_zeros(len(step), coefficients.shape[1])
        state = state.moved(torch.cat((still, step, step.new_zeros(len(step), 1)), 1))
    projected, _, _ = derivatives(double, state, float(size))
    left = (projected - target).square().sum(-1).mean(1).sqrt()
    return orthonormal(state.rotation).float(), state.translation.float(), left.float()


def _ahead(
    points: LinearPoints, coefficients: Tensor, target: Tensor, rotation: Tensor, focal: Tensor, size: float
) -> Float[Tensor, "faces 3"]:
    """Translation that gives the points the target's middle and spread, as if all were at one depth."""
    turned = (points.at(coefficients)[:, :, None, :] * camera.camera_axes(rotation)[:, None]).sum(-1)
    middle, centre = turned.mean(1), target.mean(1)
    wide = (turned - middle[:, None])[..., :2].square().sum((1, 2)).sqrt()
    seen = (target - centre[:, None]).square().sum((1, 2)).sqrt().clamp_min(1e-6)
    depth = focal * wide / seen
    place = torch.cat(((centre - size / 2) * (depth / focal)[:, None], depth[:, None]), 1)
    return place - middle


def _directions() -> Float[Tensor, "30 3"]:
    """Points spread evenly over the sphere (golden spiral)."""
    k = torch.arange(30, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * k / 30, k * torch.pi * (1 + 5**0.5)
    flat = (1 - z * z).sqrt()
    return torch.stack((flat * turn.cos(), flat * turn.sin(), z), -1)


def turned_light(light: Float[Tensor, "faces 9 3"], turn: Float[Tensor, "faces 3 3"]) -> Float[Tensor, "faces 9 3"]:
    """The light after its frame has been turned: shading of a normal `turn n` is what that of `n` was. Exact to degree 2."""
    at = _directions().to(light.device)
    back = (at[None, :, None, :] * turn.double().mT[:, None]).sum(-1)
    shading = (sh_basis(back)[..., None] * light.double()[:, None]).sum(2)
    inverse = torch.linalg.pinv(sh_basis(at))
    return (inverse[None, :, :, None] * shading[:, None]).sum(2).float()
