"""MaskTheFace's own composite: its numbers where its pictures are at hand, its rules on a picture made here."""

import os
from pathlib import Path

import numpy as np
import pytest

from operators.synthesize.base import Outfit
from operators.synthesize.mask_the_face import bilinear, composite
from operators.synthesize.template_masks import masked_by_template
from operators.synthesize.templates import Template, TemplateSet

_FOLDER = os.environ.get("UNMASK_MASK_TEMPLATES", "")
_FIXTURE = os.environ.get("UNMASK_CONFORMANCE", "")
_CASES = (
    Outfit("surgical", (0x04, 0x73, 0xE2)),
    Outfit("cloth", texture="textures/check/check_4.jpg"),
    Outfit("n95"),
    Outfit("kn95", (0x94, 0xB6, 0xD2), colour_weight=0.3),
    Outfit("inpaint"),
)


@pytest.mark.skipif(
    not (_FOLDER and _FIXTURE),
    reason="UNMASK_MASK_TEMPLATES = MaskTheFace's folder `masks`, or UNMASK_CONFORMANCE (maskface/expected.npz), is not set",
)
@pytest.mark.parametrize("case", range(5))
def test_composites_are_those_of_the_official_code(case):
    """MaskTheFace@caf4d6c with OpenCV 5.0, every second pixel.

    OpenCV 5 leaves its homography a little short of the least-squares solution, which the steepest edges of the most turned
    faces show: at most one value in 10,000 is off by more than 2 levels, none by more than 4.
    """
    with np.load(Path(_FIXTURE) / "maskface" / "expected.npz", allow_pickle=False) as fixture:
        image = np.ascontiguousarray(fixture["img_bgr_u8"][..., ::-1])
        landmarks = fixture["landmarks"][case] + 0.5
        expected, alpha = fixture[f"case{case}_out_step2"], fixture[f"case{case}_mask_step2"]
    outfit = _CASES[case]
    if outfit.texture:
        outfit = Outfit(outfit.type, texture=str(Path(_FOLDER) / outfit.texture))
    masked = masked_by_template(image, landmarks, outfit, TemplateSet(_FOLDER), blend="official")
    away = np.abs(masked.image[::2, ::2, ::-1].astype(int) - expected)
    assert away.max() <= 4 and (away > 2).mean() < 1e-4
    assert np.abs(np.round(masked.alpha[::2, ::2] * 255) - alpha).max() <= 2


def template(alpha: int = 255) -> Template:
    colour = np.full((20, 30, 3), (100, 150, 200), np.uint8)
    return Template("plain", colour, np.full((20, 30), alpha, np.uint8), np.zeros((6, 2)))


def shifted(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def test_half_transparent_masks_add_up():
    image = np.full((40, 50, 3), (50, 60, 70), np.uint8)
    out = composite(image, template(alpha=128), shifted(5, 5), Outfit("cloth"))
    solid = composite(image, template(), shifted(5, 5), Outfit("cloth"))
    assert np.array_equal(out.image[10, 10].astype(int), solid.image[10, 10].astype(int) + image[10, 10])
    assert np.array_equal(out.image[~out.hole], image[~out.hole]) and out.hole.sum() == 600
    assert out.alpha[10, 10] == pytest.approx(128 / 255)


def test_colours_are_mixed_in_by_weight_and_brightness_follows_the_picture():
    image = np.full((40, 50, 3), 200, np.uint8)
    plain = composite(image, template(), shifted(5, 5), Outfit("cloth"))
    assert plain.image[10, 10].max() == 200  # as bright as the picture: x (1 + (200 - 200) / 255)
    mixed = composite(image, template(), shifted(5, 5), Outfit("cloth", (200, 150, 0), colour_weight=0.5)).image[10, 10]
    assert mixed[0] == mixed[1] == int(150 * (1 + 50 / 255))  # (150, 150, 100) in the picture's brightness
    darker = composite(image // 2, template(), shifted(5, 5), Outfit("cloth"))
    assert darker.image[10, 10].max() == int(200 * (1 - 100 / 255))


def test_without_a_map_the_photo_stays():
    image = np.full((8, 9, 3), 7, np.uint8)
    out = composite(image, template(), None, Outfit("cloth"))
    assert np.array_equal(out.image, image) and not out.hole.any()


def test_the_warp_is_exactly_bilinear():
    values = np.random.default_rng(2).integers(0, 256, (6, 7, 2), np.uint8)
    out = bilinear(values, shifted(2.25, 1.5), (12, 14)).astype(float)
    padded = np.pad(values.astype(float), ((1, 1), (1, 1), (0, 0)))
    for y, x in ((3, 4), (4, 6), (7, 9)):
        i, j = y - 1.5 + 1, x - 2.25 + 1  # in the padded picture
        y0, x0, fy, fx = int(i), int(j), i % 1, j % 1
        near = padded[y0 : y0 + 2, x0 : x0 + 2]
        by_hand = (near[0, 0] * (1 - fx) + near[0, 1] * fx) * (1 - fy) + (near[1, 0] * (1 - fx) + near[1, 1] * fx) * fy
        assert np.abs(out[y, x] - by_hand).max() <= 0.5
    assert out[0].max() == 0 and out[:, 0].max() == 0
