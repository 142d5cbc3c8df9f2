"""Albedo and light of many faces from samples of their visible skin: robust maximum a posteriori, both at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from operators.morphable.light import light_precision, sh_basis, shading_at
from operators.morphable.linear import normal_equations, solve_spd
from operators.morphable.model import rows_times
from operators.morphable.surface import SurfaceSamples

LIGHT = 27


@dataclass(frozen=True)
class AppearanceSettings:
    """`noise` is the standard deviation of a sample's colour (0..1), counting that neighbours are not independent; `robust` the
    least scale of a residual that costs a sample its say; `light_correlation` that of red, green and blue in the prior of
    light."""

    noise: float = 0.3
    rounds: int = 6
    min_samples: float = 15.0
    robust: float = 0.06
    light_correlation: float = 0.97


@dataclass(frozen=True)
class AppearanceFit:
    """Coefficients per face; `inliers` is the weight that robust fitting left to each sample."""

    albedo: Float[Tensor, "faces albedo"]
    light: Float[Tensor, "faces 9 3"]
    inliers: Float[Tensor, "faces samples"]


def believable(colours: Float[Tensor, "faces samples 3"], weights: Float[Tensor, "faces samples"]) -> Tensor:
    """Weights with those near black or white cut to a tenth."""
    saturated = (colours.amax(-1) > 0.98) | (colours.amax(-1) < 0.02)
    return torch.where(saturated, 0.1 * weights, weights)


def fit_appearance(
    colours: Float[Tensor, "faces samples 3"], weights: Float[Tensor, "faces samples"], normals: Float[Tensor, "faces samples 3"],
    samples: SurfaceSamples, light_mean: Float[Tensor, "9 3"], light_std: Float[Tensor, "9 3"],
    settings: AppearanceSettings = AppearanceSettings(),
) -> AppearanceFit:  # fmt: skip
    """Maximum a posteriori albedo (unit normal prior) and light (prior from the basis) under  colour = albedo * (SH(n) . light).

    `colours` in [0, 1]; `weights` 0 where a sample is hidden or not skin; unit `normals` in the viewer's frame. Damped
    Gauss-Newton on all coefficients together (albedo and light trade one overall factor, along which alternating between
    them creeps), each round with new Geman-McClure weights, so that glasses, hair and shadows lose their say. A face with
    too few samples keeps the priors' means.
    """
    base = believable(colours, weights)
    base = base * (base.sum(1, keepdim=True) >= settings.min_samples)
    harmonics = sh_basis(normals)
    albedo = colours.new_zeros(len(colours), samples.albedo.shape[-1])
    light = light_mean.expand(len(colours), -1, -1)
    precision = light_precision(light_std, settings.light_correlation)
    tint, shading = samples.tint(albedo), shading_at(harmonics, light)
    error = (colours - tint * shading).square().mean(-1)
    damping = colours.new_full((len(colours),), 1e-3)
    known = (damping, damping)
    for turn in range(settings.rounds):
        scale = robust_scale(error, base > 0, settings.robust)
        w = base * geman_mcclure(error, scale) / settings.noise**2
        H, g = appearance_system(samples, harmonics, tint, shading, colours - tint * shading, w)
        H[:, :LIGHT, :LIGHT] += precision
        g[:, :LIGHT] -= light_slope(light, light_mean, precision)
        H.diagonal(dim1=1, dim2=2)[:, LIGHT:] += 1
        g[:, LIGHT:] -= albedo
        if turn in (0, 2):  # changes little after that, and costs a quarter of a round
            known = known_unknowns(H, precision)
        share = base / base.sum(1, keepdim=True).clamp_min(1e-12)
        g -= volume_slope(samples, harmonics, tint, shading, share, known)
        H.diagonal(dim1=1, dim2=2).mul_(1 + damping[:, None])
        step = solve_spd(H, g)[0]
        new_light = light + step[:, :LIGHT].unflatten(1, (3, 9)).mT
        new_albedo = albedo + step[:, LIGHT:]
        new_tint, new_shading = samples.tint(new_albedo), shading_at(harmonics, new_light)
        new_error = (colours - new_tint * new_shading).square().mean(-1)

        before, after = (
            robust_cost(e, base, scale, settings.noise) + a.square().sum(1) + light_cost(x, light_mean, precision)
            + 2 * volume(t, s, share, known)
            for e, a, x, t, s in (
                (error, albedo, light, tint, shading), (new_error, new_albedo, new_light, new_tint, new_shading)
            )
        )  # fmt: skip
        better = after < before
        damping = torch.where(better, damping * 0.1, damping * 30)
        albedo, error = (torch.where(better[:, None], n, o) for n, o in ((new_albedo, albedo), (new_error, error)))
        pairs = ((new_light, light), (new_tint, tint), (new_shading, shading))
        light, tint, shading = (torch.where(better[:, None, None], n, o) for n, o in pairs)
    inliers = geman_mcclure(error, robust_scale(error, base > 0, settings.robust))
    return AppearanceFit(albedo, light, inliers * (base > 0))


def appearance_system(
    samples: SurfaceSamples,
    harmonics: Float[Tensor, "faces samples 9"],
    tint: Float[Tensor, "faces samples 3"],
    shading: Float[Tensor, "faces samples 3"],
    residual: Float[Tensor, "faces samples 3"],
    w: Float[Tensor, "faces samples"],
) -> tuple[Float[Tensor, "faces unknowns unknowns"], Float[Tensor, "faces unknowns"]]:
    """Normal equations of  residual = shading * d_tint + tint * d_shading, weighted by `w`.

    Unknowns: light channel by channel (27), then albedo.
    """
    count = samples.albedo.shape[-1]
    faces = len(residual)
    w3 = w[..., None]
    H = residual.new_zeros(faces, LIGHT + count, LIGHT + count)
    g = residual.new_zeros(faces, LIGHT + count)
    root = w.sqrt()
    for c in range(3):
        block = slice(9 * c, 9 * c + 9)
        H[:, block, block], g[:, block] = normal_equations(harmonics * (tint[..., c] * root)[..., None], residual[..., c] * root)
    mixed = harmonics[..., None, :] * (w3 * (tint * shading))[..., None]
    for c in range(3):
        rows = mixed[..., c, :].mT.flatten(0, 1)
        cross = rows_times(samples.channels[c].T, rows)[:, :count].unflatten(0, (faces, 9))
        H[:, 9 * c : 9 * c + 9, LIGHT:] = cross
    H[:, LIGHT:, :LIGHT] = H[:, :LIGHT, LIGHT:].mT
    packed = rows_times(samples.squares.T, (w3 * shading.square()).flatten(1))
    row, column = torch.triu_indices(count, count, device=packed.device)
    packed = packed[:, : len(row)]
    H[:, LIGHT + row, LIGHT + column] = packed
    H[:, LIGHT + column, LIGHT + row] = packed
    g[:, LIGHT:] = rows_times(samples.rows.T, (w3 * shading * residual).flatten(1))[:, :count]
    return H, g


def robust_scale(error: Float[Tensor, "faces samples"], mask: Bool[Tensor, "faces samples"], least: float) -> Tensor:
    """Median residual of each face, not below `least`."""
    middle = torch.where(mask, error.sqrt(), torch.nan).nanmedian(1).values
    return torch.nan_to_num(middle, nan=1.0)[:, None].clamp_min(least)


def geman_mcclure(error: Float[Tensor, "faces samples"], scale: Float[Tensor, "faces 1"]) -> Float[Tensor, "faces samples"]:
    """Weights of squared residuals; a quarter where the residual is sqrt(2) scale."""
    return (1 / (1 + error / (2 * scale.square()))).square()


def robust_cost(error: Tensor, base: Tensor, scale: Tensor, noise: float) -> Float[Tensor, " faces"]:
    """The loss whose weights are `geman_mcclure`, over the three channels of each sample."""
    return (base * 3 * error / (1 + error / (2 * scale.square()))).sum(1) / noise**2


def light_slope(light: Tensor, mean: Tensor, precision: Tensor) -> Float[Tensor, "faces 27"]:
    """Half the derivative of `light_cost`, channel by channel."""
    return ((light - mean).mT.flatten(1)[:, None] * precision).sum(-1)


def light_cost(light: Tensor, mean: Tensor, precision: Tensor) -> Float[Tensor, " faces"]:
    """Squared distance of a light to the prior's mean, in its standard deviations."""
    return (light_slope(light, mean, precision) * (light - mean).mT.flatten(1)).sum(1)


def known_unknowns(
    system: Float[Tensor, "faces unknowns unknowns"], precision: Float[Tensor, "27 27"]
) -> tuple[Float[Tensor, " faces"], Float[Tensor, " faces"]]:
    """How many coefficients of light and of albedo the photo determines: those that prior and posterior do not share."""
    count = system.shape[-1]
    extra = -count % 16
    padded = torch.nn.functional.pad(system, (0, extra, 0, extra))
    padded.diagonal(dim1=1, dim2=2)[:, count:] = 1
    factor, failed = torch.linalg.cholesky_ex(padded)
    one = torch.eye(count + extra, dtype=system.dtype, device=system.device).expand_as(factor)
    root = torch.linalg.solve_triangular(factor, one, upper=False)[:, :count, :count]
    light = LIGHT - (root[..., :LIGHT] @ torch.linalg.cholesky(precision)).square().sum((1, 2))
    albedo = count - LIGHT - root[..., LIGHT:].square().sum((1, 2))
    fine = (failed == 0) & torch.isfinite(light) & torch.isfinite(albedo)
    return tuple(torch.where(fine, x.clamp_min(0), torch.zeros_like(x)) for x in (light, albedo))  # type: ignore[return-value]


def volume(
    tint: Float[Tensor, "faces samples 3"], shading: Float[Tensor, "faces samples 3"], share: Float[Tensor, "faces samples"],
    known: tuple[Tensor, Tensor],
) -> Float[Tensor, " faces"]:  # fmt: skip
    """Minus the log of the posterior volume along the factor that albedo and light trade, up to a constant.

    Each albedo coefficient that the photo determines is the sharper the brighter the light, each light coefficient the
    brighter the albedo. Without this the most probable values are those of too bright a light: it makes every deviation
    of albedo cheaper.
    """
    by_tint, by_shading = ((share * x.clamp_min(0.02).log().mean(-1)).sum(1) for x in (tint, shading))
    return known[0] * by_tint + known[1] * by_shading


def volume_slope(
    samples: SurfaceSamples,
    harmonics: Float[Tensor, "faces samples 9"], tint: Float[Tensor, "faces samples 3"],
    shading: Float[Tensor, "faces samples 3"], share: Float[Tensor, "faces samples"], known: tuple[Tensor, Tensor],
) -> Float[Tensor, "faces unknowns"]:  # fmt: skip
    """Derivative of `volume` by light (channel by channel) and albedo."""
    by_shading = share[..., None] / (3 * shading.clamp_min(0.02))
    light = torch.cat([(harmonics * by_shading[..., c, None]).sum(1) for c in range(3)], 1)
    by_tint = share[..., None] / (3 * tint.clamp_min(0.02))
    albedo = rows_times(samples.rows.T, by_tint.flatten(1))[:, : samples.albedo.shape[-1]]
    return torch.cat((known[1][:, None] * light, known[0][:, None] * albedo), 1)
