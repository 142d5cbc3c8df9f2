"""What the inverse-rendering regressor's parameters mean (zhangxuan1918/FaceFusion with tensorflow3DMMRendering).

Shape, expression and texture multiply the modes of face3d's `BFM.mat` (53,215 vertices, micrometres, modes not scaled) and of
`exp_80k.npz`; our base of those files and of the statistics (see `operators.morphable.bases.face3d`) counts in the statistics'
own standard deviations. Pose: pitch, yaw, roll in radians, then x, y (z in seven-number files) and scale, these in picture
sides. The camera is scaled-orthographic: x = s (v R)_x + t_x, y up likewise with R = Rz Ry Rx acting from the right, and a
landmark lies at column x, row 223 - y, counted from pixel centres.
Light is Phong's, in the face's own frame: ambient RGB, directional RGB, its two angles, a specular share; then a gain and an
offset RGB. Ambient and directional light times gain are a light of spherical harmonics of degree 1, which is what we make of
it. The offset is taken for ambient light on the mean albedo, the highlight (power 20) is left out: both are our own reading.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from operators.morphable import camera
from operators.morphable.model import LinearPoints, MorphableModel
from operators.networks.deep3d import fold_norms
from operators.networks.inverse_rendering import SIDE
from operators.regress.alignment import ffhq_alignment
from operators.regress.base import Regressed, need_basis, own_coefficients

CONVENTION = "Inverse Rendering 3DMM"
PER_UNIT = 1e5
"""Micrometres in the decimetre of our base."""


def rotation_of(pose: Float[Tensor, "faces pose"]) -> Float[Tensor, "faces 3 3"]:
    """Our R (a vertex turns as R v): rows multiply their matrix, so ours is its transpose."""
    return camera.rotation_from_deg(torch.rad2deg(pose[:, :3])).mT


def placed(points: Float[Tensor, "faces points 3"], pose: Float[Tensor, "faces pose"]) -> Float[Tensor, "faces points 2"]:
    """Pixels (v down, centres at +0.5) of points in micrometres in the official frame."""
    shift, scale = pose[:, 3:5] * SIDE, pose[:, -1:] * SIDE
    turned = (points[:, :, None, :] * rotation_of(pose)[:, None]).sum(-1)
    x, y = (turned[..., :2] * scale[:, None] + shift[:, None]).unbind(-1)
    return torch.stack((x + 0.5, SIDE - 0.5 - y), -1)


def irradiance(
    illumination: Float[Tensor, "faces 9"], colour: Float[Tensor, "faces 6"], albedo: Float[Tensor, "3"]
) -> Float[Tensor, "faces 9 3"]:
    """The light as spherical harmonics in the face's frame, for an albedo in [0, 1] whose mean is given."""
    ambient, directed, (up, across) = illumination[:, :3], illumination[:, 3:6], illumination[:, 6:8].unbind(1)
    gain, offset = colour[:, :3], colour[:, 3:6]
    towards = torch.stack((up.cos() * across.sin(), up.sin(), up.cos() * across.cos()), 1)
    light = illumination.new_zeros(len(illumination), 9, 3)
    light[:, 0] = ambient * gain + offset / (255 * albedo)
    light[:, 1:4] = towards[:, [1, 2, 0], None] * (directed * gain)[:, None]
    return light


class InverseRenderingRegressor:
    """The ResNet-18 as a `Regressor`, its coefficients as those of a base made from its own files.

    Errors: CheckpointError; BasisError when the basis is another one.
    """

    def __init__(self, network: Any, model: MorphableModel, samples: LinearPoints):
        names = {"identity": "Shape", "expression": "Exp", "albedo": "Tex"}
        counts: dict[str, int] = {part: network.lengths[name] for part, name in names.items()}
        use = "bfm2009_full made from BFM.mat, exp_80k.npz and stats_80k.npz (or its cut, bfm2009_full_face)"
        self.basis = need_basis(model.basis, "the inverse-rendering regressor", CONVENTION, counts, use)
        self.network, self.samples = fold_norms(network).to(model.device), samples
        assert self.basis.native is not None
        self.origin = torch.as_tensor(self.basis.native.origin, device=model.device)
        self.albedo = torch.as_tensor(self.basis.albedo_mean.mean(0), device=model.device)

    align = staticmethod(ffhq_alignment)

    def __call__(self, pictures: Float[Tensor, "faces 3 224 224"]) -> Regressed:
        parts = self.network(pictures)
        own = own_coefficients(self.basis, {"identity": parts["Shape"], "expression": parts["Exp"], "albedo": parts["Tex"]})
        coefficients = torch.cat((own["identity"], own["expression"]), 1)
        points = (self.samples.at(coefficients) + self.origin) * PER_UNIT
        rotation = rotation_of(parts["Pose"])
        light = irradiance(parts["Illum"], parts["Color"], self.albedo)
        still = torch.eye(3, device=rotation.device).expand_as(rotation)
        none = torch.full_like(light[:, 0, 0], math.nan)
        return Regressed(coefficients, own["albedo"], light, still, rotation, placed(points, parts["Pose"]), none)
