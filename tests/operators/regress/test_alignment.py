import numpy as np
import pytest
from PIL import Image

from operators.regress.alignment import (
    REFERENCE,
    SIDE,
    AlignmentError,
    Placement,
    align_by_five,
    deep3d_alignment,
    ffhq_alignment,
    ffhq_quad,
    five_points,
    place_by_five,
)

PHOTO = np.random.default_rng(0).integers(0, 256, (340, 260, 3), dtype=np.uint8)
PHOTO = np.asarray(Image.fromarray(PHOTO).resize((260, 340), Image.Resampling.BOX))


def marks(centre=(130.0, 170.0), scale=60.0, angle=0.0):
    """68 points of which those that are used lie as on the reference face."""
    flat = REFERENCE[:, :2] * [1, -1] * scale
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    five = flat @ turn.T + centre
    points = np.zeros((68, 2)) + centre
    points[[36, 39]], points[[42, 45]] = five[0], five[1]
    points[36:42], points[42:48] = five[0], five[1]
    points[30], points[48], points[54] = five[2:]
    return points


def official_order(photo, placed):
    """All of the photo resized, then cut out of it: the way of the official code."""
    image = Image.fromarray(photo).resize(placed.resized, Image.Resampling.BICUBIC)
    left, up = placed.corner
    return np.asarray(image.crop((left, up, left + SIDE, up + SIDE)))


PLACES = [(60, (130, 170)), (150, (130, 170)), (25, (130, 170)), (70, (20, 30)), (80, (250, 330))]


@pytest.mark.parametrize(("scale", "centre"), PLACES)
def test_picture_is_that_of_resizing_the_whole_photo(scale, centre):
    five = five_points(marks(centre, scale))
    placed = place_by_five(np.stack((five[:, 0], 340 - 1 - five[:, 1]), 1), 260, 340)
    found, expected = align_by_five(PHOTO, placed).picture, official_order(PHOTO, placed)
    off = np.abs(found.astype(int) - expected)
    assert off.max() <= 1 and (off > 0).mean() < 0.01
    assert expected.std() > 5


def test_aligned_pixels_are_where_the_map_puts_the_photos():
    ramp = np.zeros((340, 260, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(260) * 0.9, (np.arange(340) * 0.7)[:, None]
    aligned = deep3d_alignment(ramp, marks(scale=70))
    at = np.array([[60.5, 80.5], [112.5, 150.5], [170.5, 100.5]])
    linear, shift = aligned.from_photo[:, :2], aligned.from_photo[:, 2]
    photo = (at - shift) @ np.linalg.inv(linear).T
    values = np.array([aligned.picture[int(y), int(x), :2] for x, y in at], float)
    assert np.abs(values - (photo - 0.5) * [0.9, 0.7]).max() < 1.5


def test_reference_face_fills_its_share():
    aligned = deep3d_alignment(PHOTO, marks(scale=60, angle=0.2))
    eyes = np.concatenate((five_points(marks(scale=60, angle=0.2)), np.ones((5, 1))), 1) @ aligned.from_photo.T
    between = np.linalg.norm(eyes[1] - eyes[0])
    assert between == pytest.approx(102 * np.linalg.norm(REFERENCE[1, :2] - REFERENCE[0, :2]), rel=0.02)
    assert np.abs(eyes.mean(0) - SIDE / 2).max() < 15


def test_pose_is_the_least_squares_one():
    truth = np.array([[50.0, 8, 3], [-8, 49, 5]])
    points = REFERENCE @ truth.T + [90, 120]
    placed = place_by_five(points, 200, 300)
    assert placed.scale == pytest.approx(102 / np.linalg.norm(truth, axis=1).mean())
    assert placed.centre == pytest.approx([90, 120])


def test_corner_is_cut_off_towards_zero():
    placed = Placement(100, 100, 1.0, np.array([10.6, 90.0]))
    assert placed.corner == (-101, -102)


@pytest.mark.parametrize("align", [deep3d_alignment, ffhq_alignment])
@pytest.mark.parametrize("points", [np.full((68, 2), 50.0), np.full((68, 2), np.nan)])
def test_collapsed_landmarks_are_an_error(align, points):
    with pytest.raises(AlignmentError):
        align(PHOTO, points)


def test_a_face_beside_the_photo_is_an_error():
    with pytest.raises(AlignmentError, match="beside the photo"):
        deep3d_alignment(PHOTO, marks(centre=(3000, 170)))


def test_quad_of_a_level_face():
    """Eyes 60 apart, mouth 50 below: half side max(2 * 60, 1.8 * 50) = 120, centre a tenth of the way to the mouth."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (100, 100), (160, 100)
    points[48], points[54] = (110, 150), (150, 150)
    assert ffhq_quad(points) == pytest.approx(np.array([[10, -15], [10, 225], [250, 225], [250, -15]]))


def test_ffhq_picture_shows_the_quad():
    points = marks((130, 170), 60, 0.3)
    aligned, quad = ffhq_alignment(PHOTO, points), ffhq_quad(points)
    corners = np.concatenate((quad, np.ones((4, 1))), 1) @ aligned.from_photo.T
    assert corners == pytest.approx(np.array([[0, 0], [0, SIDE], [SIDE, SIDE], [SIDE, 0]]), abs=1e-6)
    assert aligned.picture.shape == (SIDE, SIDE, 3)
