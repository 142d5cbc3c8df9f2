"""Worn masks: on the right place, lit, deterministic, and of the coverage asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operators.synthesize.base import MASK_TYPES, Outfit, lay
from operators.synthesize.worn import FittedFace, MaskWearer, WearStyle
from tests.operators.synthesize.worn.people import SIZE, face, photo, wearer

_NOSE_TIP, _MOUTH, _CHIN, _FOREHEAD = 4, 13, 199, 151


def alpha_at(alpha: np.ndarray, fitted: FittedFace, landmark: int) -> float:
    x, y = fitted.landmarks468_px[landmark]
    return float(alpha[int(y), int(x)])


@pytest.mark.parametrize("kind", MASK_TYPES)
def test_every_type_covers_nose_mouth_and_chin_and_leaves_the_forehead(kind: str) -> None:
    fitted = face()
    alpha = wearer()(photo(), fitted, Outfit(kind), seed=3).layer.alpha
    assert min(alpha_at(alpha, fitted, k) for k in (_NOSE_TIP, _MOUTH, _CHIN)) > 0.95
    assert alpha_at(alpha, fitted, _FOREHEAD) == 0


@pytest.mark.parametrize("yaw", (-40.0, 40.0))
@pytest.mark.parametrize("kind", ("surgical", "n95"))
def test_a_turned_head_wears_it_on_its_face(kind: str, yaw: float) -> None:
    fitted = face(yaw)
    alpha = wearer()(photo(), fitted, Outfit(kind), seed=1).layer.alpha
    assert min(alpha_at(alpha, fitted, k) for k in (_NOSE_TIP, _MOUTH, _CHIN)) > 0.95
    assert alpha_at(alpha, fitted, _FOREHEAD) == 0


def test_a_turned_head_hides_the_far_side() -> None:
    """The mask's outline ends near the turned face's own, however far it reaches around the far cheek."""
    for yaw, far in ((45.0, 1), (-45.0, -1)):
        fitted = face(yaw)
        alpha = wearer()(photo(), fitted, Outfit("surgical"), seed=2, style=WearStyle(straps=False)).layer.alpha
        columns = np.flatnonzero((alpha >= 0.5).any(0))
        rim = fitted.landmarks468_px[:, 0]
        edge, beyond = (columns.max(), rim.max()) if far > 0 else (columns.min(), rim.min())
        assert far * (edge - beyond) < 0.12 * np.ptp(rim)
        whole = np.flatnonzero(
            (wearer()(photo(), face(0.0), Outfit("surgical"), 2, None, WearStyle(straps=False)).layer.alpha >= 0.5).any(0)
        )
        assert np.ptp(columns) < 0.95 * np.ptp(whole)


def test_the_same_seed_gives_the_same_bits_in_any_company() -> None:
    image, outfit = photo(), Outfit("cloth")
    alone = MaskWearer("open_face")(image, face(15.0), outfit, seed=11)
    for other in ("gas", "surgical"):
        wearer()(photo(300), face(-30.0, seed=4), Outfit(other), seed=7, coverage=0.4)
    again = wearer()(image, face(15.0), outfit, seed=11)
    for name in ("colour", "alpha", "light"):
        assert np.array_equal(getattr(alone.layer, name), getattr(again.layer, name))
    assert not np.array_equal(again.layer.alpha, wearer()(image, face(15.0), outfit, seed=12).layer.alpha)


def test_layers_are_in_range_and_holes_are_where_pixels_may_change() -> None:
    image = photo()
    layer = wearer()(image, face(20.0), Outfit("kn95"), seed=5).layer
    assert layer.alpha.min() >= 0 and layer.alpha.max() <= 1
    assert layer.colour.min() >= 0 and layer.colour.max() <= 255
    assert layer.light is not None and layer.light.min() > 0.2 and layer.light.max() <= 1
    masked = lay(image, layer)
    changed = (masked.image != image).any(-1)
    assert changed.any() and not (changed & ~masked.hole).any()
    assert changed[masked.hole].mean() > 0.8
    assert ((layer.alpha > 0.02) & (layer.alpha < 0.98)).any()


@pytest.mark.parametrize("target", (0.15, 0.3, 0.45, 0.6))
@pytest.mark.parametrize("yaw", (0.0, 30.0))
def test_coverage_is_reached(target: float, yaw: float) -> None:
    worn = wearer()(photo(), face(yaw), Outfit("surgical"), seed=9, coverage=target, style=WearStyle(straps=False))
    assert abs(worn.coverage - target) < 0.03


def test_coverage_tells_properly_worn_from_below_the_nose() -> None:
    fitted = face()
    low, high = (wearer()(photo(), fitted, Outfit("cloth"), seed=4, coverage=c) for c in (0.28, 0.55))
    assert alpha_at(low.layer.alpha, fitted, _NOSE_TIP) == 0 and alpha_at(low.layer.alpha, fitted, _CHIN) > 0.95
    assert alpha_at(high.layer.alpha, fitted, _NOSE_TIP) > 0.95
    assert low.height > 0.8 > high.height


def test_height_moves_the_upper_edge_down() -> None:
    tops = []
    for height in (-0.5, 0.0, 0.6, 1.2):
        alpha = wearer()(photo(), face(), Outfit("surgical"), seed=1, style=WearStyle(height=height, straps=False)).layer.alpha
        tops.append(int(np.flatnonzero((alpha >= 0.5).any(1)).min()))
    assert tops == sorted(tops) and len(set(tops)) == 4


@pytest.mark.parametrize("shift", (-140.0, 200.0, 4000.0, -4000.0))
def test_faces_at_and_beyond_the_rim_of_the_picture(shift: float) -> None:
    image = photo()
    worn = wearer()(image, face(shift_px=shift), Outfit("gas"), seed=0)
    assert worn.layer.alpha.shape == image.shape[:2]
    assert (worn.layer.alpha.max() > 0.5) == (abs(shift) < 1000)
    if abs(shift) > 1000:
        assert np.array_equal(lay(image, worn.layer).image, image) and worn.coverage == 0


def test_brightness_follows_the_light() -> None:
    fitted, outfit = face(), Outfit("surgical", (90, 110, 130), colour_weight=1.0)
    means = []
    for factor in (0.275, 0.55, 1.1):
        layer = wearer()(photo(), replace(fitted, light=fitted.light * np.float32(factor)), outfit, seed=6).layer
        means.append(float(layer.colour[layer.alpha > 0.99].mean()))
    assert 1.8 < means[1] / means[0] < 2.2 and 1.7 < means[2] / means[1] < 2.2


def test_light_from_one_side_shades_the_other() -> None:
    fitted = face()
    light = fitted.light.copy()
    light[3] = 0.35
    layer = wearer()(photo(), replace(fitted, light=light), Outfit("surgical"), seed=6, style=WearStyle(straps=False)).layer
    middle = fitted.landmarks468_px[_MOUTH, 0]
    grey = layer.colour.mean(-1)
    solid, x = layer.alpha > 0.99, np.arange(SIZE)[None]
    assert grey[solid & (x > middle + 20)].mean() > 1.2 * grey[solid & (x < middle - 20)].mean()


def test_colour_and_texture_take_part_by_their_weights() -> None:
    fitted = face()

    def mean(outfit: Outfit) -> np.ndarray:
        layer = wearer()(photo(), fitted, outfit, seed=8).layer
        return layer.colour[layer.alpha > 0.99].mean(0)

    plain, half, full = (mean(Outfit("surgical_white", (200, 20, 20), None, weight)) for weight in (0.0, 0.5, 1.0))
    assert plain[1] > half[1] > full[1] and full[0] > 3 * full[1]
    layer = wearer()(photo(), fitted, Outfit("cloth", (240, 240, 240), "dots", 1.0, 1.0), seed=8).layer
    assert layer.colour[layer.alpha > 0.99].std() > 15


def test_landmarks_correct_the_fit() -> None:
    """Where the photo's landmarks lie elsewhere than the fit, the mask follows the landmarks."""
    fitted = face()
    moved = replace(fitted, landmarks468_px=fitted.landmarks468_px + np.array([0, 6], np.float32))
    tops = [
        int(np.flatnonzero((wearer()(photo(), f, Outfit("surgical"), 1).layer.alpha[:, 118:138] >= 0.5).any(1)).min())
        for f in (fitted, moved)
    ]
    assert 4 <= tops[1] - tops[0] <= 7


def test_grey_photos_get_grey_masks() -> None:
    grey = np.repeat(photo()[..., :1], 3, axis=-1)
    layer = wearer()(grey, face(), Outfit("surgical_green"), seed=2).layer
    assert np.ptp(layer.colour[layer.alpha > 0.5], axis=-1).max() < 1


def test_a_face_that_was_not_fitted_gets_nothing() -> None:
    fitted = face()
    for broken in (
        replace(fitted, identity=fitted.identity * np.nan),
        replace(fitted, focal_px=float("nan")),
        replace(fitted, landmarks468_px=fitted.landmarks468_px * np.nan),
    ):
        worn = wearer()(photo(), broken, Outfit("surgical"), seed=1)
        assert not worn.layer.alpha.any() and worn.coverage == 0


def test_some_missing_landmarks_do_no_harm() -> None:
    fitted = face()
    landmarks = fitted.landmarks468_px.copy()
    landmarks[::5] = np.nan
    alpha = wearer()(photo(), replace(fitted, landmarks468_px=landmarks), Outfit("surgical"), seed=1).layer.alpha
    whole = wearer()(photo(), fitted, Outfit("surgical"), seed=1).layer.alpha
    assert np.abs(alpha - whole).mean() < 0.01


def test_a_face_of_a_batch() -> None:
    fitted = face()
    names = ("identity", "expression", "light", "rotation_deg", "translation", "crop_from_image", "landmarks468_px")
    columns = {name: np.stack([getattr(fitted, name)] * 2) for name in names}
    columns |= {"focal_px": np.full(2, fitted.focal_px, np.float32), "crop": np.zeros((2, SIZE, SIZE, 3), np.uint8)}
    again = FittedFace.of(columns, 1)
    assert again.crop_px == SIZE and again.focal_px == fitted.focal_px
    assert np.array_equal(again.identity, fitted.identity)


def test_the_size_of_the_photo_changes_the_mask_but_little() -> None:
    """Twice the pixels, the same mask: wrinkles and prints do not hang on the resolution."""
    fitted = face()
    scale = np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float32)
    large = replace(fitted, crop_from_image=scale, landmarks468_px=fitted.landmarks468_px * 2)
    small_layer = wearer()(np.full((SIZE, SIZE, 3), 150, np.uint8), fitted, Outfit("surgical"), seed=3).layer
    large_layer = wearer()(np.full((2 * SIZE, 2 * SIZE, 3), 150, np.uint8), large, Outfit("surgical"), seed=3).layer
    shrunk = large_layer.colour.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    solid = large_layer.alpha.reshape(SIZE, 2, SIZE, 2).min((1, 3)) > 0.99
    assert np.abs(shrunk - small_layer.colour)[solid & (small_layer.alpha > 0.99)].mean() < 3


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="hand"):
        wearer()(photo(), face(), Outfit("hand"), seed=0)
    with pytest.raises(ValueError, match="no_such_print"):
        wearer()(photo(), face(), Outfit("cloth", texture="no_such_print"), seed=0)
