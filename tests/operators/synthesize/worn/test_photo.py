"""What a photo says of itself: sharpness, grain, colourfulness, skin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from operators.synthesize.worn.photo import colourfulness, face_sharpness_px, grain, grain_std, sharpness_px, skin_likeness
from tests.operators.synthesize.worn.people import SIZE, face


def _edges(blur: float) -> np.ndarray:
    large = np.zeros((1024, 1024), np.float32)
    for k in range(6):
        cv2.circle(large, (170 + 150 * k, 500 + 60 * (-1) ** k), 60, 200.0, -1)
    return cv2.resize(cv2.GaussianBlur(large, (0, 0), 4 * blur), (256, 256), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("blur", (0.6, 1.2, 2.2))
def test_sharpness_is_the_blur_of_edges(blur: float) -> None:
    assert sharpness_px(_edges(blur)) == pytest.approx(blur, rel=0.3)


def test_a_photo_without_edges_counts_as_an_ordinary_one() -> None:
    assert 0.4 < sharpness_px(np.full((60, 60), 120.0, np.float32)) < 1
    assert 0.4 < face_sharpness_px(np.full((SIZE, SIZE, 3), 120, np.uint8), face().points_px + 1000) < 1


def test_grain_is_measured_and_made_again() -> None:
    flat = np.full((128, 128), 120.0, np.float32)
    made = grain((128, 128), (3.0, 2.0), seed=4)
    noisy = np.clip(flat[..., None] + made, 0, 255).repeat(3, -1).round().astype(np.uint8)
    fine, coarse = grain_std(noisy, np.ones((128, 128), bool))
    assert fine == pytest.approx(3.0, rel=0.25) and coarse == pytest.approx(2.0, rel=0.35)
    assert np.array_equal(made, grain((128, 128), (3.0, 2.0), seed=4))
    assert grain_std(noisy, np.zeros((128, 128), bool)) == (0.0, 0.0)


def test_black_and_white_photos_have_no_colour() -> None:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (64, 64, 1), np.uint8).repeat(3, -1)
    assert colourfulness(grey) == 0
    assert colourfulness(rng.integers(0, 255, (64, 64, 3), np.uint8)) == 1


def test_skin_is_told_from_hair() -> None:
    image = np.full((SIZE, SIZE, 3), (200, 150, 130), np.uint8)
    image[:, :90] = (50, 36, 30)
    image = (image * np.linspace(0.8, 1.0, SIZE)[:, None, None]).astype(np.uint8)
    likeness = skin_likeness(image, face().points_px)
    assert likeness[:, :80].max() < 0.1 and likeness[:, 120:].min() > 0.9
    assert (skin_likeness(image, face().points_px + 5000) == 1).all()
