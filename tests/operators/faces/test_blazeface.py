"""Anchors, decoding and suppression by hand."""

import numpy as np
import torch

from operators.faces.blazeface import INPUT_PX, anchors, box_iou, decode, weighted_nms


def shape(x0, y0, x1, y1, keypoint=0.0):
    return np.array([x0, y0, x1, y1, *[keypoint] * 12], np.float32)


def test_anchors_are_cell_centres_two_at_stride_8_and_six_at_stride_16():
    points = anchors()
    assert points.shape == (896, 2)
    assert np.allclose(points[:2], 0.5 / 16) and np.allclose(points[2], [1.5 / 16, 0.5 / 16])
    assert np.allclose(points[511], 15.5 / 16)
    assert np.allclose(points[512:518], 0.5 / 8) and np.allclose(points[518], [1.5 / 8, 0.5 / 8])
    assert np.allclose(points[895], 7.5 / 8)


def test_decode_adds_the_anchor_to_offsets_in_pixels():
    raw = torch.zeros(1, 896, 16)
    raw[0, 0] = torch.tensor([1.0, 2.0, 10.0, 20.0, 3.0, -4.0, *[0.0] * 10])
    logits = torch.zeros(1, 896, 1)
    logits[0, 1], logits[0, 2] = 1e9, -1e9
    scores, shapes = decode(raw, logits)
    centre = 0.5 / 16 * INPUT_PX
    assert scores[0, 0] == 0.5 and scores[0, 1] == 1 and scores[0, 2] < 1e-30
    assert np.allclose(shapes[0, 0, :4], [centre + 1 - 5, centre + 2 - 10, centre + 1 + 5, centre + 2 + 10])
    assert np.allclose(shapes[0, 0, 4:6], [centre + 3, centre - 4]) and np.allclose(shapes[0, 0, 6:], centre)


def test_iou():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [10, 0, 20, 10]], float)
    assert np.allclose(box_iou(boxes[0], boxes), [1, 1 / 3, 0, 0])


def test_weighted_suppression_by_hand():
    shapes = np.stack([shape(0, 0, 10, 10, 1), shape(100, 100, 110, 110, 5), shape(2, 0, 12, 10, 3)])
    scores, kept = weighted_nms(np.array([0.6, 0.7, 0.9], np.float32), shapes, 0.3)
    assert np.allclose(scores, [0.9, 0.7])
    assert np.allclose(kept[0], shape(1.2, 0, 11.2, 10, (0.6 * 1 + 0.9 * 3) / 1.5))
    assert np.allclose(kept[1], shapes[1])


def test_suppression_does_not_depend_on_order_and_takes_nothing():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (40, 2))
    shapes = np.concatenate((low, low + rng.uniform(10, 30, (40, 2)), rng.normal(size=(40, 12))), 1).astype(np.float32)
    scores = rng.permutation(np.linspace(0.5, 0.99, 40)).astype(np.float32)
    turn = rng.permutation(40)
    first, second = weighted_nms(scores, shapes, 0.3), weighted_nms(scores[turn], shapes[turn], 0.3)
    assert np.allclose(first[0], second[0]) and np.allclose(first[1], second[1], atol=1e-4)
    nothing = weighted_nms(scores[:0], shapes[:0], 0.3)
    assert nothing[0].shape == (0,) and nothing[1].shape == (0, 16)
