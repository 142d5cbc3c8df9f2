"""Albedo and light from unwrapped photos: photo = albedo(texel) * max(light . Y(normal), 0), channel by channel.

Colours are display-coded (sRGB) values in [0, 1], as the photos have them. Y are the nine real spherical harmonics of the unit
normal, unnormalised (`sh_basis`). Light is fixed to the camera. Albedo is learned left-right symmetric: what differs between
the halves of a face is mostly light, and a symmetric prior completes a half-hidden face from the half that is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from operators.morphable import light as light_bands
from operators.morphable.learn.pca import masked_coefficients, principal_modes
from operators.morphable.uv import Fold


def sh_basis(normal: Float[np.ndarray, "*points 3"]) -> Float[np.ndarray, "*points 9"]:
    """`light.sh_basis` of arrays."""
    return light_bands.sh_basis(torch.from_numpy(normal)).numpy()


LIGHT_FLIP = np.array([1, 1, 1, -1, -1, 1, 1, -1, 1], np.float32)
"""Sign of each light coefficient in the mirror image."""

LIGHT_STRIDE = 7
"""Light has 27 unknowns: every seventh texel says as much as all."""

TINT_STD = 0.03
"""How far one colour channel's light may leave the shape common to all, per coefficient."""

MELANIN = np.array([0.52, 0.58, 0.63])
"""Direction, in log RGB, in which skin darkens."""


def fit_light(
    color: Float[np.ndarray, "texels 3"],
    basis: Float[np.ndarray, "texels 9"],
    albedo: Float[np.ndarray, "texels 3"],
    weight: Float[np.ndarray, " texels"],
    prior_mean: Float[np.ndarray, "9 3"],
    prior_std: Float[np.ndarray, "9 3"],
    noise: float = 0.06,
    rounds: int = 5,
) -> Float[np.ndarray, "9 3"]:
    """Most probable light of one photo given the albedo; pixels that do not fit (hair, glasses, highlights) lose their say.

    First the light's shape, one for all channels and with the given prior; then each channel's own, which may leave the common
    shape by `TINT_STD` only: what differs more between channels is skin. Iteratively reweighted least squares (Geman–McClure,
    scale 2 noise). The effective number of texels is capped at 400, because neighbours err alike.
    """
    grey = fit_light_channel(color.mean(1), basis, albedo.mean(1), weight, prior_mean.mean(1), prior_std.mean(1), noise, rounds)
    shading = np.maximum(basis @ grey, 0.05)
    result = np.empty_like(prior_mean)
    for c in range(3):
        use = (weight > 0.3) & (albedo[:, c] > 0.1)
        gain = float(np.median(color[use, c] / (albedo[use, c] * shading[use]))) if use.any() else 1.0
        spread = np.where(np.arange(9) == 0, 0.3, TINT_STD).astype(prior_std.dtype)
        result[:, c] = fit_light_channel(color[:, c], basis, albedo[:, c], weight, gain * grey, spread, noise, rounds)
    return result


def fit_light_channel(
    value: Float[np.ndarray, " texels"],
    basis: Float[np.ndarray, "texels 9"],
    albedo: Float[np.ndarray, " texels"],
    weight: Float[np.ndarray, " texels"],
    prior_mean: Float[np.ndarray, "9"],
    prior_std: Float[np.ndarray, "9"],
    noise: float,
    rounds: int,
) -> Float[np.ndarray, "9"]:
    """One channel of `fit_light`."""
    light = prior_mean
    influence = min(1.0, 400 / max(float(weight.sum()), 1.0))
    design, precision = basis * albedo[:, None], 1 / prior_std**2
    for _ in range(rounds):
        residual = value - albedo * np.maximum(basis @ light, 0)
        w = weight * influence / (1 + (residual / (2 * noise)) ** 2) ** 2
        left = (design * w[:, None]).T @ design / noise**2 + np.diag(precision)
        light = np.linalg.solve(left, (design * w[:, None]).T @ value / noise**2 + precision * prior_mean)
    return light


@dataclass(frozen=True)
class TextureModel:
    """Albedo over the left half of the covered texels, modes scaled by standard deviation; light over the photos."""

    mean: Float[np.ndarray, "half 3"]
    modes: Float[np.ndarray, "albedo half 3"]
    light_mean: Float[np.ndarray, "9 3"]
    light_std: Float[np.ndarray, "9 3"]
    light: Float[np.ndarray, "photos 9 3"]
    held_out: tuple[tuple[int, float], ...] = ()
    """Number of modes, and what they leave unexplained of photos not learned from (RMS of RGB in [0, 1])."""


def learn_texture(
    color: Float[np.ndarray, "photos covered 3"],
    normal: Float[np.ndarray, "photos covered 3"],
    weight: Float[np.ndarray, "photos covered"],
    studio: Int[np.ndarray, " photos"],
    fold: Fold,
    skin: Float[np.ndarray, " half"],
    mouth: Float[np.ndarray, " half"],
    neutral: Bool[np.ndarray, " photos"],
    modes: int,
    rounds: int = 3,
    test: Int[np.ndarray, " held_out"] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> TextureModel:
    """Alternate light, mean albedo and albedo modes. `weight` in [0, 1], 0 = not seen; `skin` in [0, 1], 0 = eyes and mouth;
    `mouth` in [0, 1], 1 = between the lips.

    The first light is found as if all skin had one colour: otherwise the shading that all photos share would become albedo.
    Scale between light and albedo: photos of one `studio` (folder) share their mean light, so people's differences of skin tone
    go to the albedo and hardly to the light; the mean light has shading 1 towards the camera.
    The first three modes are a change of skin tone as a whole, with a generous spread (`tone_modes`). Between the lips the mean
    is that of the photos known to be neutral (a closed mouth), and the fourth mode is what shows when the mouth opens.
    Photos in `test` get light and albedo but do not shape mean or modes.
    """
    photos, half = len(color), len(fold.left)
    learned = np.setdiff1d(np.arange(photos), [] if test is None else test)
    one_colour = np.median(color[learned][:, fold.left][weight[learned][:, fold.left] > 0.9].astype(np.float32), axis=0)
    expected = np.tile(one_colour, (photos, half, 1)).astype(np.float32)
    light_mean, light_std = np.zeros((9, 3), np.float32), np.full((9, 3), 0.25, np.float32)
    light_std[4:] = 0.08
    light_mean[0], light_mean[2] = 0.6, 0.4
    light = np.empty((photos, 9, 3), np.float32)
    albedo, seen = np.empty((photos, half, 3), np.float32), np.empty((photos, half), np.float32)
    mean, model = expected[0], np.zeros((0, half * 3), np.float32)
    for turn in range(rounds):
        for i in range(photos):
            some = slice(i % LIGHT_STRIDE, None, LIGHT_STRIDE)
            w = weight[i, some] * (skin[fold.slot[some]] if turn == 0 else 1)
            basis = sh_basis(normal[i, some].astype(np.float32))
            guess = np.clip(expected[i, fold.slot[some]], 0.02, 1)
            light[i] = fit_light(color[i, some].astype(np.float32), basis, guess, w, light_mean, light_std)
        light = _share_tone(light, studio)
        light /= (light * sh_basis(np.array([0, 0, 1.0], np.float32))[None, :, None]).sum(1).mean()
        both = np.concatenate([light[learned], light[learned] * LIGHT_FLIP[:, None]])
        light_mean, light_std = both.mean(0), np.maximum(both.std(0), 0.02)
        for i in range(photos):
            shading = sh_basis(normal[i].astype(np.float32)) @ light[i]
            value = np.clip(color[i].astype(np.float32) / np.maximum(shading, 0.3), 0, 1.2)
            albedo[i], seen[i] = fold.mean(value, weight[i] * (shading.min(1) > 0.3))
        closed = neutral[learned]
        mean = robust_mean(albedo[learned], seen[learned])
        tone = tone_modes(albedo[learned], seen[learned], mean, skin)
        if closed.any() and not closed.all():
            opened = robust_mean(albedo[learned][~closed], seen[learned][~closed])
            shut = robust_mean(albedo[learned][closed], seen[learned][closed])
            mean = mean + mouth[:, None] * (shut - mean)
            tone = np.concatenate([tone, (mouth[:, None] * (opened - shut)).reshape(1, -1)])
        last = turn == rounds - 1
        count = modes - len(tone) if last else 16
        model = missing_pca(albedo[learned], seen[learned], mean, tone, count, 4 if last else 2)
        flat = (albedo - mean).reshape(photos, -1)
        expected = (masked_coefficients(flat, np.repeat(seen, 3, axis=1), model) @ model).reshape(photos, half, 3) + mean
        progress(f"texture round {turn + 1} of {rounds}")
    held_out = () if test is None else _held_out(albedo[test], seen[test], mean, model)
    return TextureModel(mean, model.reshape(-1, half, 3), light_mean, light_std, light, held_out)


def _share_tone(light: np.ndarray, studio: np.ndarray, kept: float = 0.1, tint: float = 0.7) -> np.ndarray:
    """Each photo's overall light pulled to its studio's median.

    Of a photo's log difference, `kept` of the part along the direction in which skin darkens stays in the light, and `tint`
    of the rest (which is as likely white balance as skin).
    """
    tone = np.log(np.maximum(light[:, 0] + light[:, 2] + 2 * light[:, 6], 0.05))
    middle = np.empty_like(tone)
    for s in np.unique(studio):
        middle[studio == s] = np.median(tone[studio == s], axis=0)
    away = tone - middle
    axis = MELANIN / np.linalg.norm(MELANIN)
    along = (away @ axis)[:, None] * axis
    return (light * np.exp(kept * along + tint * (away - along) - away)[:, None]).astype(np.float32)


def robust_mean(
    values: Float[np.ndarray, "photos half 3"], weight: Float[np.ndarray, "photos half"], scale: float = 0.15
) -> Float[np.ndarray, "half 3"]:
    """Weighted mean over photos in which outliers (hair over the temples, glasses) lose their say; three reweightings."""
    trust = weight
    mean = np.zeros(values.shape[1:], np.float32)
    for _ in range(4):
        mean = np.einsum("pc,pck->ck", trust, values) / np.maximum(trust.sum(0), 1e-6)[:, None]
        # an overall lighter or darker face is no outlier: compare after its own median ratio
        ratio = np.median(values[:, ::5] / np.maximum(mean[::5], 0.05), axis=1, keepdims=True)
        trust = weight / (1 + (np.abs(values / np.maximum(ratio, 0.2) - mean).max(2) / scale) ** 2) ** 2
    return mean.astype(np.float32)


def tone_modes(albedo, seen, mean, skin, generous: float = 0.22) -> np.ndarray:
    """Three modes that change the skin's colour as a whole, from the photos' median colour ratios to the mean.

    The first (light to dark) has at least `generous` standard deviation of relative change: the photos show fewer dark
    skins than the world has.
    """
    ratios = []
    chosen = skin > 0.5
    for value, w in zip(albedo[:, chosen], seen[:, chosen], strict=True):
        use = w > 0.5
        ratios.append(np.median(value[use] / np.maximum(mean[chosen][use], 0.05), axis=0) if use.any() else np.ones(3))
    variance, direction = np.linalg.eigh(np.cov(np.array(ratios).T))
    spread = np.sqrt(np.maximum(variance[::-1], 1e-8))
    spread[0] = max(spread[0], generous * np.sqrt(3))  # a unit direction over three channels
    direction = direction.T[::-1]
    direction = direction * np.sign(direction[np.arange(3), np.abs(direction).argmax(1)])[:, None]
    return np.stack([(mean * skin[:, None] * d * s).ravel() for d, s in zip(direction, spread, strict=True)]).astype(np.float32)


def missing_pca(
    values: Float[np.ndarray, "photos half 3"],
    weight: Float[np.ndarray, "photos half"],
    mean: Float[np.ndarray, "half 3"],
    fixed: Float[np.ndarray, "fixed values"],
    count: int,
    rounds: int,
    scale: float = 0.2,
) -> Float[np.ndarray, "modes values"]:
    """The fixed modes and `count` learned beside them, unseen and outlying texels filled in by the model itself.

    Expectation–maximisation for missing data (Roweis 1998) with Geman–McClure weights; deterministic.
    """
    photos, half, _ = values.shape
    flat_weight = np.repeat(weight, 3, axis=1)
    centred = (values - mean).reshape(photos, -1)
    model = fixed
    for _ in range(rounds):
        coefficients = masked_coefficients(centred, flat_weight, model)
        fit = coefficients @ model
        off = np.abs(centred - fit).reshape(photos, half, 3).max(2)
        trust = flat_weight * np.repeat(1 / (1 + (off / scale) ** 2) ** 2, 3, axis=1)
        rest = fit + trust * (centred - fit)
        rest -= np.linalg.lstsq(fixed.T, rest.T, rcond=None)[0].T @ fixed
        model = np.concatenate([fixed, principal_modes(rest - rest.mean(0), count).astype(np.float32)])
    return model


def _held_out(albedo, seen, mean, model) -> tuple[tuple[int, float], ...]:
    flat, w = (albedo - mean).reshape(len(albedo), -1), np.repeat(seen, 3, axis=1)
    result = []
    for count in (0, 3, 10, 20, 40, 60, 80):
        if count <= len(model):
            left = flat - masked_coefficients(flat, w, model[:count]) @ model[:count] if count else flat
            result.append((count, float(np.sqrt((w * left**2).sum() / w.sum()))))
    return tuple(result)
