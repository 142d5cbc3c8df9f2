"""Agreement with MediaPipe 0.10.21 itself.

`mediapipe_reference.json` holds what its FaceLandmarkCpu subgraph and its short-range FaceDetection answer for parts of the
astronaut portrait that need no resampling, so that nothing but the networks and their decoding is compared.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from operators.batch import Batch
from operators.faces.detector import FaceDetector, FaceDetectorConfig
from operators.faces.landmarker import FaceLandmarker, FaceLandmarkerConfig, Squares
from operators.images import encode

REFERENCE = json.loads(Path(__file__).with_name("mediapipe_reference.json").read_text())


@pytest.mark.parametrize("network", ["attention", "plain"])
def test_landmarks(store, astronaut, network):
    x0, y0, side = REFERENCE["roi_x0_y0_side_px"]
    square = Squares(np.array([[x0 + side / 2, y0 + side / 2]]), np.array([float(side)]), np.zeros(1))
    batch = Batch.from_images([encode(astronaut)])
    batch.set_faces(np.array([0]))
    mesh, score = FaceLandmarker(FaceLandmarkerConfig(network=network), store)._run(batch, np.array([0]), square)
    difference = mesh[0, REFERENCE["vertices"]] - np.array(REFERENCE[network])
    assert score[0] > 0.5
    assert np.linalg.norm(difference[:, :2], axis=1).max() < 0.15 and np.abs(difference[:, 2]).max() < 0.15


def test_detection(store, astronaut):
    want = REFERENCE["detection"]
    x0, y0, side = want["crop_x0_y0_side_px"]
    detector = FaceDetector(FaceDetectorConfig(tiles="never"), store)
    result = detector(Batch.from_images([encode(astronaut[y0 : y0 + side, x0 : x0 + side])]))
    assert result.n_faces == 1
    assert np.isclose(result.faces["detection_score"][0], want["score"], atol=2e-3)
    assert np.abs(result.faces["box_xyxy_px"][0] - want["box_xyxy_px"]).max() < 0.2
    assert np.abs(result.faces["detection_keypoints_px"][0] - want["keypoints_px"]).max() < 0.2
