import numpy as np
import pytest

from operators.metrics.geometry import rotation_error_deg, vertex_errors


def turned(seed=0, n=3):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 50, 3))
    q = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(n)])
    q *= np.sign(np.linalg.det(q))[:, None, None]
    return points, q, points @ np.swapaxes(q, 1, 2) * 2.5 + rng.normal(size=(n, 1, 3))


def test_a_similarity_is_no_vertex_error():
    points, _, moved = turned()
    errors = vertex_errors(moved, points, (0, 1))
    assert errors.rms.max() < 1e-9
    mirrored = vertex_errors(moved * [-1, 1, 1], points, (0, 1))
    assert mirrored.rms.min() > 0.01


def test_vertex_error_is_in_outer_eye_distances():
    points, _, _ = turned()
    bent = points.copy()
    bent[:, 10] += [0.0, 0.0, 5.0]
    unit = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)
    where = np.arange(50) == 10
    errors = vertex_errors(bent, points, (0, 1), where)
    assert (errors.mean * unit > 3).all() and (errors.mean * unit < 5).all()
    assert (vertex_errors(bent, points, (0, 1), ~where).rms < errors.rms).all()


def test_rotation_error_is_the_angle_between():
    angle = np.deg2rad(7.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    _, q, _ = turned()
    assert rotation_error_deg(turn @ q, q) == pytest.approx(7.0)
    assert rotation_error_deg(q, q) == pytest.approx(0.0, abs=1e-4)
