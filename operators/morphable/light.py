"""Spherical-harmonics light: 9 bands, as irradiance of a distant environment on a matte surface.

Light lives in the viewer's frame: x to the viewer's right, y up, z towards the camera. A normal of the face frame enters
it by the head's rotation R.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def sh_basis(normals: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 9"]:
    """The 9 real spherical harmonics of degree <= 2 at unit normals, unnormalised (Ramamoorthi and Hanrahan 2001).

    Order: 1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2.
    """
    x, y, z = normals.unbind(-1)
    return torch.stack((torch.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y), -1)


def to_viewer(normals: Float[Tensor, "faces n 3"], rotation: Float[Tensor, "faces 3 3"]) -> Float[Tensor, "faces n 3"]:
    """Normals of the face frame in the viewer's frame, where light is defined."""
    return (normals[:, :, None, :] * rotation[:, None]).sum(-1)


def sh_slope(normals: Float[Tensor, "*n 3"], light: Float[Tensor, "*n 9 3"]) -> Float[Tensor, "*n 3"]:
    """Derivative of SH(normal) . light, summed over channels, by the normal's x, y, z."""
    x, y, z = normals.unbind(-1)
    one = light.sum(-1).unbind(-1)
    by_x = one[3] + y * one[4] + z * one[7] + 2 * x * one[8]
    by_y = one[1] + x * one[4] + z * one[5] - 2 * y * one[8]
    by_z = one[2] + y * one[5] + 6 * z * one[6] + x * one[7]
    return torch.stack((by_x, by_y, by_z), -1)


def shade(normals: Float[Tensor, "faces n 3"], light: Float[Tensor, "faces 9 3"]) -> Float[Tensor, "faces n 3"]:
    """RGB irradiance at unit normals of the viewer's frame, not below a tenth of a percent."""
    return shading_at(sh_basis(normals), light)


def shading_at(harmonics: Float[Tensor, "faces n 9"], light: Float[Tensor, "faces 9 3"]) -> Float[Tensor, "faces n 3"]:
    """`shade` from the harmonics of the normals."""
    return torch.bmm(harmonics, light).clamp_min(1e-3)


def frontal_light() -> Float[Tensor, "9 3"]:
    """Soft white light from the camera's side: shading 1 straight ahead, 0.5 at right angles."""
    light = torch.zeros(9, 3)
    light[0], light[2] = 0.5, 0.5
    return light


def light_precision(light_std: Float[Tensor, "9 3"], correlation: float) -> Float[Tensor, "27 27"]:
    """Inverse prior covariance, channel by channel: a coefficient's three channels move together."""
    std = light_std.T.flatten()
    same = torch.eye(9, dtype=std.dtype, device=std.device)
    mix = torch.full((3, 3), correlation, dtype=std.dtype, device=std.device).fill_diagonal_(1.0)
    return torch.linalg.inv(torch.kron(mix, same) * std[:, None] * std)
