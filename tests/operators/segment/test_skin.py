import numpy as np

from operators.segment.regions import LEFT_EYE, OVAL, polygons
from operators.segment.skin import eyes_and_brows, shaded_skin, skin_distance
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


def test_eyes_have_a_rim():
    points = landmarks()[None]
    eyes = eyes_and_brows(points, SIZE)[0]
    bare = polygons(points[:, LEFT_EYE], SIZE)
    assert not np.any(bare & ~eyes) and eyes.sum() > 2 * bare.sum()
