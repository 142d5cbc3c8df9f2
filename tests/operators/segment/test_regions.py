import numpy as np
import pytest

from operators.segment.regions import hulls, polygons


def test_polygon_area_and_place_follow_the_half_pixel_convention():
    square = np.array([[[10.5, 20.5], [30.5, 20.5], [30.5, 40.5], [10.5, 40.5]]], np.float32)
    drawn = polygons(square, 64)
    assert drawn.shape == (1, 64, 64) and drawn.sum() == 21 * 21
    ys, xs = np.nonzero(drawn[0])
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (10, 30, 20, 40)


def test_hull_ignores_order_and_inner_points():
    circle = 32 + 20 * np.stack([np.cos(np.arange(24) / 24 * 2 * np.pi), np.sin(np.arange(24) / 24 * 2 * np.pi)], 1)
    shuffled = np.random.default_rng(0).permutation(np.concatenate([circle, circle * 0.5 + 16]))
    assert np.array_equal(hulls(shuffled[None], 64), hulls(circle[None], 64))
    assert hulls(circle[None], 64).sum() == pytest.approx(np.pi * 20**2, rel=0.08)
