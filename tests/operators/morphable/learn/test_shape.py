"""Identity and expression of synthetic people are told apart, and fields spread smoothly from landmarks."""

import numpy as np
import pytest

from operators.morphable.learn.shape import (
    held_out_error,
    landmark_fields,
    learn_shape,
    merge_expressions,
    specificity,
    without_pose,
)
from tests.operators.morphable.learn.test_pca import angle_cosines
from tests.operators.morphable.meshes import grid_mesh


@pytest.fixture(scope="module")
def crowd():
    """100 people with 2 identity modes; 40 seen neutral and with one expression, 60 seen once with an unknown one."""
    points, _ = grid_mesh(7, bump=0.4)
    points = points * 50
    mirror = np.linalg.norm((points * [-1, 1, 1])[:, None] - points[None], axis=-1).argmin(1)
    x, y = points[:, 0] / 50, points[:, 1] / 50
    zero = np.zeros_like(x)
    raw = [[x * y**2, zero, zero], [zero, x**2 * y, zero], [zero, np.where(y < -0.3, x**2, 0), zero]]
    modes = np.array([np.stack(m, 1).ravel() for m in raw])
    modes = without_pose(modes, points)
    identity, smile = modes[:2] * [[6.0], [4.0]], modes[2:] * 8
    rng = np.random.default_rng(0)
    own = rng.standard_normal((100, 2)) @ identity
    amount = np.concatenate([rng.normal(1, 0.2, 40), rng.normal(0.8, 0.3, 60)])[:, None]
    faces = np.concatenate([own[:40], own + amount * smile]) + points.ravel()
    faces = faces + 0.02 * rng.standard_normal(faces.shape)
    person = np.concatenate([np.arange(40), np.arange(100)])
    neutral = np.arange(140) < 40
    return points, mirror, identity, smile, faces.reshape(140, -1, 3), person, neutral


def test_expression_and_identity_are_told_apart(crowd):
    points, mirror, identity, smile, faces, person, neutral = crowd
    model = learn_shape(faces, person, neutral, mirror, 2, 1)
    assert angle_cosines(model.expression, smile).min() > 0.999
    assert angle_cosines(model.identity, identity).min() > 0.98
    unit = smile[0] / np.linalg.norm(smile)
    rest = model.identity - (model.identity @ identity.T) @ np.linalg.pinv(identity @ identity.T) @ identity
    assert np.abs(rest @ unit).max() < 0.1 * np.linalg.norm(smile), "no smile left in identity"
    assert np.abs(model.mean - points.ravel()).max() < 2.5, "the mean is neutral though most photos smile"
    assert np.linalg.norm(model.mean - points.ravel()) < 0.25 * np.linalg.norm(smile)


def test_the_mean_is_symmetric(crowd):
    _, mirror, _, _, faces, person, neutral = crowd
    mean = learn_shape(faces, person, neutral, mirror, 2, 1).mean.reshape(-1, 3)
    assert np.allclose(mean, mean[mirror] * [-1, 1, 1])


def test_without_pairs_it_says_so(crowd):
    _, mirror, _, _, faces, _, neutral = crowd
    with pytest.raises(ValueError, match="both a neutral and an expressive photo"):
        learn_shape(faces, np.arange(140), neutral, mirror, 2, 1)


def test_reports_fall_with_more_modes_and_stay_near_real_faces(crowd):
    _, mirror, _, _, faces, person, neutral = crowd
    seen = person % 5 > 0
    model = learn_shape(faces[seen], person[seen], neutral[seen], mirror, 2, 1)
    error = held_out_error(faces[~seen], model, (0, 1, 2), eye_distance=90.0)
    assert error[0] > error[1] > error[2] and error[2] < 0.001
    assert 0 < specificity(faces[neutral], model, 2, 90.0, samples=20) < 0.1


def test_fields_keep_their_landmarks_and_hold_still_vertices(crowd):
    points = crowd[0]
    triangles = grid_mesh(7)[1]
    chosen = np.arange(68) % 24 + 10
    pairs = np.stack([chosen, chosen], 1)
    displacement = np.zeros((1, 68, 3))
    displacement[0, :, 1] = points[chosen, 0] / 50
    field = landmark_fields(displacement, pairs, np.array([48]), points, triangles).reshape(49, 3)
    assert np.allclose(field[chosen, 1], points[chosen, 0] / 50)
    assert np.allclose(field[48], 0) and np.allclose(field[:, [0, 2]], 0, atol=1e-9)
    assert np.abs(field).max() < 3


def test_borrowed_modes_add_only_what_is_new(crowd):
    points, mirror, identity, smile, *_ = crowd
    merged = merge_expressions(smile, np.concatenate([smile * 2, identity[:1]]), points, mirror, 3)
    assert np.array_equal(merged[:1], smile)
    assert len(merged) == 2, "the borrowed smile was there already"
    assert angle_cosines(merged[1:], identity[:1] - (identity[:1] @ smile.T) @ smile / (smile**2).sum()).min() > 0.99
