"""Refinement keeps the coarse points, is linear, reproduces flat and smooth surfaces, and keeps symmetry."""

import numpy as np
import pytest

from operators.morphable.subdivide import Refinement, boundary_edges, midpoint_split
from tests.operators.morphable.meshes import grid_mesh


def test_midpoint_split_counts_and_winding():
    triangles, edges = midpoint_split(np.array([[0, 1, 2], [2, 1, 3]]), 4)
    assert triangles.shape == (8, 3) and edges.shape == (5, 2)
    points = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    points = np.vstack([points, points[edges].mean(1)])
    a, b, c = (points[triangles[:, i]] for i in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert np.allclose(area, 0.25), "every child is wound like its parent and has a quarter of its area"


def test_boundary_is_the_rim_of_a_grid():
    _, triangles = grid_mesh(5)
    assert len(boundary_edges(triangles)) == 16


def test_interpolates_and_is_linear():
    points, triangles = grid_mesh(7, bump=0.3)
    refined = Refinement(points, triangles, 2)
    assert np.array_equal(refined.smooth[: len(points)], np.eye(len(points)))
    assert np.allclose(refined.smooth.sum(1), 1), "a constant stays that constant"
    assert refined.triangles.max() + 1 == len(refined.smooth) == len(refined.linear)


def test_a_plane_stays_a_plane_and_a_bump_becomes_smoother():
    points, triangles = grid_mesh(9)
    refined = Refinement(points, triangles, 2)
    fine = refined.smooth @ points
    flat = refined.linear @ points
    assert np.allclose(fine[:, 2], 0, atol=1e-9)
    interior = np.abs(flat[:, :2]).max(1) < 0.7
    height = np.cos(2 * points[:, 0]) * np.cos(2 * points[:, 1])
    truth = np.cos(2 * flat[:, 0]) * np.cos(2 * flat[:, 1])
    smooth_error = np.abs(refined.smooth @ height - truth)[interior].max()
    linear_error = np.abs(refined.linear @ height - truth)[interior].max()
    assert smooth_error < 0.35 * linear_error


def test_zero_levels_is_the_mesh_itself():
    points, triangles = grid_mesh(4)
    refined = Refinement(points, triangles, 0)
    assert np.array_equal(refined.smooth, np.eye(len(points))) and np.array_equal(refined.triangles, triangles)


def test_mirror_of_the_fine_mesh():
    points, triangles = grid_mesh(5)
    refined = Refinement(points, triangles, 2)
    flipped = points * [-1, 1, 1]
    coarse = np.linalg.norm(flipped[:, None] - points[None], axis=-1).argmin(1)
    mirror = refined.mirror(coarse)
    fine = refined.linear @ points
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    assert np.allclose(fine[mirror], fine * [-1, 1, 1])


def test_mirror_refuses_asymmetric_triangles():
    points = np.array([[-1.0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0]])
    refined = Refinement(points, np.array([[0, 1, 2], [0, 2, 3]]), 1)
    with pytest.raises(ValueError, match="not symmetric"):
        refined.mirror(np.array([1, 0, 3, 2]))
