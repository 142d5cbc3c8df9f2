import math

import pytest
import torch

from operators.morphable import camera

ANGLES = torch.tensor([[0.0, 0, 0], [20, 0, 0], [0, 35, 0], [0, 0, 15], [-30, 50, 170], [10, -80, -100]], dtype=torch.float64)


def test_angles_survive_the_round_trip():
    torch.testing.assert_close(camera.deg_from_rotation(camera.rotation_from_deg(ANGLES)), ANGLES)


def test_rotations_are_proper():
    rotation = camera.rotation_from_deg(ANGLES)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(6, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize(
    ("angles", "moves"),
    [([0, 30, 0], (1, 0)), ([30, 0, 0], (0, 1)), ([0, 0, 0], (0, 0))],
)
def test_nose_moves_as_the_convention_says(angles, moves):
    """Positive yaw: to the viewer's right; positive pitch: down (v grows)."""
    nose = torch.tensor([[[0.0, 0.0, 1.0]]])
    inside = camera.to_camera(
        nose, camera.rotation_from_deg(torch.tensor([angles], dtype=torch.float32)), torch.tensor([[0.0, 0, 10]])
    )
    u, v = (camera.project(inside, torch.tensor([100.0]), 64)[0, 0] - 32).tolist()
    assert (round(math.copysign(1, u)) if abs(u) > 1e-4 else 0, round(math.copysign(1, v)) if abs(v) > 1e-4 else 0) == moves


def test_positive_roll_turns_counter_clockwise_for_the_viewer():
    right = torch.tensor([[[1.0, 0.0, 0.0]]])
    inside = camera.to_camera(right, camera.rotation_from_deg(torch.tensor([[0.0, 0, 30]])), torch.tensor([[0.0, 0, 10]]))
    u, v = camera.project(inside, torch.tensor([100.0]), 64)[0, 0].tolist()
    assert u > 32 and v < 32


def test_up_is_up_and_nearer_is_smaller_depth():
    points = torch.tensor([[[0.0, 1, 0], [0, 0, 1]]])
    placed = camera.project_with_depth(
        camera.to_camera(points, torch.eye(3)[None], torch.tensor([[0.0, 0, 10]])), torch.tensor([100.0]), 64
    )
    assert placed[0, 0, 1] < 32 and placed[0, 1, 2] == 9


def test_axis_angle_agrees_with_the_matrix_exponential_even_at_zero():
    vectors = torch.tensor([[0.0, 0, 0], [1e-5, 0, 0], [1e-3, -2e-3, 0], [0.4, -1.1, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(camera.rotation_from_axis_angle(vectors), torch.linalg.matrix_exp(camera.skew(vectors)))


def test_projection_jacobian():
    points = torch.tensor([[[0.3, -0.4, 8.0], [2.0, 1.0, 12.0]]], dtype=torch.float64)
    focal = torch.tensor([300.0], dtype=torch.float64)
    numeric = torch.autograd.functional.jacobian(lambda p: camera.project(p, focal, 100.0), points)
    for i in range(2):
        torch.testing.assert_close(camera.projection_jacobian(points, focal)[0, i], numeric[0, i, :, 0, i])


def test_points_behind_the_camera_stay_finite():
    placed = camera.project_with_depth(torch.tensor([[[1.0, 1, 0], [1, 1, -5]]]), torch.tensor([100.0]), 64)
    assert torch.isfinite(placed).all() and (placed[..., 2] <= 0).all()
