"""What landmarks and priors say about pose and shape, as normal equations to be added to others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from operators.morphable.landmark_cost import FaceState, FitSettings, LandmarkCost
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
        return replace(
            self, target=self.target[index], weights=self.weights[index], focal_px=self.focal_px[index],
            expression_prior=self.expression_prior[index],
        )  # fmt: skip

    def cleaned(self) -> LandmarkTerm:
        """Landmarks that are not finite lose their weight."""
        finite = torch.isfinite(self.target).all(-1) & torch.isfinite(self.weights)
        weights = torch.where(finite, self.weights, 0.0).clamp(0, 1)
        target = torch.where(finite[..., None], self.target, self.size / 2)
        return replace(self, target=target, weights=weights)

    def precision(self) -> Float[Tensor, "faces modes"]:
        """Of the prior of each coefficient."""
        modes, identity = self.points.modes.shape[-1], self.points.identity
        out = self.target.new_full((len(self.target), modes), self.settings.identity_prior**2)
        out[:, identity:] = self.expression_prior[:, None].square()
        return out

    def _cost(self) -> LandmarkCost:
        settings = replace(self.settings, focal_log_std=0.0)
        return LandmarkCost(
            self.points, self.target, self.weights, self.precision(), self.focal_px, float(self.size), settings
        )  # fmt: skip

    def cost(self, geometry: Geometry) -> tuple[Float[Tensor, " faces"], Bool[Tensor, " faces"]]:
        """Twice the negative log posterior, and where a landmark fell behind the camera."""
        value = self._cost().value(FaceState(*geometry, self.focal_px))
        return value, torch.isinf(value)

    def system(self, geometry: Geometry) -> tuple[Float[Tensor, "faces unknowns unknowns"], Float[Tensor, "faces unknowns"]]:
        """Normal equations  H step = -g  for (axis-angle update, translation, coefficients)."""
        H, g = self._cost().system(FaceState(*geometry, self.focal_px))
        modes = self.points.modes.shape[-1]
        order = torch.cat((torch.arange(modes, modes + 6), torch.arange(modes))).to(H.device)
        return H[:, order[:, None], order], g[:, order]
