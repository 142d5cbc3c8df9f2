import cv2
import numpy as np
import pytest

from operators import masks
from operators.segment.regions import LEFT_EYE, OVAL, RIGHT_EYE, polygons
from operators.segment.rim import rim_remnants
from tests.operators.segment.drawn_faces import SIZE, draw, landmarks

SKIN = (205, 160, 135)


def scene(mask, clip=None):
    """A masked face, the occluder as found, its skin, and the part of the mask that was missed: all of `clip` (x, y, r)."""
    points = landmarks()
    picture, truth = draw(points, SKIN, mask)
    missed = np.zeros((SIZE, SIZE), np.uint8)
    if clip:
        at = points[list(clip)].mean(0)
        cv2.circle(missed, (round(float(at[0])), round(float(at[1]))), 14, 1, -1)
    missed = (missed > 0) & ~truth
    picture = picture.copy()
    picture[missed] = mask
    oval = masks.erode(polygons(points[None, OVAL], SIZE), 3.0)[0]
    eyes = masks.dilate(polygons(points[None, LEFT_EYE], SIZE) | polygons(points[None, RIGHT_EYE], SIZE), 4.0)[0]
    skin = oval & ~masks.dilate((truth | missed)[None], 6.0)[0] & ~eyes
    return picture[None], truth[None], skin[None], points[None], missed[None]


@pytest.mark.parametrize("mask", [(235, 235, 240), (30, 30, 32), (120, 190, 225)])
def test_what_was_missed_at_the_nose_is_found_and_skin_is_not(mask):
    picture, occluder, skin, points, missed = scene(mask, clip=(197, 6))
    assert missed.sum() > 150
    found = rim_remnants(picture, occluder, skin, points)
    assert (found & missed).sum() > 0.9 * missed.sum()
    assert not (found & skin).any() and not (found & occluder).any()


def test_a_patch_of_the_same_colour_apart_from_the_occluder_stays():
    picture, occluder, skin, points, missed = scene((235, 235, 240), clip=(9,))
    assert missed.any() and not (rim_remnants(picture, occluder, skin, points) & missed).any()


def test_open_eyes_stay():
    picture, occluder, skin, points, _ = scene((235, 235, 240), clip=(197, 6))
    eyes = polygons(points[:, LEFT_EYE], SIZE) | polygons(points[:, RIGHT_EYE], SIZE)
    picture = np.where(eyes[..., None], np.uint8(240), picture)
    assert not (rim_remnants(picture, occluder, skin, points) & eyes).any()


def test_nothing_without_occluder_or_skin():
    picture, occluder, skin, points, _ = scene((235, 235, 240), clip=(197, 6))
    assert not rim_remnants(picture, np.zeros_like(occluder), skin, points).any()
    assert not rim_remnants(picture, occluder, np.zeros_like(skin), points).any()
