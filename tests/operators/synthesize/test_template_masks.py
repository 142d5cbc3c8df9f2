"""Masks by picture template: where they lie, what they change, and that nothing makes them raise."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from operators.synthesize.base import MASK_TYPES, Outfit, lay
from operators.synthesize.template_looks import dressed
from operators.synthesize.template_masks import masked_by_template, template_layer
from operators.synthesize.templates import template_set
from tests.operators.synthesize.faces import face68

NOISE = np.random.default_rng(0).integers(0, 256, (150, 140, 3), np.uint8)
BLENDS = ("alpha", "official")
types = st.sampled_from([*MASK_TYPES, "inpaint"])
faces = st.builds(
    face68,
    st.tuples(st.floats(-60, 200), st.floats(-60, 210)),
    st.floats(4, 150),
    st.floats(-0.4, 0.4),
    st.floats(-180, 180),
)


def skin(height: int = 240, width: int = 200, grain: float = 3.0) -> np.ndarray:
    """A picture with skin where `face68((100, 110))` lies, and a blue wall around it."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot((x - 100) / 66, (y - 110) / 80) < 1
    noise = np.random.default_rng(3).normal(0, grain, (height, width, 1))
    return np.clip(np.where(inside[..., None], [205, 165, 145], [90, 110, 160]) + noise, 0, 255).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(faces, types, st.integers(0, 2**62), st.sampled_from(BLENDS))
def test_nothing_outside_the_hole_changes_and_the_same_seed_gives_the_same_bytes(face, type, seed, blend):
    outfit = Outfit(type, (30, 120, 200) if seed % 2 else None, "dots" if seed % 3 == 0 else None)
    masked, again = (masked_by_template(NOISE, face, outfit, template_set(), seed, blend) for _ in range(2))
    assert np.array_equal(masked.image[~masked.hole], NOISE[~masked.hole])
    assert masked.image.tobytes() == again.image.tobytes() and np.array_equal(masked.hole, again.hole)
    assert masked.alpha.min() >= 0 and masked.alpha.max() <= 1 and np.isfinite(masked.alpha).all()
    assert not (masked.alpha > 0)[~masked.hole].any()


@settings(max_examples=25, deadline=None)
@given(arrays.arrays(np.float64, (68, 2), elements=st.floats(-400, 600) | st.floats() | st.just(50.0)), types)
def test_no_landmarks_raise(face, type):
    for blend in BLENDS:
        masked = masked_by_template(NOISE, face, Outfit(type), template_set(), 0, blend)
        assert np.array_equal(masked.image[~masked.hole], NOISE[~masked.hole])


def test_the_hole_is_where_pixels_changed():
    masked = masked_by_template(NOISE, face68((70.0, 70.0), 50.0), Outfit("surgical_blue"), template_set())
    changed = (masked.image != NOISE).any(-1)
    assert changed.sum() > 2000
    assert (changed & ~masked.hole).sum() == 0
    assert changed[masked.alpha > 0.05].mean() > 0.999
    assert changed[masked.hole].mean() > 0.9  # a shadow of a few per cent leaves dark pixels as they are


@pytest.mark.parametrize("type", MASK_TYPES)
@pytest.mark.parametrize("turn", [-0.3, 0.0, 0.3])
def test_masks_hide_nose_mouth_and_chin_and_leave_the_eyes(type, turn):
    face = face68((100.0, 110.0), 60.0, turn)
    worn = template_layer(skin(), face, Outfit(type), template_set())
    alpha = worn.layer.alpha
    at = np.floor(face).astype(int)
    hidden = [30, 33, *range(48, 68)]
    assert (alpha[at[hidden, 1], at[hidden, 0]] > 0.9).all()
    eyes = np.floor(face[36:48]).astype(int)
    assert alpha[eyes[:, 1], eyes[:, 0]].mean() < 0.1
    side = {-0.3: "left", 0.0: "front", 0.3: "right"}[turn]
    assert worn.template == template_set().pick(type, side).name


def test_a_mask_moves_with_the_face():
    image = skin()
    one = template_layer(image, face68((90.0, 100.0)), Outfit("n95"), template_set()).layer.alpha
    other = template_layer(image, face68((97.0, 111.0)), Outfit("n95"), template_set()).layer.alpha
    assert np.abs(one[:-11, :-7] - other[11:, 7:]).max() < 0.02


def test_a_face_outside_the_picture_changes_nothing():
    masked = masked_by_template(NOISE, face68((2000.0, 2000.0)), Outfit("cloth"), template_set())
    assert not masked.hole.any() and np.array_equal(masked.image, NOISE)


def test_colours_and_prints_show_and_folds_stay():
    image, face = skin(), face68((100.0, 110.0))
    red = template_layer(image, face, Outfit("surgical", (200, 20, 30), colour_weight=1.0), template_set()).layer
    solid = red.alpha > 0.99
    assert np.median(red.colour[solid][:, 0]) > 4 * np.median(red.colour[solid][:, 1])
    own = template_layer(image, face, Outfit("surgical"), template_set()).layer
    assert np.corrcoef(red.colour[solid][:, 0], own.colour[solid].mean(-1))[0, 1] > 0.8
    dots = [template_layer(image, face, Outfit("cloth", texture="dots"), template_set(), seed).layer.colour for seed in (1, 1, 2)]
    assert np.array_equal(dots[0], dots[1]) and np.abs(dots[0] - dots[2]).max() > 20


def test_the_weight_of_a_colour_says_how_much_of_it_shows():
    image, face = skin(), face68((100.0, 110.0))
    shades = [
        template_layer(image, face, Outfit("surgical", (0, 0, 255), colour_weight=w), template_set()).layer
        for w in (0.0, 0.5, 1.0)
    ]
    reds = [float(np.median(layer.colour[layer.alpha > 0.99][:, 0])) for layer in shades]
    assert reds[0] > reds[1] > reds[2] and abs(reds[1] - (reds[0] + reds[2]) / 2) < 3


def test_light_and_shade_of_the_face_fall_on_the_mask():
    face, even = face68((100.0, 110.0)), skin()
    from_the_left = (even * np.linspace(1.15, 0.5, 200)[None, :, None]).clip(0, 255).astype(np.uint8)
    dark = (even * 0.35).astype(np.uint8)
    layers = [template_layer(image, face, Outfit("surgical"), template_set()).layer for image in (even, from_the_left, dark)]
    left, right = np.s_[120:140, 65:75], np.s_[120:140, 125:135]
    assert layers[1].colour[left].mean() > 1.1 * layers[1].colour[right].mean()
    assert abs(layers[0].colour[left].mean() / layers[0].colour[right].mean() - 1) < 0.1
    assert layers[2].colour[left].mean() < 0.75 * layers[0].colour[left].mean()


def test_white_is_white_beside_dark_skin_when_the_eyes_say_so():
    face, dark = face68((100.0, 110.0)), (skin() * 0.45).astype(np.uint8)
    with_eyes = dark.copy()
    for eye in (face[36:42], face[42:48]):
        cv2.fillPoly(with_eyes, [np.round(eye).astype(np.int32)], (170, 168, 165))
    layers = [template_layer(image, face, Outfit("surgical"), template_set()).layer for image in (dark, with_eyes)]
    cheek = np.s_[120:140, 70:90]
    assert layers[1].colour[cheek].mean() > 1.2 * layers[0].colour[cheek].mean()


def test_a_photo_without_colours_gets_a_mask_without_colours():
    tone = np.array([1.06, 1.0, 0.86])
    grey = np.linspace(40, 220, 200)[None, :, None] * np.ones((240, 1, 1))
    sepia = (grey * tone).clip(0, 255).astype(np.uint8)
    layer = template_layer(sepia, face68((100.0, 110.0)), Outfit("surgical_blue"), template_set()).layer
    mean = layer.colour[layer.alpha > 0.99].mean(0)
    assert mean / mean[1] == pytest.approx(tone, abs=0.02)


def test_masks_are_as_sharp_and_as_grainy_as_the_photo():
    face = face68((100.0, 110.0))
    smooth = skin(grain=0.0)
    smooth[82:88, 50:150] = 30  # brows: edges by which sharpness can be told
    images = smooth, cv2.GaussianBlur(smooth, (0, 0), 2.5), skin(grain=12.0)
    sharp, soft, grainy = (template_layer(image, face, Outfit("kn95"), template_set()).layer for image in images)
    slopes = [np.abs(np.diff(layer.alpha, axis=0)).max() for layer in (sharp, soft)]
    assert slopes[1] < 0.6 * slopes[0]
    cheek = np.s_[135:150, 70:90]
    assert (grainy.colour - sharp.colour)[cheek].std() > 3


def test_straps_keep_their_colour():
    template = template_set().pick("surgical", "left")
    painted = dressed(template, Outfit("surgical", (10, 20, 160), colour_weight=1.0), 0)
    strap = template.alpha > 250
    strap[:, : int(0.9 * strap.shape[1])] = False
    body = template.alpha > 250
    body[:, : int(0.3 * body.shape[1])] = body[:, int(0.7 * body.shape[1]) :] = False
    assert strap.sum() > 100 and np.abs(painted - template.colour)[strap].mean() < 5
    assert painted[body].mean(0).argmax() == 2 and painted[body].mean(0)[0] < 30


def test_the_shadow_lies_around_the_mask_and_only_darkens():
    layer = template_layer(skin(), face68((100.0, 110.0)), Outfit("kn95"), template_set()).layer
    assert layer.light is not None and 0.5 < layer.light.min() < 0.97 and layer.light.max() <= 1
    assert (layer.light[layer.alpha == 1] == 1).all()
    assert layer.light[0, 0] == 1


def test_inpaint_spreads_the_surroundings_into_the_place_of_the_mask():
    image = skin()
    image[105:170, 85:115] = (0, 255, 0)
    worn = template_layer(image, face68((100.0, 110.0)), Outfit("inpaint"), template_set())
    masked = lay(image, worn.layer)
    assert set(np.unique(masked.alpha)) == {0, 1}
    spread = masked.image[masked.hole].astype(int)
    assert ((spread[:, 1] > 200) & (spread[:, 0] < 60)).mean() < 0.05


def test_what_is_no_mask_is_refused_by_name():
    with pytest.raises(ValueError, match="got 'scarf'"):
        template_layer(NOISE, face68(), Outfit("scarf"), template_set())
    with pytest.raises(ValueError, match="missing"):
        template_layer(NOISE, face68((70.0, 70.0)), Outfit("cloth", texture="missing.png"), template_set())
