"""The head that cloth lies on: distances by direction, and a plain back of the head."""

from __future__ import annotations

import numpy as np

from operators.synthesize.worn.head import mirrored_landmarks, rim, unit
from tests.operators.synthesize.worn.people import mean_head, model, wearer


def test_distances_are_those_of_the_mesh() -> None:
    head = mean_head()
    points = head.landmarks[[4, 152, 50, 280, 199, 5]]
    distance = np.linalg.norm(points - head.centre, axis=1)
    assert np.abs(head.skin(head.angles(points)) - distance).max() < 1.5


def test_angles_and_unit_vectors_are_inverse() -> None:
    head = mean_head()
    offset = head.landmarks - head.centre
    again = unit(head.angles(head.landmarks)) * np.linalg.norm(offset, axis=1)[:, None]
    assert np.abs(again - offset).max() < 1e-3


def test_every_direction_down_to_the_neck_has_a_distance() -> None:
    distances = mean_head().distances
    assert (distances > 20).all() and (distances < 250).all()


def test_the_back_of_the_head_is_closed_around_the_face_and_looks_outwards() -> None:
    head = mean_head()
    behind = head.triangles[(head.triangles >= head.count).any(1)]
    a, b, c = (head.vertices[behind[:, k]].astype(np.float64) for k in range(3))
    normal, middle = np.cross(b - a, c - a), (a + b + c) / 3
    outward = (middle - head.vertices.mean(0)) * (1, 1, 0)
    assert ((normal * outward).sum(1) > 0).mean() > 0.95
    assert len(rim(head.triangles, head.vertices)) == len(wearer().maker.rim)


def test_vertices_are_the_models_own() -> None:
    import torch

    rng = np.random.default_rng(2)
    coefficients = rng.normal(0, 1, model().identity_count + model().expression_count).astype(np.float32)
    head = wearer().maker(coefficients)
    expected = model().vertices(torch.from_numpy(coefficients)[None])[0].numpy()
    assert np.abs(head.vertices[: head.count] - expected).max() < 1e-3


def test_mirroring_landmarks_twice_gives_them_back() -> None:
    mirror = mirrored_landmarks()
    assert np.array_equal(mirror[mirror], np.arange(468))
    assert mirror[234] == 454 and mirror[4] == 4
