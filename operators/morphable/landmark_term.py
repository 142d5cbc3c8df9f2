"""What landmarks and priors say about pose and shape, as normal equations to be added to others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from operators.morphable.fit import FitSettings, _cost, _pitch, _residual, jacobian
from operators.morphable.linear import normal_equations
from operators.morphable.model import LinearPoints

Geometry = tuple[Float[Tensor, "faces modes"], Float[Tensor, "faces 3 3"], Float[Tensor, "faces 3"]]
"""Coefficients, rotation, translation."""


@dataclass(frozen=True)
class LandmarkTerm:
    """The cost that `fit.fit_landmarks` minimises: same landmarks, weights, loss and priors, of all faces of a batch."""

    points: LinearPoints
    target: Float[Tensor, "faces points 2"]
    weights: Float[Tensor, "faces points"]
    focal_px: Float[Tensor, " faces"]
    size: int | float
    settings: FitSettings
    expression_prior: Float[Tensor, " faces"]

    def take(self, index: Int[Tensor, " some"] | slice) -> LandmarkTerm:
        """The term of some of the faces."""
        chosen = (v[index] for v in (self.target, self.weights, self.focal_px))
        return LandmarkTerm(self.points, *chosen, self.size, self.settings, self.expression_prior[index])

    def cleaned(self) -> LandmarkTerm:
        """Landmarks that are not finite lose their weight."""
        finite = torch.isfinite(self.target).all(-1) & torch.isfinite(self.weights)
        weights = torch.where(finite, self.weights, 0.0).clamp(0, 1)
        target = torch.where(finite[..., None], self.target, self.size / 2)
        return LandmarkTerm(
            self.points, target, weights, self.focal_px, self.size, self.settings, self.expression_prior
        )  # fmt: skip

    def precision(self) -> Float[Tensor, "faces modes"]:
        """Of the prior of each coefficient."""
        modes, identity = self.points.modes.shape[-1], self.points.identity
        out = self.target.new_full((len(self.target), modes), self.settings.identity_prior**2)
        out[:, identity:] = self.expression_prior[:, None].square()
        return out

    def cost(self, geometry: Geometry) -> tuple[Float[Tensor, " faces"], Bool[Tensor, " faces"]]:
        """Twice the negative log posterior, and where a landmark fell behind the camera."""
        residual, behind = _residual(self.points, geometry, self.target, self.focal_px, self.size)
        return _cost(residual, self.weights, geometry[0], geometry[1], self.precision(), self.settings), behind

    def system(self, geometry: Geometry) -> tuple[Float[Tensor, "faces unknowns unknowns"], Float[Tensor, "faces unknowns"]]:
        """Normal equations  H step = -g  for (axis-angle update, translation, coefficients)."""
        coefficients, rotation, translation = geometry
        settings = self.settings
        predicted, J = jacobian(self.points, coefficients, rotation, translation, self.focal_px, self.size)
        r = predicted - self.target
        length = r.square().sum(-1).sqrt() / settings.noise_px
        scale = (self.weights * (settings.huber / length.clamp_min(1e-12)).clamp_max(1)).sqrt() / settings.noise_px
        H, g = normal_equations((J * scale[..., None, None]).flatten(1, 2), (r * scale[..., None]).flatten(1))
        precision = self.precision()
        H.diagonal(dim1=1, dim2=2)[:, 6:] += precision
        g[:, 6:] += precision * coefficients
        gap, slope = _pitch(rotation, settings)
        H[:, :3, :3] += slope[:, :, None] * slope[:, None, :]
        g[:, :3] += slope * gap[:, None]
        return H, g
