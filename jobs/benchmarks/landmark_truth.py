"""Faces of a basis whose shape and pose are known, and their landmarks as a camera sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from operators.metrics.geometry import rotation_error_deg, vertex_errors
from operators.morphable import camera
from operators.morphable.fit import FitSettings, LandmarkFit, fit_landmarks
from operators.morphable.model import MorphableModel
from operators.morphable.uncertainty import Uncertainty, uncertainty

SIZE = 256.0
FOCAL_PX = 4 * SIZE


@dataclass(frozen=True)
class Conditions:
    """`yaw_deg` is the range of |yaw|; `hidden` the share of the landmarks, lowest first, that are not seen at all."""

    points: str = "468"
    noise_px: float = 1.0
    yaw_deg: tuple[float, float] = (0.0, 60.0)
    hidden: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Errors:
    """Means over the faces. Vertex errors in outer eye distances after similarity alignment; landmarks in crop pixels."""

    vertex: float
    lower_vertex: float
    pose_deg: float
    seen_px: float
    hidden_px: float
    z: float
    """Root mean square of landmark error over the standard deviation that the fit gave for it: 1 = honest."""
    guess: float


class LandmarkTruth:
    """`n` faces drawn from a model's own priors, 256-pixel crops, focal length known."""

    def __init__(self, model: MorphableModel, n: int, conditions: Conditions = Conditions()):
        self.model, self.n, self.conditions = model, n, conditions
        self.points = model.points(conditions.points)
        g = torch.Generator().manual_seed(conditions.seed)
        self.coefficients = torch.randn(n, self.points.modes.shape[-1], generator=g)
        low, high = conditions.yaw_deg
        yaw = (low + (high - low) * torch.rand(n, generator=g)) * torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
        pitch, roll = (torch.rand(2, n, generator=g) * 2 - 1) * torch.tensor([[15.0], [15.0]])
        self.rotation = camera.rotation_from_deg(torch.stack((pitch, yaw, roll), 1))
        mean = model.shape.mean
        height = float(mean[:, 1].max() - mean[:, 1].min())
        distance = torch.tensor([0.0, 0.0, FOCAL_PX * height / (0.75 * SIZE)])
        middle = camera.to_camera(mean.mean(0).expand(n, 1, 3), self.rotation, torch.zeros(n, 3))[:, 0]
        self.translation = distance - middle
        self.focal_px = torch.full((n,), FOCAL_PX)
        self.exact = self.project(self.points.at(self.coefficients), self.rotation, self.translation)
        self.target = self.exact + conditions.noise_px * torch.randn(self.exact.shape, generator=g)
        order = torch.argsort(self.points.mean[:, 1])
        self.hidden = torch.zeros(len(order), dtype=torch.bool)
        self.hidden[order[: round(conditions.hidden * len(order))]] = True
        self.weights = (~self.hidden).float().expand(n, -1).contiguous()

    def project(self, points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
        """Crop pixels."""
        return camera.project(camera.to_camera(points, rotation, translation), self.focal_px, SIZE)

    @property
    def settings(self) -> FitSettings:
        """What the fit is told: the true noise (a tenth of a pixel where there is none)."""
        return FitSettings(noise_px=max(self.conditions.noise_px, 0.1))

    def fit(self) -> LandmarkFit:
        """All faces at once."""
        return fit_landmarks(self.points, self.target, self.weights, self.focal_px, SIZE, self.settings)

    @cached_property
    def vertices(self) -> np.ndarray:
        """The true shapes."""
        return self.model.vertices(self.coefficients).numpy()

    def errors(self, fit: LandmarkFit) -> Errors:
        """How far a fit is off."""
        basis = self.model.basis
        eyes = (int(basis.landmarks68[36, 0]), int(basis.landmarks68[45, 0]))
        nose = float(basis.mean[basis.landmarks68[30], 1].mean())
        found = self.model.vertices(fit.coefficients).numpy()
        whole = vertex_errors(found, self.vertices, eyes)
        lower = vertex_errors(found, self.vertices, eyes, basis.mean[:, 1] < nose)
        off = self.project(self.points.at(fit.coefficients), fit.rotation, fit.translation) - self.exact
        unsure = self.uncertainty(fit)
        z = off.square().mean(-1).sqrt() / unsure.std_px
        px = off.norm(dim=-1)
        return Errors(
            vertex=float(whole.mean.mean()), lower_vertex=float(lower.mean.mean()),
            pose_deg=float(rotation_error_deg(fit.rotation.numpy(), self.rotation.numpy()).mean()),
            seen_px=float(px[:, ~self.hidden].mean()), hidden_px=float(px[:, self.hidden].mean()),
            z=float(z.square().mean().sqrt()), guess=float(unsure.guess.mean()),
        )  # fmt: skip

    def uncertainty(self, fit: LandmarkFit) -> Uncertainty:
        """What the fit itself says about its landmarks."""
        return uncertainty(self.points, fit, SIZE, torch.ones_like(fit.coefficients))
