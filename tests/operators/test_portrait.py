import numpy as np
import pytest

from operators.morphable.bases import load_basis
from operators.morphable.bases.synthetic import synthetic_basis
from operators.portrait import PortraitMaker


@pytest.fixture(scope="module")
def maker():
    return PortraitMaker(load_basis("open_face"), size=160, texture_px=128)


def test_a_seed_is_a_person(maker):
    first, again, other = maker(1), maker(1), maker(2)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.landmarks_px, again.landmarks_px)
    assert (first.image != other.image).mean() > 0.5


def test_landmarks_lie_in_the_picture_and_in_order(maker):
    for seed in range(4):
        points = maker(seed).landmarks_px
        assert points.shape == (468, 3) and (points[:, :2] > 0).all() and (points[:, :2] < 160).all()
        assert points[10, 1] < points[4, 1] < points[152, 1]
        assert points[33, 0] < points[4, 0] < points[263, 0] or abs(maker(seed).rotation_deg[1]) > 15
        assert points[4, 2] < points[[234, 454], 2].min()


def test_the_nose_turns_to_the_viewers_right_with_positive_yaw(maker):
    offsets, yaws = [], []
    for seed in range(6):
        portrait = maker(seed)
        points = portrait.landmarks_px
        offsets.append(points[4, 0] - points[[234, 454], 0].mean())
        yaws.append(portrait.rotation_deg[1])
    assert np.corrcoef(offsets, yaws)[0, 1] > 0.9


def test_skin_is_where_the_mesh_is(maker):
    portrait = maker(0)
    x, y = np.floor(portrait.landmarks_px[[205, 425], :2]).astype(int).T
    cheeks = portrait.image[y, x].astype(int)
    assert (cheeks[:, 0] > cheeks[:, 2]).all()


def test_a_base_without_the_mesh_is_refused():
    basis = synthetic_basis(seed=0)
    if len(basis.landmarks468):
        from dataclasses import replace

        basis = replace(basis, landmarks468=np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="468"):
        PortraitMaker(basis)
