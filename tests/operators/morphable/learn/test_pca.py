"""Known modes are recovered, from whole and from incomplete data."""

import numpy as np

from operators.morphable.learn.pca import masked_coefficients, mirror_modes, principal_modes, ridge_coefficients


def angle_cosines(a, b):
    """Cosines of the principal angles between two row spaces."""
    return np.linalg.svd(np.linalg.qr(a.T)[0].T @ np.linalg.qr(b.T)[0])[1]


def test_principal_modes_recover_a_known_space_and_its_scale():
    rng = np.random.default_rng(0)
    truth = np.linalg.qr(rng.standard_normal((300, 3)))[0].T * np.array([[5.0], [3.0], [1.0]])
    data = rng.standard_normal((400, 3)) @ truth
    modes = principal_modes(data - data.mean(0), 3)
    assert angle_cosines(modes, truth).min() > 0.999
    assert np.allclose(np.linalg.norm(modes, axis=1), [5, 3, 1], rtol=0.1)


def test_signs_are_fixed_and_repeats_are_identical():
    data = np.random.default_rng(1).standard_normal((20, 50))
    modes = principal_modes(data, 5)
    assert (modes[np.arange(5), np.abs(modes).argmax(1)] > 0).all()
    assert principal_modes(data.copy(), 5).tobytes() == modes.tobytes()
    assert np.allclose(np.abs(principal_modes(-data, 5)), np.abs(modes))


def test_no_more_modes_than_the_data_have():
    data = np.outer(np.arange(5.0), np.ones(30))
    assert len(principal_modes(data, 4)) == 1


def test_mirror_modes_are_symmetric_or_antisymmetric():
    rng = np.random.default_rng(2)
    data = rng.standard_normal((30, 40))
    modes = mirror_modes(data, data[:, ::-1], 10)
    even = np.abs(modes - modes[:, ::-1]).max(1) < 1e-9
    odd = np.abs(modes + modes[:, ::-1]).max(1) < 1e-9
    assert (even | odd).all() and even.any() and odd.any()
    size = np.linalg.norm(modes, axis=1)
    assert (np.diff(size) <= 1e-12).all()


def test_coefficients_with_and_without_missing_values():
    rng = np.random.default_rng(3)
    modes = rng.standard_normal((4, 200))
    truth = rng.standard_normal((6, 4))
    data = truth @ modes
    assert np.allclose(ridge_coefficients(data, modes, 1e-4), truth, atol=1e-5)
    weight = (rng.random(data.shape) > 0.6).astype(float)
    spoiled = np.where(weight > 0, data, 1e3)
    assert np.allclose(masked_coefficients(spoiled, weight, modes, 1e-4), truth, atol=1e-5)


def test_nothing_seen_gives_the_mean():
    modes = np.ones((1, 10))
    assert np.array_equal(masked_coefficients(np.full((1, 10), 5.0), np.zeros((1, 10)), modes), [[0.0]])
