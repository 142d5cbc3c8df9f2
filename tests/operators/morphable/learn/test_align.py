"""Alignment undoes similarity transforms, never mirrors, and its mean is symmetric."""

import numpy as np
from scipy.spatial.transform import Rotation

from operators.morphable.learn.align import align_faces, mirrored, similarity
from tests.operators.morphable.meshes import grid_mesh


def test_similarity_is_undone():
    rng = np.random.default_rng(0)
    target = rng.standard_normal((30, 3))
    moved = np.stack([2.5 * target @ Rotation.random(random_state=i).as_matrix() + rng.standard_normal(3) for i in range(4)])
    assert np.allclose(similarity(moved, target), target[None], atol=1e-9)


def test_a_reflection_is_not_used():
    target = np.random.default_rng(1).standard_normal((30, 3))
    assert np.abs(similarity(target * [-1, 1, 1], target) - target).max() > 0.1


def test_aligned_mean_is_symmetric_in_the_long_run():
    points, _ = grid_mesh(5, bump=0.4)
    mirror = np.linalg.norm((points * [-1, 1, 1])[:, None] - points[None], axis=-1).argmin(1)
    rng = np.random.default_rng(2)
    faces = points + 0.05 * rng.standard_normal((40, *points.shape))
    faces = np.concatenate([faces, mirrored(faces, mirror)])
    turned = np.stack([f @ Rotation.from_euler("xyz", rng.normal(0, 0.2, 3)).as_matrix() * rng.uniform(1, 3) for f in faces])
    mean = align_faces(turned, mirror, points).mean(0)
    assert np.abs(mean - mirrored(mean, mirror)).max() < 0.02
    assert np.abs(mean - points).max() < 0.06
