"""Light and albedo of synthetic photos are told apart, with parts unseen."""

import numpy as np
import pytest

from operators.morphable.learn.texture import LIGHT_FLIP, fit_light, learn_texture, missing_pca, robust_mean, sh_basis, tone_modes
from operators.morphable.uv import Fold
from tests.operators.morphable.learn.test_pca import angle_cosines

PX = 24


def dome():
    """Normals over a square texture, symmetric about the middle column, facing the camera in the middle."""
    v, u = np.mgrid[0:PX, 0:PX] + 0.5
    x, y = (u / PX - 0.5).ravel() * 1.5, (0.5 - v / PX).ravel() * 1.5
    normal = np.stack([x, y, np.ones_like(x)], axis=1)
    return (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)


def fold():
    columns = np.arange(PX * PX) % PX
    flip = np.arange(PX * PX).reshape(PX, PX)[:, ::-1].ravel()
    return Fold.of(columns, flip, PX)


@pytest.fixture(scope="module")
def studio():
    """60 photos: skin of one colour with a dark spot mode and tones, random light, a fifth of the texels unseen."""
    rng = np.random.default_rng(0)
    normal = dome()
    row, column = np.divmod(np.arange(PX * PX), PX)
    spot = np.exp(-((row - 7) ** 2 + (np.abs(column - 11.5) - 6) ** 2) / 8)[:, None] * [[0.1, 0.1, 0.1]]
    skin = np.tile([0.7, 0.55, 0.45], (PX * PX, 1)) - 1.5 * spot
    light_mean = np.zeros((9, 3))
    light_mean[0], light_mean[2], light_mean[1] = 0.62, 0.38, 0.1
    tone = 1 + 0.1 * rng.standard_normal((60, 1, 1))
    coefficient = rng.standard_normal((60, 1, 1))
    albedo = tone * skin + coefficient * spot
    light = light_mean + 0.08 * rng.standard_normal((60, 9, 1)) * (np.arange(9) < 4)[:, None]
    color = albedo * np.maximum(np.einsum("tk,pkc->ptc", sh_basis(normal), light), 0)
    weight = (rng.random((60, PX * PX)) > 0.2).astype(np.float32)
    color = np.where(weight[..., None] > 0, color, 0).astype(np.float32)
    return normal, spot, skin, light_mean, light, albedo, color, weight


def test_sh_basis_mirrors_with_the_signs_given():
    normal = dome()
    assert np.allclose(sh_basis(normal * np.float32([-1, 1, 1])), sh_basis(normal) * LIGHT_FLIP, atol=1e-6)


def test_fold_keeps_symmetric_values_and_weighs_the_halves():
    f = fold()
    columns = np.arange(PX * PX) % PX
    symmetric = np.abs(columns - 11.5)[:, None] * np.ones(3)
    value, weight = f.mean(symmetric, np.ones(PX * PX))
    assert np.array_equal(value[f.slot], symmetric) and (weight == 1).all()
    left_only = np.where(columns < 12, 1.0, 0.0)
    value, weight = f.mean(np.where(left_only[:, None] > 0, 0.3, 0.9) * np.ones(3), left_only)
    assert np.allclose(value, 0.3, atol=1e-5) and (weight == 1).all()


def test_light_is_found_past_outliers(studio):
    normal, _, skin, light_mean, light, *_ = studio
    color = skin * (sh_basis(normal) @ light[0])
    color[: PX * 5] = 0.02  # dark hair over the top rows
    found = fit_light(color, sh_basis(normal), skin, np.ones(PX * PX), light_mean, np.full((9, 3), 0.3))
    error = np.abs(sh_basis(normal) @ (found - light[0]))[PX * 5 :]
    assert error.mean() < 0.01
    plain = np.linalg.lstsq(sh_basis(normal) * skin[:, :1], color[:, 0], rcond=None)[0]
    assert error.mean() < 0.3 * np.abs(sh_basis(normal) @ (plain - light[0][:, 0]))[PX * 5 :].mean()


def test_albedo_and_light_are_told_apart(studio):
    normal, spot, skin, _light_mean, _, _, color, weight = studio
    f = fold()
    half = len(f.left)
    normals = np.repeat(normal[None], 60, axis=0)
    neutral = np.zeros(60, bool)
    model = learn_texture(
        color, normals, weight, np.zeros(60, int), f, np.ones(half), np.zeros(half), neutral, 6, test=np.arange(50, 60)
    )
    assert model.modes.shape == (6, half, 3)
    ratio = model.mean / skin[f.left]
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.08, "the mean albedo has no shading in it"
    assert np.allclose(sh_basis(np.array([0, 0, 1.0])) @ model.light_mean, 1, atol=0.05)
    assert np.allclose(model.light_mean[LIGHT_FLIP < 0], 0, atol=1e-6)
    learned = model.modes[3:].reshape(3, -1)
    assert angle_cosines(learned, spot[f.left].reshape(1, -1)).max() > 0.9
    error = dict(model.held_out)
    assert error[0] > error[3] and error[3] < 0.05


def test_same_photos_same_bytes(studio):
    normal, *_, color, weight = studio
    f = fold()
    normals = np.repeat(normal[None, :], 20, axis=0)
    arguments = (np.zeros(20, int), f, np.ones(len(f.left)), np.zeros(len(f.left)), np.zeros(20, bool), 5)
    first, second = (learn_texture(color[:20], normals, weight[:20], *arguments, rounds=2) for _ in range(2))
    assert first.mean.tobytes() == second.mean.tobytes() and first.modes.tobytes() == second.modes.tobytes()


def test_robust_mean_ignores_hair_but_not_skin_tone():
    rng = np.random.default_rng(1)
    tone = rng.uniform(0.6, 1.1, (40, 1, 1))
    values = (0.6 * tone * np.ones((40, 50, 3))).astype(np.float32)
    values[:10, :5] = 0.02
    mean = robust_mean(values, np.ones((40, 50), np.float32))
    assert abs(mean[:5].mean() / mean[5:].mean() - 1) < 0.05
    assert abs(mean[5:].mean() - values[:, 5:].mean()) < 0.03


def test_tone_modes_change_skin_only_and_reach_dark_skin():
    rng = np.random.default_rng(2)
    mean = np.tile(np.float32([0.75, 0.6, 0.5]), (30, 1))
    albedo = mean * (1 + 0.05 * rng.standard_normal((50, 1, 1))).astype(np.float32)
    skin = (np.arange(30) < 25).astype(np.float32)
    modes = tone_modes(albedo, np.ones((50, 30), np.float32), mean, skin).reshape(3, 30, 3)
    assert np.array_equal(modes[:, 25:], np.zeros((3, 5, 3)))
    darkest = np.minimum(mean - 3 * modes[0], mean + 3 * modes[0])[:25]
    assert (darkest < 0.65 * mean[:25]).all()


def test_missing_values_are_filled_by_the_model():
    rng = np.random.default_rng(3)
    truth = np.linalg.qr(rng.standard_normal((120, 2)))[0].T.astype(np.float32) * 2
    values = (rng.standard_normal((200, 2)).astype(np.float32) @ truth).reshape(200, 40, 3) * 0.1
    weight = (rng.random((200, 40)) > 0.4).astype(np.float32)
    spoiled = np.where(weight[..., None] > 0, values, 5.0).astype(np.float32)
    fixed = np.full((1, 120), 1e-3, np.float32)
    model = missing_pca(spoiled, weight, np.zeros((40, 3), np.float32), fixed, 2, rounds=12)
    assert angle_cosines(model[1:], truth).min() > 0.97
