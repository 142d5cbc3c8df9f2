"""The table that derives 68 landmarks from the mesh."""

import numpy as np

from operators.faces.ibug68 import VERTICES, ibug68_from_mesh


def test_table_names_68_pairs_of_mesh_vertices():
    table = np.array(VERTICES)
    assert table.shape == (68, 2) and table.min() >= 0 and table.max() < 468
    assert len({tuple(sorted(pair)) for pair in VERTICES}) == 68


def test_each_point_is_the_mean_of_its_vertices():
    mesh = np.random.default_rng(1).normal(size=(3, 468, 3)).astype(np.float32)
    points = ibug68_from_mesh(mesh)
    assert points.shape == (3, 68, 2)
    assert np.allclose(points[:, 27], (mesh[:, 168, :2] + mesh[:, 6, :2]) / 2)
    assert np.array_equal(points[:, 8], mesh[:, 152, :2])
