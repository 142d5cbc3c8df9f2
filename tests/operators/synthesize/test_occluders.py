import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.morphable.bases import load_basis
from operators.portrait import PortraitMaker
from operators.segment.regions import LEFT_EYE, RIGHT_EYE
from operators.synthesize.base import OCCLUDER_TYPES, Outfit, lay
from operators.synthesize.coverage import coverage_of
from operators.synthesize.occluders import OCCLUDERS, occluder_layer

MOUTH, CHIN = (13, 14, 61, 291), (152, 199)
SLOW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def portraits():
    make = PortraitMaker(load_basis("open_face"), size=160, texture_px=96)
    return [make(seed) for seed in (3, 4, 8)]


def inside(hole: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = np.floor(points[:, :2]).astype(int).T
    return hole[y, x]


def assert_sound(image, layer):
    """What every layer must be, and what it does to the photo."""
    assert layer.alpha.shape == image.shape[:2] and layer.colour.shape == image.shape
    assert np.isfinite(layer.alpha).all() and layer.alpha.min() >= 0 and layer.alpha.max() <= 1
    painted = layer.colour[layer.alpha > 0]
    assert np.isfinite(painted).all() and (not painted.size or (painted.min() >= 0 and painted.max() <= 255))
    if layer.light is not None:
        assert np.isfinite(layer.light).all() and layer.light.min() >= 0 and layer.light.max() <= 1.001
    masked = lay(image, layer)
    changed = (masked.image != image).any(-1)
    assert not (changed & ~masked.hole).any()
    return masked, changed


def test_every_type_has_an_occluder():
    assert set(OCCLUDERS) == set(OCCLUDER_TYPES)
    with pytest.raises(ValueError, match="hand"):
        occluder_layer(np.zeros((9, 9, 3), np.uint8), np.zeros((468, 3), np.float32), Outfit("umbrella"), 1)


@pytest.mark.parametrize("kind", OCCLUDER_TYPES)
@SLOW
@given(seed=st.integers(0, 2**63 - 1), who=st.integers(0, 2))
def test_the_hole_is_where_pixels_changed(portraits, kind, seed, who):
    image, mesh = portraits[who].image, portraits[who].landmarks_px
    masked, changed = assert_sound(image, occluder_layer(image, mesh, Outfit(kind), seed))
    assert masked.hole.any() and changed.sum() > 0.85 * masked.hole.sum()
    again = lay(image, occluder_layer(image, mesh, Outfit(kind), seed))
    np.testing.assert_array_equal(again.image, masked.image)
    np.testing.assert_array_equal(again.alpha, masked.alpha)


@pytest.mark.parametrize("kind", OCCLUDER_TYPES)
@SLOW
@given(
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.02, 0.2, 1.0, 4.0]),
    shift=st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)),
    size=st.sampled_from([(16, 16), (17, 90), (120, 33)]),
    target=st.sampled_from([None, (0.1, 0.2)]),
)
def test_faces_of_any_size_anywhere(portraits, kind, seed, scale, shift, size, target):
    h, w = size
    mesh = portraits[0].landmarks_px.astype(np.float64)
    mesh = (mesh - mesh.mean(0)) / np.ptp(mesh[:, 1]) * scale * h
    mesh[:, :2] += np.array([w, h]) * (0.5 + np.array(shift))
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    assert_sound(image, occluder_layer(image, mesh.astype(np.float32), Outfit(kind), seed, target))


@pytest.mark.parametrize("kind", OCCLUDER_TYPES)
def test_a_face_far_outside_changes_nothing_or_little(portraits, kind):
    image, mesh = portraits[0].image, portraits[0].landmarks_px + np.array([1e5, 0, 0], np.float32)
    masked, _ = assert_sound(image, occluder_layer(image, mesh, Outfit(kind), 5))
    assert kind == "hand" or kind in ("rectangle", "strokes") or not masked.hole.any()


def test_very_large_faces(portraits):
    """They are dressed smaller and the layer is enlarged: the glasses stay where they were."""
    x0, y0 = np.floor(portraits[1].landmarks_px[:, :2].min(0)).astype(int) - 6
    photo = portraits[1].image[y0 : y0 + 88, x0 : x0 + 80].copy()
    mesh = portraits[1].landmarks_px - np.array([x0, y0, 0], np.float32)
    large = cv2.resize(photo, None, fx=10, fy=10, interpolation=cv2.INTER_CUBIC)
    layer = occluder_layer(large, mesh * np.float32(10), Outfit("sunglasses"), 3)
    masked, _ = assert_sound(large, layer)
    usual = occluder_layer(photo, mesh, Outfit("sunglasses"), 3)
    small = cv2.resize(masked.alpha, photo.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert ((small > 0.5) & (usual.alpha > 0.5)).sum() > 0.85 * ((small > 0.5) | (usual.alpha > 0.5)).sum()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("rectangle", (0.1, 0.2)), ("rectangle", (0.5, 0.6)), ("strokes", (0.1, 0.2)), ("strokes", (0.4, 0.5)),
        ("hand", (0.1, 0.2)), ("hand", (0.2, 0.3)), ("hand", (0.4, 0.5)), ("scarf", (0.2, 0.3)), ("scarf", (0.4, 0.5)),
        ("sunglasses", (0.2, 0.25)),
    ],
)  # fmt: skip
def test_coverage_is_reached(portraits, kind, target):
    for seed, person in enumerate(portraits):
        layer = occluder_layer(person.image, person.landmarks_px, Outfit(kind), seed, target)
        assert target[0] - 0.01 <= coverage_of(layer.alpha, person.landmarks_px) <= target[1] + 0.01


def test_sunglasses_cover_the_eyes_and_not_the_mouth(portraits):
    for seed, person in enumerate(portraits * 3):
        hole = occluder_layer(person.image, person.landmarks_px, Outfit("sunglasses"), seed).alpha >= 0.5
        eyes = [person.landmarks_px[list(eye)].mean(0, keepdims=True) for eye in (LEFT_EYE, RIGHT_EYE)]
        assert inside(hole, np.concatenate(eyes)).all()
        assert not inside(hole, person.landmarks_px[list(MOUTH + CHIN)]).any()


def test_a_scarf_covers_mouth_and_chin_and_not_the_eyes(portraits):
    for seed, person in enumerate(portraits):
        hole = occluder_layer(person.image, person.landmarks_px, Outfit("scarf"), seed, (0.45, 0.5)).alpha >= 0.5
        assert inside(hole, person.landmarks_px[list(MOUTH + CHIN)]).all()
        assert not inside(hole, person.landmarks_px[list(LEFT_EYE + RIGHT_EYE)]).any()
        assert hole[-1].any()


def test_an_arm_leaves_the_picture(portraits):
    for seed, person in enumerate(portraits):
        alpha = occluder_layer(person.image, person.landmarks_px, Outfit("hand"), seed).alpha
        assert max(alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) == 1


def test_a_hand_has_the_skin_of_its_face(portraits):
    person = portraits[0]
    dark = (person.image * 0.45).astype(np.uint8)
    bright, dim = (
        occluder_layer(image, person.landmarks_px, Outfit("hand", colour=(90, 90, 90)), 11) for image in (person.image, dark)
    )
    skin = bright.alpha > 0.99
    ratio = dim.colour[skin].mean() / bright.colour[skin].mean()
    assert 0.35 < ratio < 0.75


@pytest.mark.parametrize("kind", ["hand", "scarf", "sunglasses"])
def test_shadows_fall_beside_the_thing_and_only_darken(portraits, kind):
    person = portraits[1]
    layer = occluder_layer(person.image, person.landmarks_px, Outfit(kind), 2)
    assert layer.light is not None and layer.light.min() < 0.93
    assert (layer.light[(layer.alpha == 0)] < 0.97).any()


@pytest.mark.parametrize(("kind", "colour"), [("scarf", (30, 160, 60)), ("rectangle", (250, 10, 10)), ("strokes", (10, 10, 250))])
def test_a_colour_is_kept(portraits, kind, colour):
    person = portraits[1]
    layer = occluder_layer(person.image, person.landmarks_px, Outfit(kind, colour=colour), 3, (0.3, 0.4))
    mean = layer.colour[layer.alpha > 0.99].mean(0)
    assert mean.argmax() == np.argmax(colour)


def test_fills_of_a_rectangle(portraits):
    person = portraits[2]

    def colours(texture):
        layer = occluder_layer(person.image, person.landmarks_px, Outfit("rectangle", texture=texture), 9)
        return layer.colour[layer.alpha == 1]

    assert np.ptp(colours("mean"), axis=0).max() == 0
    assert colours("noise").std() > 60
    assert 0 < colours("blur").std() < 60
    with pytest.raises(ValueError, match="noise"):
        colours("stripes")


def test_grey_photos_stay_grey_under_a_hand(portraits):
    person = portraits[0]
    grey = person.image.mean(-1, keepdims=True).astype(np.uint8).repeat(3, 2)
    layer = occluder_layer(grey, person.landmarks_px, Outfit("hand", colour=(80, 80, 80)), 4)
    painted = layer.colour[layer.alpha > 0.9]
    assert np.ptp(painted, axis=1).mean() < 12
