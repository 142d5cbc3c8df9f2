"""The mesh lies on the face, turns with the photo, and says when it is not sure."""

import numpy as np
import pytest

from operators.batch import Batch
from operators.faces.detector import FaceDetector
from operators.faces.landmarker import (
    FaceLandmarker,
    FaceLandmarkerConfig,
    Squares,
    mesh_against_detection,
    squares_from_detections,
    squares_from_mesh,
)
from operators.images import encode
from operators.pipeline import run
from operators.types import Operator
from tests.operators.faces.test_detector import turned


@pytest.fixture(scope="module")
def operators(store):
    return [FaceDetector(assets=store), FaceLandmarker(assets=store)]


def landmarks(operators, *images) -> Batch:
    return run(operators, Batch.from_images([encode(image) for image in images]))


def test_is_an_operator(operators):
    assert isinstance(operators[1], Operator)


def test_squares_are_turned_with_the_eyes():
    keypoints = np.zeros((1, 6, 2), np.float32)
    keypoints[0, 1] = (10, 10)
    square = squares_from_detections(np.array([[0, 10, 40, 30]], np.float32), keypoints, 1.5)
    assert square.centre_px.tolist() == [[20, 20]] and square.side_px.tolist() == [60]
    assert np.isclose(square.angle_rad[0], np.pi / 4)
    mesh = np.zeros((1, 468, 3), np.float32)
    mesh[0, :, :2] = [50, 60]
    mesh[0, 33, :2], mesh[0, 263, :2], mesh[0, 152, :2] = (40, 60), (60, 60), (50, 90)
    square = squares_from_mesh(mesh, 2.0)
    assert square.centre_px.tolist() == [[50, 75]] and square.side_px.tolist() == [60] and square.angle_rad.tolist() == [0]


@pytest.mark.parametrize("network", ["attention", "plain"])
def test_the_mesh_lies_on_the_detected_face(store, operators, hopper, network):
    landmarker = FaceLandmarker(FaceLandmarkerConfig(network=network), store)
    result = landmarks([operators[0], landmarker], hopper)
    mesh, points = result.faces["landmarks468_px"][0], result.faces["landmarks68_px"][0]
    assert result.faces["mesh_score"][0] > 0.9
    keypoints = result.faces["detection_keypoints_px"][0]
    eyes = np.linalg.norm(keypoints[1] - keypoints[0])
    for k, where in enumerate((points[36:42].mean(0), points[42:48].mean(0), points[30], points[60:68].mean(0))):
        assert np.linalg.norm(keypoints[k] - where) < 0.35 * eyes, k
    assert mesh[4, 2] < mesh[234, 2] and mesh[4, 2] < mesh[454, 2]


@pytest.mark.parametrize("angle_deg", [30, -30, 90])
def test_a_turned_photo_gives_turned_landmarks(operators, hopper, angle_deg):
    image, matrix = turned(hopper, angle_deg)
    upright, result = landmarks(operators, hopper), landmarks(operators, image)
    want = upright.faces["landmarks468_px"][0, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    distance = np.linalg.norm(result.faces["landmarks468_px"][0, :, :2] - want, axis=1)
    width = np.linalg.norm(want[234] - want[454])
    assert distance.mean() < 0.02 * width


def test_batch_of_one_is_batch_of_many(operators, astronaut, hopper, pair, empty):
    images = [astronaut, empty, hopper, pair]
    together = landmarks(operators, *images)
    alone = Batch.concat([landmarks(operators, image) for image in images])
    assert together.face_row.tolist() == alone.face_row.tolist() == [0, 2, 3, 3]
    for name in ("landmarks468_px", "landmarks68_px", "mesh_score"):
        assert np.array_equal(together.faces[name], alone.faces[name]), name


def test_a_mesh_that_contradicts_its_detection_is_not_believed(store, operators, hopper):
    found = landmarks(operators, hopper)
    batch = Batch.from_images([encode(hopper)] * 2)
    batch.set_faces(np.array([0, 1]))
    box = np.repeat(found.faces["box_xyxy_px"], 2, 0)
    keypoints = np.repeat(found.faces["detection_keypoints_px"], 2, 0)
    keypoints[1] += 0.4 * (box[0, 2] - box[0, 0])
    batch.put("box_xyxy_px", box)
    batch.put("detection_keypoints_px", keypoints)
    result = run([operators[1]], batch)
    assert result.rows["status"] == ["ok", "low_confidence"] and result.faces["mesh_score"][1] == 0
    offset, size = mesh_against_detection(found.faces["landmarks468_px"], box[:1], keypoints[:1])
    assert offset[0] < 0.15 and 0.8 < size[0] < 1.3


def test_shifted_squares_move_along_their_own_edges():
    square = Squares(np.array([[10.0, 20.0]]), np.array([8.0]), np.array([np.pi / 2]))
    assert np.allclose(square.shifted(0.5, 0.0).centre_px, [[10, 24]]) and np.allclose(
        square.shifted(0.0, 0.25).centre_px, [[8, 20]]
    )


def test_what_is_not_a_face_is_marked_and_its_row_too(operators, hopper, empty):
    batch = Batch.from_images([encode(empty), encode(hopper), encode(hopper)])
    batch.set_faces(np.array([0, 1, 2, 2]))
    found = landmarks(operators, hopper)
    nowhere, keypoints = np.array([20, 20, 90, 90], np.float32), np.full((6, 2), 50, np.float32)
    keypoints[1] = (70, 50)
    batch.put("box_xyxy_px", np.stack([nowhere, *found.faces["box_xyxy_px"], *found.faces["box_xyxy_px"], nowhere]))
    points = found.faces["detection_keypoints_px"]
    batch.put("detection_keypoints_px", np.stack([keypoints, *points, *points, keypoints]))
    result = run([operators[1]], batch)
    assert result.rows["status"] == ["low_confidence", "ok", "ok"]
    assert result.faces["face_status"].tolist() == ["low_confidence", "ok", "ok", "low_confidence"]
    assert "sure" in result.faces["face_message"][0] and "1 detected" in result.rows["error_message"][0]
    assert np.allclose(result.faces["landmarks468_px"][1], found.faces["landmarks468_px"][0], atol=2e-3)


def test_no_face_is_no_trouble(operators, empty):
    result = landmarks(operators, empty)
    assert result.n_faces == 0 and result.rows["status"] == ["no_face"]
