"""A face that the first crop misses is found by the further looks, and by nothing that was switched off."""

import numpy as np
import pytest

from operators.batch import Batch
from operators.faces.detector import FaceDetector
from operators.faces.landmarker import FaceLandmarker, FaceLandmarkerConfig, Squares
from operators.images import encode
from operators.pipeline import run

ONE_LOOK = FaceLandmarkerConfig(retry_scales=(), retry_shift=0.0, refine_passes=0)


def test_squares_move_along_their_own_edges():
    squares = Squares(np.array([[10.0, 20.0], [10.0, 20.0]]), np.array([100.0, 50.0]), np.array([0.0, np.pi / 2]))
    moved = squares.moved(0.1, -0.2)
    assert np.allclose(moved.centre_px, [[20, 0], [20, 25]])
    assert np.array_equal(moved.side_px, squares.side_px) and np.array_equal(moved.angle_rad, squares.angle_rad)


@pytest.fixture(scope="module")
def found(store, hopper):
    return run([FaceDetector(assets=store)], Batch.from_images([encode(hopper)]))


def misplaced(found: Batch, store, config: FaceLandmarkerConfig, grow: float, right: float) -> Batch:
    """Landmarks from a box that was made larger or smaller and moved, both in shares of its side."""
    batch = found.copy()
    box = batch.faces["box_xyxy_px"].astype(np.float64)
    side = box[:, 2:3] - box[:, :1]
    centre = (box[:, :2] + box[:, 2:]) / 2 + np.array([right, 0.0]) * side
    half = side * grow / 2
    batch.put("box_xyxy_px", np.concatenate([centre - half, centre + half], 1))
    return run([FaceLandmarker(config, store)], batch)


@pytest.mark.parametrize(("grow", "right"), [(0.55, 0.0), (1.0, 0.42)])
def test_a_misplaced_box_is_recovered(found, store, grow, right):
    first = misplaced(found, store, ONE_LOOK, grow, right)
    again = misplaced(found, store, FaceLandmarkerConfig(), grow, right)
    assert first.faces["mesh_score"][0] < 0.5 and first.rows["status"] == ["low_confidence"]
    assert again.faces["mesh_score"][0] > 0.9 and again.rows["status"] == ["ok"]
    straight = run([FaceLandmarker(FaceLandmarkerConfig(), store)], found)
    distance = np.linalg.norm(again.faces["landmarks68_px"][0] - straight.faces["landmarks68_px"][0], axis=1)
    width = np.ptp(straight.faces["landmarks68_px"][0, :, 0])
    assert distance.mean() < 0.04 * width
