import math

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from operators.metrics.pixels import psnr_db


def test_identical_images_have_infinite_psnr():
    image = np.full((4, 5, 3), 7, np.uint8)
    assert psnr_db(image, image).value == math.inf
    assert psnr_db(image, image).n == 20


def test_constant_offset_has_the_known_value():
    image = np.full((4, 5, 3), 100, np.uint8)
    assert psnr_db(image, image + 16).value == pytest.approx(20 * math.log10(255 / 16))


def test_only_the_asked_pixels_count():
    truth = np.zeros((4, 4, 3), np.uint8)
    image = truth.copy()
    image[0, 0] = 255
    where = np.zeros((4, 4), bool)
    where[0, 0] = True
    assert psnr_db(image, truth, where).value == pytest.approx(0.0)
    assert psnr_db(image, truth, ~where).value == math.inf
    assert math.isnan(psnr_db(image, truth, np.zeros((4, 4), bool)).value)


def test_shapes_must_agree():
    with pytest.raises((ValueError, TypeCheckError)):
        psnr_db(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8))
