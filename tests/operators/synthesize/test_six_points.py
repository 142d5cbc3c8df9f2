"""Six face points: the numbers of MaskTheFace's own code, and faces that it was not made for."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from operators.synthesize.six_points import crossings, six_points
from tests.operators.synthesize.faces import face68

OFFICIAL = json.loads(Path(__file__).with_name("six_points.json").read_text())


@pytest.mark.parametrize("case", range(5))
def test_points_and_angle_are_those_of_the_official_code(case):
    """MaskTheFace@caf4d6c on five synthetic faces with whole-pixel landmarks."""
    got = six_points(np.array(OFFICIAL["landmarks"][case], np.float64))
    assert np.abs(got.points_px - np.array(OFFICIAL["six_points"][case])).max() < 2e-5
    assert abs(got.angle_deg - OFFICIAL["angle_deg"][case]) < 1e-9


def test_sides_follow_the_angle():
    assert [six_points(np.array(face, np.float64)).side for face in OFFICIAL["landmarks"]] == [
        "front", "front", "right", "left", "front",
    ]  # fmt: skip
    assert six_points(face68(turn=0.25)).side == six_points(face68(turn=0.25, size=400.0)).side


def test_points_move_with_the_face():
    still, moved = six_points(face68()), six_points(face68(centre=(131.5, 78.25)))
    assert np.allclose(moved.points_px - still.points_px, [31.5, -21.75])
    assert moved.angle_deg == pytest.approx(still.angle_deg)


def test_points_stand_where_they_should_on_a_face_seen_from_the_front():
    a, b, c, f, e, d = six_points(face68()).points_px
    assert a[0] < d[0] < b[0] < f[0] < c[0]
    assert b[1] < a[1] < d[1] < e[1]
    assert np.allclose([a[1], d[1], 200 - a[0], 200 - d[0]], [c[1], f[1], c[0], f[0]])
    assert b[0] == pytest.approx(100) and e[0] == pytest.approx(100, abs=1)


def test_a_jaw_that_ends_below_the_nose_is_continued_by_its_ellipse():
    short = face68()
    angle = np.radians(np.linspace(150, 30, 17))
    short[:17] = np.stack([100 + 60 * np.cos(angle), 100 + 69 * np.sin(angle)], 1)
    a, c = six_points(short).points_px[[0, 2]]
    line = a[1]
    expected = 60 * np.sqrt(1 - ((line - 100) / 69) ** 2)
    assert short[:17, 1].min() > line + 1
    assert a[0] == pytest.approx(100 - expected, abs=0.5) and c[0] == pytest.approx(100 + expected, abs=0.5)


def test_a_straight_jaw_gives_its_own_points():
    flat = face68()
    flat[:17] = np.stack([np.linspace(40, 160, 17), np.full(17, 400.0)], 1)
    a, _, c, f, e, d = six_points(flat).points_px
    assert np.array_equal([a, c, d, f], flat[[0, 16, 4, 12]])
    assert e[1] == pytest.approx(400)


def test_crossings_come_in_the_order_of_the_polyline():
    line = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]])
    hits = crossings(line, np.array([3.0, 4.0]), np.array([1.0, 0.0]))
    assert np.allclose(hits, [[0, 4], [10, 4]])
    assert crossings(line, np.array([3.0, 40.0]), np.array([1.0, 0.0])).shape == (0, 2)


@given(arrays.arrays(np.float64, (68, 2), elements=st.floats(-1e4, 1e4) | st.just(7.0)))
def test_no_landmarks_raise_and_finite_ones_stay_finite(landmarks):
    got = six_points(landmarks)
    assert np.isfinite(got.points_px).all() and -180 <= got.angle_deg <= 180
    assert got.side in ("front", "left", "right")


@pytest.mark.parametrize("landmarks", [np.zeros((68, 2)), np.full((68, 2), np.nan), np.full((68, 2), np.inf)])
def test_degenerate_landmarks_are_answered(landmarks):
    assert six_points(landmarks).points_px.shape == (6, 2)
