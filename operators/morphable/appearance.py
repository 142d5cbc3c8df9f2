"""Albedo and light of many faces from their visible skin pixels, by alternating linear least squares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from operators.morphable.atlas import AlbedoModel
from operators.morphable.light import sh_basis
from operators.rasterize.base import Fragments


@dataclass(frozen=True)
class AppearanceSettings:
    """`noise` is the standard deviation of a pixel (0..1) counting that neighbours are not independent; `robust` the least
    scale of a residual that costs a pixel its say; `light_correlation` that of red, green and blue in the prior of light."""

    noise: float = 0.3
    rounds: int = 4
    min_pixels: float = 30.0
    robust: float = 0.06
    light_correlation: float = 0.97


@dataclass(frozen=True)
class AppearanceFit:
    """Coefficients per face; `inliers` is the weight that robust fitting left to each pixel."""

    albedo: Float[Tensor, "faces albedo"]
    light: Float[Tensor, "faces 9 3"]
    inliers: Float[Tensor, "faces pixels"]


def surface_albedo(model: AlbedoModel, fragments: Fragments) -> Float[Tensor, "faces pixels 3 modes_and_mean"]:
    """Mean and modes of the albedo at every pixel, 0 where no triangle is."""
    hit = fragments.pix_to_face.flatten(1) >= 0
    out = model.values.new_zeros(*hit.shape, *model.values.shape[1:])
    out[hit] = model.at(fragments.pix_to_face.flatten(1)[hit].long(), fragments.barycentric.flatten(1, 2)[hit])
    return out


def fit_appearance(
    colours: Float[Tensor, "faces pixels 3"], weights: Float[Tensor, "faces pixels"], normals: Float[Tensor, "faces pixels 3"],
    surface: Float[Tensor, "faces pixels 3 modes_and_mean"], light_mean: Float[Tensor, "9 3"], light_std: Float[Tensor, "9 3"],
    settings: AppearanceSettings = AppearanceSettings(),
) -> AppearanceFit:  # fmt: skip
    """Maximum a posteriori albedo (unit normal prior) and light (prior from the basis) under  colour = albedo * (SH(n) . light).

    `colours` in [0, 1]; `weights` 0 where a pixel is hidden or not skin; unit `normals` in the viewer's frame. Each round
    solves light, then albedo, then reweights pixels (Geman-McClure) so that glasses, hair and shadows lose their say. Pixels
    near black or white count little. A face with too few pixels keeps the priors' means.
    """
    saturated = (colours.amax(-1) > 0.98) | (colours.amax(-1) < 0.02)
    base = torch.where(saturated, 0.1 * weights, weights)
    base = base * (base.sum(1, keepdim=True) >= settings.min_pixels)
    harmonics = sh_basis(normals)
    inliers = torch.ones_like(base)
    albedo = colours.new_zeros(len(colours), surface.shape[-1] - 1)
    light = light_mean.expand(len(colours), -1, -1)
    precision = _light_precision(light_std, settings.light_correlation)
    for _ in range(settings.rounds):
        w = base * inliers / settings.noise**2
        tint = surface[..., 0] + torch.matmul(surface[..., 1:], albedo[:, None, :, None])[..., 0]
        light = _solve_light(harmonics, tint, colours, w, light_mean, precision)
        shading = torch.bmm(harmonics, light).clamp_min(1e-3)
        x = (surface * shading[..., None] * w.sqrt()[..., None, None]).flatten(1, 2)
        y = (colours * w.sqrt()[..., None]).flatten(1)[..., None] - x[..., :1]
        x = x[..., 1:]
        system = x.mT @ x
        system.diagonal(dim1=1, dim2=2).add_(1)
        albedo = torch.cholesky_solve(x.mT @ y, torch.linalg.cholesky(system))[..., 0]
        tint = surface[..., 0] + torch.matmul(surface[..., 1:], albedo[:, None, :, None])[..., 0]
        error = (colours - tint * shading).square().mean(-1)
        spread = _weighted_median(error.sqrt(), base > 0)[:, None].clamp_min(settings.robust)
        inliers = (1 / (1 + error / (2 * spread).square())).square()
    return AppearanceFit(albedo, light, inliers * (base > 0))


def _light_precision(light_std: Float[Tensor, "9 3"], correlation: float) -> Float[Tensor, "27 27"]:
    """Inverse prior covariance, channel by channel: a coefficient's three channels move together."""
    std = light_std.T.flatten()
    same = torch.eye(9, dtype=std.dtype, device=std.device)
    mix = torch.full((3, 3), correlation, dtype=std.dtype, device=std.device).fill_diagonal_(1.0)
    return torch.linalg.inv(torch.kron(mix, same) * std[:, None] * std)


def _solve_light(
    harmonics: Float[Tensor, "faces pixels 9"],
    tint: Float[Tensor, "faces pixels 3"],
    colours: Float[Tensor, "faces pixels 3"],
    w: Float[Tensor, "faces pixels"],
    mean: Float[Tensor, "9 3"],
    precision: Float[Tensor, "27 27"],
) -> Float[Tensor, "faces 9 3"]:
    system = precision.expand(len(w), -1, -1).clone()
    right = (precision @ mean.T.flatten()).expand(len(w), -1).clone()
    for c in range(3):
        x = harmonics * (tint[..., c] * w.sqrt())[..., None]
        block = slice(9 * c, 9 * c + 9)
        system[:, block, block] += x.mT @ x
        right[:, block] += (x.mT @ (colours[..., c] * w.sqrt())[..., None])[..., 0]
    solved = torch.cholesky_solve(right[..., None], torch.linalg.cholesky(system))[..., 0]
    return solved.unflatten(1, (3, 9)).mT


def _weighted_median(values: Float[Tensor, "faces pixels"], mask: Tensor) -> Float[Tensor, " faces"]:
    return torch.nan_to_num(torch.where(mask, values, torch.nan).nanmedian(1).values, nan=1.0)


def area_resize(images: Float[Tensor, "faces height width channels"], px: int) -> Float[Tensor, "faces pixels channels"]:
    """Pictures averaged down to `px` x `px`, pixels in row order."""
    small = torch.nn.functional.interpolate(images.movedim(-1, 1), size=(px, px), mode="area")
    return small.movedim(1, -1).flatten(1, 2)
