import math

import numpy as np
import pytest

from operators.metrics.landmarks import UPPER, landmark_nme


def face(seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).uniform(20, 180, (68, 2))
    points[36], points[45] = (60, 80), (140, 80)
    return points


def test_errors_are_in_outer_eye_distances():
    truth = face()
    found = landmark_nme(truth + np.array([0, 8]), truth)
    assert found.all.value == pytest.approx(0.1) and found.all.n == 68
    assert found.upper.n == 22 and math.isnan(found.hidden.value) and found.hidden.n == 0
    assert landmark_nme(truth, truth).all.value == 0


def test_upper_and_hidden_landmarks_count_on_their_own():
    truth = face()
    moved = truth.copy()
    moved[UPPER[0]] += [0, 80]
    assert landmark_nme(moved, truth).upper.value == pytest.approx(1 / 22)
    hole = np.zeros((200, 200), bool)
    x, y = truth[8].astype(int)
    hole[y, x] = True
    moved = truth.copy()
    moved[8] += [40, 0]
    hidden = landmark_nme(moved, truth, hole).hidden
    assert hidden.value == pytest.approx(0.5 / hidden.n) and hidden.n >= 1


def test_landmarks_outside_the_picture_or_missing_count_nowhere():
    truth = face()
    truth[3] = (-5, 500)
    hole = np.ones((200, 200), bool)
    assert landmark_nme(truth, truth, hole).hidden.n == 67
    found = truth.copy()
    found[10] = np.nan
    assert landmark_nme(found, truth).all.n == 67
    none = landmark_nme(np.full((68, 2), np.nan), truth)
    assert math.isnan(none.all.value) and none.all.n == 0
    same_eyes = truth.copy()
    same_eyes[45] = same_eyes[36]
    assert math.isnan(landmark_nme(truth, same_eyes).all.value)
