"""Bootstrap intervals: cases with known answers, people against photos, pairs."""

import math

import numpy as np
import pytest

from operators.metrics.intervals import bootstrap_mean, bootstrap_means, paired_difference


def test_interval_of_a_constant_is_a_point():
    found = bootstrap_mean(np.full(50, 0.1), np.arange(50) // 5)
    assert (found.value, found.low, found.high) == (0.1, 0.1, 0.1)
    assert (found.n, found.clusters) == (50, 10)


def test_every_resample_of_two_people_is_known():
    # a has three photos of 0, b one of 1: the draws aa, ab, ba, bb have means 0, 1/4, 1/4, 1
    found = bootstrap_mean(np.array([0.0, 0.0, 0.0, 1.0]), ["a", "a", "a", "b"])
    assert (found.value, found.low, found.high) == (0.25, 0.0, 1.0)


def test_of_many_pictures_it_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(20, 3, 900)
    found = bootstrap_mean(values)
    half = 1.96 * values.std() / 30
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.04)
    narrow = bootstrap_mean(values, level=0.5)
    assert (narrow.high - narrow.low) / 2 == pytest.approx(0.674 / 1.96 * half, rel=0.06)


def test_it_holds_the_true_mean_about_as_often_as_it_says():
    values = np.random.default_rng(1).normal(0, 1, (40, 400))  # 400 studies of 40 pictures
    hits = np.mean([found.low <= 0 <= found.high for found in bootstrap_means(values, resamples=2000)])
    assert 0.90 <= hits <= 0.97


def test_few_people_with_many_photos_say_less_than_as_many_people():
    random = np.random.default_rng(2)
    person = np.repeat([0, 1], 100)
    values = np.where(person == 0, 18.0, 22.0) + random.normal(0, 0.5, 200)
    photos, people = bootstrap_mean(values), bootstrap_mean(values, person)
    assert people.high - people.low > 5 * (photos.high - photos.low)
    assert people.clusters == 2 and photos.clusters == 200 and people.value == photos.value


def test_one_person_has_no_interval():
    found = bootstrap_mean(np.arange(5.0), ["a"] * 5)
    assert found.value == 2 and math.isnan(found.low) and math.isnan(found.high)
    nothing = bootstrap_mean(np.full(3, np.nan))
    assert nothing.n == 0 and math.isnan(nothing.value) and math.isnan(nothing.low)


def test_values_that_are_not_finite_do_not_count():
    values = np.array([1.0, 2.0, 3.0, np.nan, np.inf])
    assert bootstrap_mean(values) == bootstrap_mean(values, seed=0)
    assert bootstrap_mean(values).value == 2 and bootstrap_mean(values).n == 3


def test_a_column_is_the_same_in_any_company():
    random = np.random.default_rng(3)
    values, people = random.normal(size=(60, 4)), random.integers(0, 12, 60)
    values[::7, 1] = np.nan
    together = bootstrap_means(values, people)
    for j in range(4):
        alone = bootstrap_mean(values[:, j], people)
        assert (together[j].low, together[j].high) == pytest.approx((alone.low, alone.high), rel=1e-12)


def test_order_of_the_rows_and_names_of_people_do_not_matter():
    random = np.random.default_rng(4)
    values, people = random.normal(size=80), random.integers(0, 9, 80)
    mixed = random.permutation(80)
    first = bootstrap_mean(values, people)
    second = bootstrap_mean(values[mixed], [f"person {i}" for i in people[mixed]])
    assert (second.low, second.high) == pytest.approx((first.low, first.high), rel=1e-12)
    assert bootstrap_mean(values, people, seed=1).low != first.low


def test_differences_have_the_sign_of_the_second():
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.5, 3.5, 3.0])
    up = paired_difference(first, second)
    assert up.mean.value == pytest.approx(0.25) and up.better == 0.75 and up.ties == 0
    down = paired_difference(first, second, higher_is_better=False)
    assert down.mean == up.mean and down.better == 0.25
    back = paired_difference(second, first)
    assert back.mean.value == pytest.approx(-0.25) and back.better == 0.25


def test_pairs_are_surer_than_two_means():
    random = np.random.default_rng(5)
    hardness = random.normal(0, 5, 200)
    first, second = 20 + hardness + random.normal(0, 0.2, 200), 20.5 + hardness + random.normal(0, 0.2, 200)
    pair, alone = paired_difference(first, second).mean, bootstrap_mean(first)
    assert pair.low > 0.4 and pair.high < 0.6 and alone.high - alone.low > 1


def test_ties_infinities_and_missing_values_of_pairs():
    inf, nan = np.inf, np.nan
    found = paired_difference(np.array([1.0, inf, inf, nan, 2.0]), np.array([1.0, inf, 5.0, 3.0, 4.0]))
    assert found.ties == 2 and found.mean.n == 3 and found.mean.value == pytest.approx(2 / 3)
    assert found.better == pytest.approx((1 + 0.5 * 2) / 4), "inf -> 5 is worse, 2 -> 4 better, two ties"


@pytest.mark.parametrize("call", [lambda: bootstrap_mean(np.zeros(3), level=1.0), lambda: bootstrap_mean(np.zeros(3), ["a"])])
def test_what_cannot_be_meant_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
