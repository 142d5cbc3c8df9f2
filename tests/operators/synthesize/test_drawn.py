import numpy as np
import pytest

from operators.morphable.bases import load_basis
from operators.portrait import PortraitMaker
from operators.synthesize.drawn import STYLES, DrawnMaskConfig, draw_mask


@pytest.fixture(scope="module")
def portrait():
    return PortraitMaker(load_basis("open_face"), size=192, texture_px=128)(3)


@pytest.mark.parametrize("style", STYLES)
def test_the_hole_is_where_pixels_changed(portrait, style):
    masked = draw_mask(portrait.image, portrait.landmarks_px, DrawnMaskConfig(style=style), seed=1)
    changed = (masked.image != portrait.image).any(-1)
    assert not (changed & ~masked.hole).any()
    assert changed.sum() > 0.97 * masked.hole.sum()
    assert masked.alpha.min() >= 0 and masked.alpha.max() <= 1


def test_the_mask_covers_nose_mouth_and_chin_but_not_the_eyes(portrait):
    hole = draw_mask(portrait.image, portrait.landmarks_px).hole
    x, y = np.floor(portrait.landmarks_px[:, :2]).astype(int).T
    assert hole[y[[4, 13, 14, 152, 61, 291]], x[[4, 13, 14, 152, 61, 291]]].all()
    assert not hole[y[[159, 386, 10, 151]], x[[159, 386, 10, 151]]].any()


def test_the_same_seed_gives_the_same_pixels(portrait):
    first, second, other = (draw_mask(portrait.image, portrait.landmarks_px, seed=s).image for s in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_straps_can_be_left_out(portrait):
    with_straps = draw_mask(portrait.image, portrait.landmarks_px, DrawnMaskConfig(straps=True)).hole
    without = draw_mask(portrait.image, portrait.landmarks_px, DrawnMaskConfig(straps=False)).hole
    assert without.sum() < with_straps.sum() and not (without & ~with_straps).any()


def test_styles_look_different(portrait):
    pictures = [draw_mask(portrait.image, portrait.landmarks_px, DrawnMaskConfig(style=s)) for s in STYLES]
    means = [p.image[p.alpha > 0.9].mean(0) for p in pictures]
    for i, a in enumerate(means):
        assert all(np.abs(a - b).max() > 8 for b in means[i + 1 :])
