"""Crops: level eyes, an inverse that brings points back, and what lies outside the photo."""

import numpy as np
import pytest

from operators.batch import Batch
from operators.faces.aligner import FaceAligner, FaceAlignerConfig
from operators.faces.geometry import invert_similarity, transform_points
from operators.images import encode
from operators.types import Operator


def mesh(seed: int, angle: float, centre=(150.0, 100.0), size: float = 40.0) -> np.ndarray:
    """A made-up mesh: random points in an ellipse, eye corners on a line, turned about the centre."""
    rng = np.random.default_rng(seed)
    t, r = rng.uniform(0, 2 * np.pi, 468), np.sqrt(rng.uniform(0, 1, 468))
    points = np.stack((0.8 * r * np.cos(t), r * np.sin(t), 0.3 * (1 - r)), -1)
    for vertex, x in ((33, -0.6), (133, -0.2), (362, 0.2), (263, 0.6)):
        points[vertex] = (x, -0.2, 0)
    cos, sin = np.cos(angle), np.sin(angle)
    points[:, :2] = points[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + np.array(centre) / size
    return (points * size).astype(np.float32)


def batch_of(meshes, image) -> Batch:
    batch = Batch.from_images([encode(image)] * len(meshes))
    batch.set_faces(np.arange(len(meshes)))
    batch.put("landmarks468_px", np.stack(meshes))
    return batch


@pytest.fixture(scope="module")
def image():
    ys, xs = np.mgrid[:200, :300]
    return np.stack((xs % 256, ys, (xs + ys) % 256), -1).astype(np.uint8)


def test_is_an_operator():
    assert isinstance(FaceAligner(), Operator)


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2, np.pi / 2, 3.0])
def test_aligned_eyes_are_level_and_the_mesh_is_in_the_middle(image, angle):
    config = FaceAlignerConfig(crop_px=128, margin=1.6)
    result = FaceAligner(config)(batch_of([mesh(0, angle)], image))
    points = transform_points(result.faces["crop_from_image"], result.faces["landmarks468_px"])[0]
    left, right = points[[33, 133]].mean(0), points[[362, 263]].mean(0)
    assert abs(left[1] - right[1]) < 1e-3 and right[0] > left[0]
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    assert np.allclose((low + high) / 2, 64, atol=1e-3)
    assert np.isclose((high - low).max(), 128 / 1.6, atol=1e-3)


def test_points_come_back_through_the_inverse(image):
    result = FaceAligner()(batch_of([mesh(i, 0.3 * i) for i in range(4)], image))
    forth = result.faces["crop_from_image"].astype(np.float64)
    points = result.faces["landmarks468_px"].astype(np.float64)
    back = transform_points(invert_similarity(forth), transform_points(forth, points))
    assert np.allclose(back, points, atol=1e-6)


def test_crop_shows_the_pixels_that_the_map_says(image):
    result = FaceAligner(FaceAlignerConfig(crop_px=64))(batch_of([mesh(0, 0.0)], image))
    inverse = invert_similarity(result.faces["crop_from_image"][0])
    for x, y in ((10, 20), (32, 32), (50, 12)):
        u, v = transform_points(inverse, np.array([[x + 0.5, y + 0.5]], np.float32))[0]
        assert np.abs(result.faces["crop"][0, y, x, :2].astype(float) - [u - 0.5, v - 0.5]).max() < 1.5


def test_what_lies_outside_the_photo_is_not_valid(image):
    result = FaceAligner(FaceAlignerConfig(crop_px=64))(batch_of([mesh(0, 0.0), mesh(0, 0.0, centre=(0.0, 100.0))], image))
    assert result.faces["crop_valid"][0].all()
    assert np.allclose(result.faces["crop_valid"][1].mean(), 0.5, atol=0.1)
    assert not result.faces["crop_valid"][1][:, 0].any() and result.faces["crop_valid"][1][:, -1].all()


def test_faces_that_are_not_ok_are_left_blank_and_no_face_is_no_trouble(image):
    batch = batch_of([mesh(0, 0.0), mesh(1, 0.0)], image)
    batch.mark_face(0, "low_confidence", "unsure")
    result = FaceAligner()(batch)
    assert np.isnan(result.faces["crop_from_image"][0]).all() and not np.isnan(result.faces["crop_from_image"][1]).any()
    assert FaceAligner()(Batch.from_images([encode(image)])).n_faces == 0
