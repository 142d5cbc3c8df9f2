import math

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from operators.metrics.sets import discriminative_scores, frechet_distance, kernel_distance
from tests.formula_weights import formula
from tests.operators.metrics.published import published


def sets(n=60, m=50, d=16):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, d)), 0.3 + 1.2 * rng.normal(size=(m, d))


def naive_frechet(x, y):
    from scipy.linalg import sqrtm

    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)


def test_frechet_distance_is_pytorch_fids():
    a, b = formula("metrics/featA", (400, 32)), 0.3 + 1.2 * formula("metrics/featB", (500, 32))
    assert frechet_distance(a, b, resamples=0).value == pytest.approx(published()["frechet"][0], rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(60, 50), (10, 9), (60, 9), (9, 60)])
def test_both_routes_to_the_frechet_distance_agree_with_its_definition(n, m):
    x, y = sets(n, m)
    found = frechet_distance(x, y, resamples=0).value
    if min(n, m) > x.shape[1]:
        assert found == pytest.approx(naive_frechet(x, y), rel=1e-9)
    wide = np.concatenate((x, np.zeros((n, 100))), 1), np.concatenate((y, np.zeros((m, 100))), 1)
    assert frechet_distance(*wide, resamples=0).value == pytest.approx(found, rel=1e-9)


def test_frechet_distance_of_a_shifted_set_is_the_shift_squared():
    x, _ = sets()
    assert frechet_distance(x + 2, x, resamples=0).value == pytest.approx(4 * x.shape[1])
    assert frechet_distance(x, x, resamples=0).value == pytest.approx(0, abs=1e-9)


def test_kernel_distance_of_small_integers_by_hand():
    # One feature, so k(a, b) = (a b + 1)^3: k(0, 1) = 1 and k(2, 3) = 343; across 1, 1, 27, 64.
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert kernel_distance(x, y).value == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)
    # In pairs (0, 2) and (1, 3) do not meet: across 1 and 27.
    assert kernel_distance(x, y, paired=True).value == pytest.approx(1 + 343 - 2 * (1 + 27) / 2)


def test_kernel_distance_is_torch_fidelitys():
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    x, y = sets(40, 40)
    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    kernels = [kernel_poly(a, b, **options) for a, b in ((x, x), (x, y), (y, y))]
    assert kernel_distance(x, y).value == pytest.approx(mmd2(*kernels), rel=1e-9)
    assert kernel_distance(x, y, paired=True).value == pytest.approx(mmd2(*kernels, mmd_est="u-statistic"), rel=1e-9)


def test_pairs_that_share_most_do_not_pull_the_kernel_distance_below_zero():
    x, _ = sets(30)
    y = x + np.random.default_rng(2).normal(0, 0.01, x.shape)
    paired = kernel_distance(x, y, paired=True)
    assert abs(paired.value) < 0.01 and paired.low <= 0 <= paired.high
    assert kernel_distance(x, y).value < -0.05


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_intervals_hold_the_value_narrow_with_n_and_repeat(distance, paired):
    few, many = (distance(*sets(n, n), paired=paired, seed=3) for n in (30, 300))
    assert few.low < few.value < few.high and many.low < many.value < many.high
    assert many.high - many.low < few.high - few.low
    assert (few.n, few.n_truth, few.resamples) == (30, 30, 200)
    assert distance(*sets(30, 30), paired=paired, seed=3) == few
    assert distance(*sets(30, 30), paired=paired, seed=4).low != few.low


def test_covariance_route_has_intervals_too():
    x, y = sets(60, 60, 4)
    found = frechet_distance(x, y, resamples=20)
    assert 0 < found.low < found.value < found.high


def test_few_pictures_are_warned_of():
    assert "30 pictures" in frechet_distance(*sets(30, 50), resamples=0).warning
    assert frechet_distance(*sets(2048, 2048, 2), resamples=0).warning == ""
    assert kernel_distance(*sets()).warning == ""


def test_a_classifier_that_cannot_tell_is_wrong_half_the_time():
    pytest.importorskip("sklearn", reason="scikit-learn is missing: it trains the classifier of P-IDS and U-IDS")
    rng = np.random.default_rng(0)
    same = rng.normal(size=(2, 400, 8))
    p_ids, u_ids = discriminative_scores(*same)
    assert 0.4 < u_ids.value < 0.55 and 0.35 < p_ids.value < 0.6
    assert u_ids.low < u_ids.value < u_ids.high and u_ids.n == 400
    p_ids, u_ids = discriminative_scores(same[0] + 10, same[1])
    assert p_ids.value == u_ids.value == 0 and not u_ids.warning
    _, u_ids = discriminative_scores(same[0][:3], same[1][:3])
    assert "separates any sets that small" in u_ids.warning


def test_half_the_pairs_are_mixed_up():
    pytest.importorskip("sklearn", reason="scikit-learn is missing: it trains the classifier of P-IDS and U-IDS")
    truth = np.linspace(1, 2, 40)[:, None] * [[1.0, 0.0]]
    fake = -truth
    fake[:10] = 3 * truth[:10]
    p_ids, u_ids = discriminative_scores(fake, truth)
    assert p_ids.value == 0.25 and u_ids.value == pytest.approx(10 / 80)


def test_what_cannot_be_measured_says_so():
    x, y = sets()
    lonely = kernel_distance(x[:1], y)
    assert math.isnan(lonely.value) and (lonely.n, lonely.n_truth) == (1, 50)
    assert math.isnan(frechet_distance(x[:1], y).value)
    with pytest.raises((ValueError, TypeCheckError)):
        frechet_distance(x, y[:, :3])
    with pytest.raises(ValueError, match="as many results as truths, got 60 and 50"):
        kernel_distance(x, y, paired=True)
    x[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(x, y)
