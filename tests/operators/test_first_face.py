"""The face that an evaluation looks at, and which of its landmarks the hole hides."""

import numpy as np

from operators.batch import Batch
from operators.first_face import FaceChooser
from operators.images import encode


def batch(hole: np.ndarray | None) -> Batch:
    made = Batch.from_images([b"x"])
    made.rows["given_mask_bytes"] = [None if hole is None else encode(hole)]
    made.set_faces(np.array([0, 0]))
    left = np.stack([np.linspace(1, 30, 68), np.full(68, 10.5)], 1)
    made.put("landmarks68_px", np.stack([left, left + np.array([50, 0])]).astype(np.float32))
    return made


def test_the_face_with_most_of_the_hole_and_its_hidden_landmarks():
    hole = np.zeros((20, 100), bool)
    hole[:, 66:] = True
    found = FaceChooser()(batch(hole)).rows
    assert found["result_landmarks68_px"][0, 0, 0] == 51
    x = found["result_landmarks68_px"][0, :, 0]
    np.testing.assert_array_equal(found["landmarks68_in_hole"][0], x >= 66)


def test_without_a_hole_it_is_the_most_confident_face_and_nothing_is_hidden():
    found = FaceChooser()(batch(None)).rows
    assert found["result_landmarks68_px"][0, 0, 0] == 1 and not found["landmarks68_in_hole"].any()


def test_landmarks_outside_the_picture_are_not_in_the_hole():
    found = FaceChooser()(batch(np.ones((20, 60), bool))).rows
    assert found["landmarks68_in_hole"][0].all(), "the left face lies inside"
    hole = np.zeros((20, 60), bool)
    hole[:, 55:] = True
    found = FaceChooser()(batch(hole)).rows
    x = found["result_landmarks68_px"][0, :, 0]
    np.testing.assert_array_equal(found["landmarks68_in_hole"][0], (x >= 55) & (x < 60))


def test_the_face_under_the_hole_is_chosen():
    hole = np.zeros((50, 100), bool)
    hole[:, 60:] = True
    batch = Batch.from_images([encode(hole)] * 3, given_mask_bytes=[encode(hole), None, b"broken"])
    batch.set_faces(np.array([0, 0, 1, 1, 2]))
    points = np.full((5, 68, 2), (20, 25), np.float32)
    points[[1, 3]] += [60, 0]
    batch.put("landmarks68_px", points)
    found = FaceChooser()(batch).rows["result_landmarks68_px"]
    assert found[:, 0, 0].tolist() == [80, 20, 20]


def test_no_face_is_nan_and_no_error():
    batch = Batch.from_images([b"x", b"y"])
    batch.set_faces(np.array([1]))
    batch.put("landmarks68_px", np.full((1, 68, 2), np.nan, np.float32))
    done = FaceChooser()(batch)
    assert np.isnan(done.rows["result_landmarks68_px"]).all() and done.rows["status"] == ["ok", "ok"]
