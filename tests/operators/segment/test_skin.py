import numpy as np
import pytest

from operators import masks
from operators.segment.regions import LEFT_EYE, OVAL, polygons
from operators.segment.skin import eyes_and_brows, lit_skin, shaded_skin, skin_distance
from tests.operators.segment.drawn_faces import SIZE, draw, landmarks


def scene(mask=None, skin=(205, 160, 135)):
    points = landmarks()
    picture, truth = draw(points, skin=skin, mask=mask)
    return picture[None], points[None], truth


def test_skin_is_near_and_a_mask_is_far_for_light_and_dark_skin():
    for skin, mask in (((205, 160, 135), (120, 190, 225)), ((205, 160, 135), (30, 30, 32)), ((95, 65, 48), (235, 235, 235))):
        pictures, points, truth = scene(mask, skin)
        distance = skin_distance(pictures, points)[0]
        eyes, brows = (region[0] for region in eyes_and_brows(points, SIZE))
        face = polygons(points[:, OVAL], SIZE)[0] & ~eyes & ~brows & ~truth
        assert np.percentile(distance[face], 80) < 0.5
        assert np.percentile(distance[truth], 10) > 1.2


def test_shaded_skin_is_found_and_a_dark_mask_is_not():
    pictures, points, truth = scene((30, 30, 32))
    shaded = shaded_skin(pictures, points)[0]
    assert shaded[225:250, 118:138].mean() > 0.9
    assert shaded[truth].mean() < 0.05


@pytest.mark.parametrize("mask", [(245, 245, 245), (120, 190, 225)])
def test_skin_in_side_light_is_skin_and_a_pale_mask_is_not(mask):
    pictures, points, truth = scene(mask, skin=(120, 82, 60))
    strength = 2.2 * np.linspace(0, 1, SIZE)[None, :, None] ** 2  # light falls from the viewer's right and pales the skin
    sunny = np.clip(pictures[0] * (1 + strength) + 25 * strength, 0, 255).astype(np.uint8)
    eyes, brows = (region[0] for region in eyes_and_brows(points, SIZE))
    face = polygons(points[:, OVAL], SIZE)[0] & ~eyes & ~brows & ~truth
    far = face & (skin_distance(sunny[None], points)[0] > 1.3) & (np.arange(SIZE) > SIZE // 2)
    assert far.sum() > 100
    assert lit_skin(sunny[None], points)[0][far].mean() > 0.7  # the rest lies beside hair and brows
    inside = masks.erode(truth[None], 4.0)[0]  # beside the border skin and cloth mix
    assert inside.sum() > 1000 and lit_skin(pictures, points)[0][inside].mean() < 0.005


def test_eyes_have_a_rim():
    points = landmarks()[None]
    eyes = eyes_and_brows(points, SIZE)[0]
    bare = polygons(points[:, LEFT_EYE], SIZE)
    assert not np.any(bare & ~eyes) and eyes.sum() > 2 * bare.sum()
