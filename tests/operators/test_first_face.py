import numpy as np

from operators.batch import Batch
from operators.first_face import FaceChooser
from operators.images import encode


def test_the_face_under_the_hole_is_chosen():
    hole = np.zeros((50, 100), bool)
    hole[:, 60:] = True
    batch = Batch.from_images([encode(hole)] * 3, given_mask_bytes=[encode(hole), None, b"broken"])
    batch.set_faces(np.array([0, 0, 1, 1, 2]))
    points = np.zeros((5, 68, 2), np.float32) + [20, 25]
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
