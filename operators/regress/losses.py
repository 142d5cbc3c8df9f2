"""Deep3D's training losses (Deng et al. 2019, section 3), one function each; means and sums as in its PyTorch code."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from operators.regress.deep3d import Deep3dVector

WEIGHTS = {"photo": 1.92, "landmark": 1.6e-3, "identity": 0.2, "coefficients": 3e-4, "light": 10.0, "reflectance": 5.0}
"""Weight of each loss in the sum of the published training."""
HEAVY_LANDMARKS = (28, 29, 30, *range(60, 68))
"""Nose bridge and inner lips count twentyfold."""


def coefficient_loss(parts: Deep3dVector, identity: float = 1.0, expression: float = 0.8, texture: float = 1.7e-2) -> Tensor:
    """Weighted sum of squared coefficients, per face."""
    squares = [part.square().sum() for part in (parts.identity, parts.expression, parts.texture)]
    total = identity * squares[0] + expression * squares[1] + texture * squares[2]
    return total / len(parts.identity)


def light_loss(parts: Deep3dVector) -> Tensor:
    """How far the light is from the same in red, green and blue."""
    return (parts.light - parts.light.mean(1, keepdim=True)).square().mean()


def landmark_loss(found: Float[Tensor, "faces 68 2"], truth: Float[Tensor, "faces 68 2"]) -> Tensor:
    """Weighted squared distance, mean over points and faces."""
    weight = found.new_ones(68)
    weight[list(HEAVY_LANDMARKS)] = 20
    return ((found - truth).square().sum(-1) * weight).sum() / (len(found) * 68)


def photo_loss(
    found: Float[Tensor, "faces 3 h w"], truth: Float[Tensor, "faces 3 h w"], mask: Float[Tensor, "faces 1 h w"]
) -> Tensor:
    """Distance of colours (not squared), mean over the mask."""
    distance = (1e-6 + (found - truth).square().sum(1, keepdim=True)).sqrt()
    return (distance * mask).sum() / mask.sum().clamp_min(1)


def identity_loss(found: Float[Tensor, "faces 512"], truth: Float[Tensor, "faces 512"]) -> Tensor:
    """One minus the cosine of unit-length face embeddings."""
    return (1 - (found * truth).sum(-1)).mean()


def reflectance_loss(albedo: Float[Tensor, "faces vertices 3"], skin: Float[Tensor, " vertices"]) -> Tensor:
    """Spread of the albedo over the skin's vertices."""
    weight = skin[None, :, None]
    mean = (weight * albedo).sum(1, keepdim=True) / skin.sum()
    return ((albedo - mean) * weight).square().sum() / (len(albedo) * skin.sum())
