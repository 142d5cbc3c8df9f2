"""Albedo and light from unwrapped photos: photo = albedo(texel) * max(light . Y(normal), 0), channel by channel.

Colours are display-coded (sRGB) values in [0, 1], as the photos have them. Y are the nine real spherical harmonics of the unit
normal, unnormalised (`sh_basis`). Light is fixed to the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from operators.morphable.learn.pca import masked_coefficients, mirror_modes


def sh_basis(normal: Float[np.ndarray, "*points 3"]) -> Float[np.ndarray, "*points 9"]:
    """1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2 of unit normals (x right, y up, z to the camera); Ramamoorthi & Hanrahan 2001."""
    x, y, z = normal[..., 0], normal[..., 1], normal[..., 2]
    return np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=-1)


LIGHT_FLIP = np.array([1, 1, 1, -1, -1, 1, 1, -1, 1], np.float32)
"""Sign of each light coefficient in the mirror image."""


def fit_light(
    color: Float[np.ndarray, "texels 3"],
    basis: Float[np.ndarray, "texels 9"],
    albedo: Float[np.ndarray, "texels 3"],
    weight: Float[np.ndarray, "texels"],
    prior_mean: Float[np.ndarray, "9 3"],
    prior_std: Float[np.ndarray, "9 3"],
    noise: float = 0.06,
    rounds: int = 5,
) -> Float[np.ndarray, "9 3"]:
    """Most probable light of one photo given the albedo; pixels that do not fit (hair, glasses, highlights) lose their say.

    Iteratively reweighted least squares (Geman–McClure, scale 2 noise). `noise` is per texel; the effective number of texels
    is capped, because neighbours err alike.
    """
    light = prior_mean.copy()
    influence = min(1.0, 400 / max(float(weight.sum()), 1.0))
    for _ in range(rounds):
        residual = np.abs(color - albedo * np.maximum(basis @ light, 0)).max(1)
        w = weight * influence / (1 + (residual / (2 * noise)) ** 2) ** 2
        for channel in range(3):
            design = basis * albedo[:, channel : channel + 1]
            precision = 1 / prior_std[:, channel] ** 2
            normal = (design * w[:, None]).T @ design / noise**2 + np.diag(precision)
            right = (design * w[:, None]).T @ color[:, channel] / noise**2 + precision * prior_mean[:, channel]
            light[:, channel] = np.linalg.solve(normal, right)
    return light


LIGHT_STRIDE = 7
"""Light has 27 unknowns: every seventh texel says as much as all."""

FIT_STRIDE = 4
"""Of the texels' values used to find a photo's coefficients; neighbours say nearly the same."""


@dataclass(frozen=True)
class TextureModel:
    """Albedo over the covered texels, modes scaled by standard deviation; light over the photos."""

    mean: Float[np.ndarray, "covered 3"]
    modes: Float[np.ndarray, "albedo covered 3"]
    light_mean: Float[np.ndarray, "9 3"]
    light_std: Float[np.ndarray, "9 3"]


def learn_texture(
    color: Float[np.ndarray, "photos covered 3"],
    normal: Float[np.ndarray, "photos covered 3"],
    weight: Float[np.ndarray, "photos covered"],
    studio: Int[np.ndarray, "photos"],
    flip: Int[np.ndarray, "covered"],
    modes: int,
    rounds: int = 3,
    progress=lambda text: None,
) -> TextureModel:
    """Alternate light, mean albedo and albedo modes. `weight` in [0, 1], 0 = not seen; `flip`: mirror partner of each texel.

    Scale between light and albedo: photos of one `studio` (folder) share their mean light, so people's differences of overall
    skin tone go to the albedo (9 parts of 10) and hardly to the light; the mean light has shading 1 towards the camera.
    """
    photos, covered, _ = color.shape
    color = color.astype(np.float32)
    mean = _robust_mean(color, weight, flip)
    light_mean = np.zeros((9, 3), np.float32)
    light_mean[0], light_mean[2] = 0.8, 0.2
    light_std = np.full((9, 3), 0.3, np.float32)
    model = np.zeros((0, covered * 3), np.float32)
    albedo = np.empty_like(color)
    seen = np.empty_like(weight)
    light = np.empty((photos, 9, 3), np.float32)
    coefficients = np.zeros((photos, 0), np.float32)
    for turn in range(rounds):
        for i in range(photos):
            predicted = mean + (coefficients[i] @ model).reshape(-1, 3)
            some = slice(i % LIGHT_STRIDE, None, LIGHT_STRIDE)
            expected = np.clip(predicted[some], 0.02, 1)
            light[i] = fit_light(color[i, some], sh_basis(normal[i, some]), expected, weight[i, some], light_mean, light_std)
        light = _share_tone(light, studio)
        facing = (light * sh_basis(np.array([0, 0, 1.0]))[None, :, None]).sum(1).mean()
        light /= facing
        both = np.concatenate([light, light * LIGHT_FLIP[:, None]])
        light_mean, light_std = both.mean(0), np.maximum(both.std(0), 0.02)
        for i in range(photos):
            shading = sh_basis(normal[i].astype(np.float32)) @ light[i]
            albedo[i] = color[i] / np.maximum(shading, 0.3)
            seen[i] = weight[i] * (shading.min(1) > 0.3)
        np.clip(albedo, 0, 1.2, out=albedo)
        mean = _robust_mean(albedo, seen, flip)
        last = turn == rounds - 1
        model, coefficients = _missing_pca(albedo, seen, mean, flip, modes if last else min(modes, 16), 4 if last else 2)
        progress(f"texture round {turn + 1} of {rounds}")
    return TextureModel(mean, model.reshape(-1, covered, 3), light_mean, light_std)


def _share_tone(light: np.ndarray, studio: np.ndarray, kept: float = 0.1) -> np.ndarray:
    """Each photo's overall light per channel pulled to its studio's median, `kept` of the log difference left in the light."""
    tone = np.log(np.maximum(light[:, 0] + light[:, 2] + 2 * light[:, 6], 0.05))
    middle = np.empty_like(tone)
    for s in np.unique(studio):
        middle[studio == s] = np.median(tone[studio == s], axis=0)
    return light * np.exp((1 - kept) * (middle - tone))[:, None]


def _robust_mean(values: np.ndarray, weight: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Symmetric weighted mean over photos."""
    total = np.einsum("pc,pck->ck", weight, values)
    count = weight.sum(0)[:, None]
    return ((total + total[flip]) / np.maximum(count + count[flip], 1e-6)).astype(np.float32)


def _missing_pca(values, weight, mean, flip, modes, rounds: int, noise: float = 0.06):
    """Modes and coefficients with unseen texels filled in by the model itself (expectation–maximisation; Roweis 1998)."""
    photos, covered, _ = values.shape
    flat_weight = np.repeat(weight, 3, axis=1).astype(np.float32)
    centred = (values - mean).reshape(photos, -1)
    filled = centred * flat_weight
    model, coefficients = np.zeros((0, covered * 3), np.float32), np.zeros((photos, 0), np.float32)
    for turn in range(rounds):
        flipped = filled.reshape(photos, covered, 3)[:, flip].reshape(photos, -1)
        model = mirror_modes(filled, flipped, modes).astype(np.float32)
        some = slice(turn % FIT_STRIDE, None, FIT_STRIDE)
        coefficients = masked_coefficients(centred[:, some], flat_weight[:, some], model[:, some], noise * 2)
        if turn < rounds - 1:
            fit = coefficients @ model
            off = np.abs(centred - fit).reshape(photos, covered, 3).max(2)
            trust = flat_weight * np.repeat(1 / (1 + (off / 0.2) ** 2) ** 2, 3, axis=1)
            filled = fit + trust * (centred - fit)
    return model, coefficients
