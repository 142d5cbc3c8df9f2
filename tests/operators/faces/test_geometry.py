"""Affine maps and warps: exact where they can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.faces.geometry import invert_similarity, square_to_crop, transform_points, warp


@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(4, 2000), st.floats(-3.2, 3.2), st.sampled_from([64, 128, 192, 256]))
def test_there_and_back(x, y, side, angle, size):
    matrix = square_to_crop(np.array([[x, y]]), np.array([side]), np.array([angle]), size)
    points = np.random.default_rng(0).uniform(-300, 300, (1, 20, 3))
    again = transform_points(invert_similarity(matrix), transform_points(matrix, points))
    assert np.allclose(again, points, atol=1e-6)


def test_corners_of_a_turned_square_become_the_corners_of_the_crop():
    angle = np.pi / 6
    matrix = square_to_crop(np.array([[50.0, 40.0]]), np.array([20.0]), np.array([angle]), 100)[0]
    along, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corners = np.array([[50, 40] + 10 * (i * along + j * down) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    assert np.allclose(transform_points(matrix, corners), [[0, 0], [100, 0], [100, 100], [0, 100]])


def test_z_takes_the_scale_of_the_map_and_further_coordinates_are_kept():
    matrix = square_to_crop(np.zeros((1, 2)), np.array([10.0]), np.array([0.7]), 30)
    assert np.allclose(transform_points(matrix, np.array([[[1.0, 2.0, 4.0, 9.0]]]))[0, 0, 2:], [12.0, 9.0])


def test_a_map_without_inverse_is_refused():
    with pytest.raises(ValueError, match="no inverse"):
        invert_similarity(np.zeros((2, 3)))


def ramp(height: int, width: int) -> np.ndarray:
    """Grey value = 4 x of the pixel's centre."""
    return np.repeat(np.tile(4 * np.arange(width) + 2, (height, 1))[..., None], 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("angle", [0.0, np.pi])
@pytest.mark.parametrize("side", [7.0, 20.0, 29.0, 30.0, 35.0, 40.0, 47.5, 55.0])
def test_pixel_centres_lie_at_half_whether_enlarging_or_shrinking(side, angle):
    size = 15
    centre_x = 30.3
    matrix = square_to_crop(np.array([[centre_x, 30.0]]), np.array([side]), np.array([angle]), size)[0]
    crop = warp(ramp(60, 60), matrix, size).astype(float)[size // 2, 2:-2, 0]
    x = (centre_x + np.cos(angle) * (-side / 2 + (np.arange(size) + 0.5) * side / size))[2:-2]
    assert np.abs(crop / 4 - x).max() < 0.3


@pytest.mark.parametrize("scale", [0.1, 0.4, 0.59, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 2])
def test_a_constant_image_stays_constant(scale, angle):
    image = np.full((300, 200, 3), (7, 130, 251), np.uint8)
    size = 64
    matrix = square_to_crop(np.array([[90.0, 160.0]]), np.array([size / scale]), np.array([angle]), size)[0]
    assert np.array_equal(warp(image, matrix, size), np.full((size, size, 3), (7, 130, 251)))


def test_shrinking_averages_instead_of_skipping():
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, ::2] = 200
    matrix = square_to_crop(np.array([[128.0, 128.0]]), np.array([256.0]), np.zeros(1), 32)[0]
    assert np.array_equal(warp(image, matrix, 32), np.full((32, 32, 3), 100))


@pytest.mark.parametrize("side", [60.0, 400.0])
def test_borders(side):
    image = np.full((50, 50, 3), 90, np.uint8)
    matrix = square_to_crop(np.array([[0.0, 25.0]]), np.array([side]), np.zeros(1), 60)[0]
    zero, edge = warp(image, matrix, 60, "zero"), warp(image, matrix, 60)
    assert zero[30, 0].tolist() == [0, 0, 0] and (edge == 90).all()
    assert zero[30, 32].tolist() == [90, 90, 90]
