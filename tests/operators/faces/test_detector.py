"""Faces are found whole, turned, small, several at a time; an image without any says so."""

import cv2
import numpy as np
import pytest

from operators.batch import Batch
from operators.faces.detector import FaceDetector, FaceDetectorConfig, _part_of_a_better_one, tile_corners
from operators.images import encode
from operators.pipeline import apply
from operators.types import Operator


@pytest.fixture(scope="module")
def detector(store):
    return FaceDetector(assets=store)


def detect(detector, *images) -> Batch:
    return apply(detector, Batch.from_images([encode(image) for image in images]))


def turned(image: np.ndarray, angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The image turned counter-clockwise about its centre on a large enough canvas, and the 2 x 3 map (+0.5 convention)."""
    h, w = image.shape[:2]
    side = int(np.ceil(np.hypot(h, w)))
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle_deg, 1.0)
    matrix[:, 2] += side / 2 - np.array([w, h]) / 2
    centres = matrix.copy()
    centres[:, 2] += centres[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(image, centres, (side, side)), matrix


@pytest.mark.parametrize(
    ("width", "height", "side", "overlap"), [(640, 480, 320.0, 0.5), (500, 500, 125.0, 0.25), (90, 700, 350.0, 0.5)]
)
def test_tiles_cover_the_image_with_overlap(width, height, side, overlap):
    corners = tile_corners(width, height, side, overlap)
    seen = np.zeros((height, width), bool)
    for x, y in corners:
        seen[max(int(np.ceil(y)), 0) : int(y + side), max(int(np.ceil(x)), 0) : int(x + side)] = True
    assert seen.all()
    for column in (0, 1):
        steps = np.diff(np.unique(corners[:, column]))
        assert (steps <= side * (1 - overlap) + 1e-6).all()


def test_is_an_operator(detector):
    assert isinstance(detector, Operator)


def test_one_face_is_found_where_it_is(detector, astronaut):
    result = detect(detector, astronaut)
    assert result.n_faces == 1 and result.faces["detection_score"][0] > 0.8
    x0, y0, x1, y1 = result.faces["box_xyxy_px"][0]
    assert 160 < x0 < 200 and 260 < x1 < 300 and 60 < y0 < 110 and 160 < y1 < 210
    left, right, nose, mouth = result.faces["detection_keypoints_px"][0, :4]
    assert left[0] < nose[0] < right[0] and max(left[1], right[1]) < nose[1] < mouth[1]


def test_two_faces_in_one_image_and_none_in_another(detector, pair, empty):
    result = detect(detector, empty, pair, empty)
    assert result.face_row.tolist() == [1, 1] and result.faces["face_index"].tolist() == [0, 1]
    assert result.rows["status"] == ["no_face", "ok", "no_face"]
    assert "no face" in result.rows["error_message"][0]
    middles = np.sort(result.faces["box_xyxy_px"][:, [0, 2]].mean(1))
    assert 190 < middles[0] < 250 and 512 + 200 < middles[1] < 512 + 320


def test_batch_of_one_is_batch_of_many(detector, astronaut, hopper, pair, empty):
    images = [astronaut, empty, hopper, pair]
    together = detect(detector, *images)
    alone = Batch.concat([detect(detector, image) for image in images])
    assert together.face_row.tolist() == alone.face_row.tolist()
    for name in ("box_xyxy_px", "detection_score", "detection_keypoints_px"):
        assert np.array_equal(together.faces[name], alone.faces[name]), name


@pytest.mark.parametrize("angle_deg", [30, -30])
def test_a_turned_photo_gives_turned_keypoints(detector, hopper, angle_deg):
    image, matrix = turned(hopper, angle_deg)
    upright, result = detect(detector, hopper), detect(detector, image)
    want = upright.faces["detection_keypoints_px"][0, :4] @ matrix[:, :2].T + matrix[:, 2]
    distance = np.linalg.norm(result.faces["detection_keypoints_px"][0, :4] - want, axis=1)
    eyes = np.linalg.norm(want[1] - want[0])
    assert distance.max() < 0.2 * eyes


def test_small_faces_are_found_in_tiles(store, hopper):
    image = np.full((1200, 1600, 3), 128, np.uint8)
    for x, y in ((100, 80), (1300, 700)):
        image[y : y + 150, x : x + 128] = cv2.resize(hopper, (128, 150), interpolation=cv2.INTER_AREA)
    with_tiles = detect(FaceDetector(assets=store), image)
    without = detect(FaceDetector(FaceDetectorConfig(tiles="never"), store), image)
    assert with_tiles.n_faces == 2 and without.n_faces < 2
    middles = with_tiles.faces["box_xyxy_px"].reshape(-1, 2, 2).mean(1)
    middles = middles[np.argsort(middles[:, 0])]
    assert np.abs(middles - [[100 + 66, 80 + 57], [1300 + 66, 700 + 57]]).max() < 20


@pytest.mark.parametrize(("keep", "which"), [("largest", "hopper"), ("central", "hopper"), ("all", "both")])
def test_which_faces_are_kept(store, astronaut, hopper, keep, which):
    small = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    image = np.full((600, 1024, 3), 90, np.uint8)
    image[:256, :256], image[:, 256:768] = small, hopper
    result = detect(FaceDetector(FaceDetectorConfig(keep=keep), store), image)
    assert result.n_faces == (2 if which == "both" else 1)
    assert (result.faces["box_xyxy_px"][:, 0] > 256).sum() == 1


def test_limits_on_size_and_number(store, pair):
    assert detect(FaceDetector(FaceDetectorConfig(min_face_px=400), store), pair).rows["status"] == ["no_face"]
    one = detect(FaceDetector(FaceDetectorConfig(max_faces=1), store), pair)
    both = detect(FaceDetector(assets=store), pair)
    assert one.n_faces == 1 and one.faces["detection_score"][0] == both.faces["detection_score"].max()


@pytest.mark.parametrize("size", [(16, 16), (16, 900), (2000, 17)])
def test_odd_sizes_pass(detector, size):
    result = detect(detector, np.full((*size, 3), 200, np.uint8))
    assert result.rows["status"] == ["no_face"]


def test_an_undecodable_row_fails_alone(detector, astronaut):
    batch = Batch.from_images([b"broken", encode(astronaut)])
    result = apply(detector, batch)
    assert result.rows["status"] == ["failed", "ok"] and result.face_row.tolist() == [1]


def test_a_large_photo_is_decoded_once(store, hopper, monkeypatch):
    image = np.full((3000, 4000, 3), 128, np.uint8)
    image[200:800, 300:812], image[2000:2600, 3000:3512] = hopper, hopper
    monkeypatch.setattr("operators.batch._FRAME_CACHE_BYTES", 1)
    decoded = []
    frame = Batch.frame
    monkeypatch.setattr(Batch, "frame", lambda self, i: decoded.append(int(i)) or frame(self, i))
    result = detect(FaceDetector(assets=store), image, image)
    assert decoded == [0, 1] and result.face_row.tolist() == [0, 0, 1, 1]
    middles = result.faces["box_xyxy_px"][:2].reshape(-1, 2, 2).mean(1)
    middles = middles[np.argsort(middles[:, 0])]
    assert np.abs(middles - [[300 + 265, 200 + 225], [3000 + 265, 2000 + 225]]).max() < 40


def test_a_hand_or_part_of_a_face_goes_with_the_better_box():
    boxes = np.zeros((3, 16), np.float32)
    boxes[:, :4] = [[0, 0, 100, 100], [20, 60, 70, 120], [95, 0, 195, 100]]
    assert _part_of_a_better_one(boxes, 0.4).tolist() == [False, True, False]
