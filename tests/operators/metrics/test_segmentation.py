import math

import numpy as np
import pytest

from operators.metrics.segmentation import boundary_f, iou


def box(x0: int, x1: int, y0: int = 20, y1: int = 60, size: int = 100) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_a_shifted_mask_has_the_known_overlap():
    found, truth = box(30, 70), box(20, 60)
    assert iou(found, truth).value == pytest.approx(30 / 50)
    assert iou(found, truth).n == 50 * 40
    assert iou(truth, truth).value == 1 and boundary_f(truth, truth).value == 1


def test_contours_within_the_tolerance_agree():
    truth = box(20, 60)
    assert boundary_f(box(22, 62), truth).value == 1.0  # 0.8 % of the diagonal: 2 pixels
    near, far = boundary_f(box(23, 63), truth).value, boundary_f(box(40, 80), truth).value
    assert 0 < far < near < 1


def test_half_a_contour_gives_the_f_score_of_its_precision_and_recall():
    truth = box(20, 80, 20, 80)
    inside = np.zeros_like(truth)
    inside[20, 20:80] = True  # one of four sides: all of it right, a quarter of the contour found, give or take two corners
    score = boundary_f(inside, truth, tolerance=0.0).value
    recall = 60 / (4 * 60 - 4)
    assert score == pytest.approx(2 * recall / (1 + recall))


def test_empty_masks():
    nothing, truth = np.zeros((100, 100), bool), box(20, 60)
    assert math.isnan(iou(nothing, nothing).value) and math.isnan(boundary_f(nothing, nothing).value)
    assert iou(nothing, truth).value == 0 and boundary_f(nothing, truth).value == 0
    everything = np.ones((100, 100), bool)
    assert iou(everything, everything).value == 1 and math.isnan(boundary_f(everything, everything).value)
