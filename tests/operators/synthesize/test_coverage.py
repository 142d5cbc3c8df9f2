import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.synthesize.coverage import check_range, coverage_of, face_region, size_for


def square_face(x: float, y: float, side: float) -> np.ndarray:
    """468 points on the border and inside of a square."""
    t = np.linspace(0, 1, 468)
    return np.stack([x + side * t, y + side * ((t * 7) % 1), 0 * t], 1).astype(np.float32)


def corners(x: float, y: float, side: float) -> np.ndarray:
    face = square_face(x, y, side)
    face[:4, :2] = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
    return face


def test_half_a_square_is_half_covered():
    alpha = np.zeros((64, 64), np.float32)
    alpha[:, :30] = 1
    assert coverage_of(alpha, corners(10, 10, 40)) == pytest.approx(0.5, abs=0.02)
    assert coverage_of(0.49 * np.ones((64, 64), np.float32), corners(10, 10, 40)) == 0


def test_only_the_part_inside_the_picture_counts():
    alpha = np.zeros((64, 64), np.float32)
    alpha[:, :10] = 1
    assert coverage_of(alpha, corners(-20, 10, 40)) == pytest.approx(0.5, abs=0.03)
    assert math.isnan(coverage_of(alpha, corners(200, 10, 40)))


def test_landmarks_far_away_do_not_wrap_around():
    assert not face_region(corners(1e7, 10, 40), (32, 32)).any()
    assert face_region(corners(-1e6, -1e6, 2e6), (32, 32)).all()


@given(st.floats(0, 0.9), st.floats(0.02, 0.1))
def test_the_size_that_covers_what_is_wanted(low, width):
    face, shape = corners(0, 0, 100), (100, 100)

    def alpha(size: float) -> np.ndarray:
        out = np.zeros(shape, np.float32)
        out[: round(100 * size)] = 1
        return out

    wanted = low + width / 2
    size = size_for(alpha, face, (low, low + width), wanted)
    assert low <= coverage_of(alpha(size), face) <= low + width


def test_what_cannot_be_reached_gives_the_nearest():
    face = corners(0, 0, 100)

    def alpha(size: float) -> np.ndarray:
        out = np.zeros((100, 100), np.float32)
        out[: round(20 + 20 * size)] = 1
        return out

    assert size_for(alpha, face, (0.8, 0.9), 0.85) == 1.0
    assert size_for(alpha, face, (0.0, 0.1), 0.05) == 0.0


@pytest.mark.parametrize("wrong", [(0.5, 0.2), (-0.1, 0.2), (0.2, 1.2)])
def test_a_range_that_is_none(wrong):
    with pytest.raises(ValueError, match="low <= high"):
        check_range(wrong)
