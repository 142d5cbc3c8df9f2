import cv2
import numpy as np
import pytest

from operators.segment.given import given_occluders
from tests.operators.segment.drawn_faces import SIZE, batch_of, draw, landmarks


def png(mask: np.ndarray) -> bytes:
    return cv2.imencode(".png", mask)[1].tobytes()


def two_faces(mask_bytes, **columns):
    points = [landmarks(), landmarks()]
    return batch_of([draw(p)[0] for p in points], points, rows=[0, 0], given_mask_bytes=[mask_bytes], **columns)


def test_white_is_occluder_and_only_touched_faces_take_it():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[100:160, 50:90] = 255
    batch = two_faces(png(mask))
    batch.put("crop_from_image", np.array([[[1, 0, 0], [0, 1, 0]], [[1, 0, -2000], [0, 1, 0]]], np.float32))
    occluders, touched = given_occluders(batch, np.array([0, 1]), SIZE)
    assert touched.tolist() == [True, False]
    assert np.array_equal(occluders[0], mask > 0) and not occluders[1].any()


def test_mask_moves_with_the_crop_transform():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[100:140, 60:100] = 255
    batch = two_faces(png(mask))
    batch.put("crop_from_image", np.tile(np.array([[0.5, 0, 10], [0, 0.5, 20]], np.float32), (2, 1, 1)))
    occluder = given_occluders(batch, np.array([0]), SIZE)[0][0]
    ys, xs = np.nonzero(occluder)
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == (40, 60, 70, 90)


def test_mask_of_another_size_is_scaled_to_its_image():
    mask = np.zeros((SIZE // 2, SIZE // 2), np.uint8)
    mask[50:80, 30:60] = 255
    size = np.array([SIZE], np.int32)
    occluder = given_occluders(two_faces(png(mask), width_px=size, height_px=size), np.array([1]), SIZE)[0][0]
    assert occluder[100:160, 60:120].mean() > 0.95 and occluder.sum() == pytest.approx(3600, rel=0.05)


def test_no_mask_touches_nothing():
    occluders, touched = given_occluders(two_faces(None), np.array([0, 1]), SIZE)
    assert not occluders.any() and not touched.any()
