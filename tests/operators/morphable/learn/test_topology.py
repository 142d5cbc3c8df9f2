"""A mesh file becomes a symmetric topology; bad ones are refused with a reason."""

import numpy as np
import pytest

from operators.morphable.learn.topology import mirror_partners, read_topology
from tests.operators.morphable.meshes import grid_mesh, grid_uv


def write_obj(path, points, triangles, uv, uv_triangles=None):
    lines = [f"v {x} {y} {z}" for x, y, z in points] + [f"vt {u} {1 - v}" for u, v in uv]
    for corner, uv_corner in zip(triangles, triangles if uv_triangles is None else uv_triangles, strict=True):
        lines.append("f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(corner, uv_corner, strict=True)))
    path.write_text("# a comment\n\n" + "\n".join(lines) + "\n")
    return path


def test_round_trip(tmp_path):
    points, triangles = grid_mesh(5)
    topology = read_topology(write_obj(tmp_path / "mesh.obj", points, triangles, grid_uv(points)))
    assert np.array_equal(topology.triangles, triangles) and np.allclose(topology.points, points)
    assert np.allclose(topology.uv, grid_uv(points), atol=1e-6), "v runs down in memory, up in the file"
    assert np.allclose(topology.uv[topology.mirror], topology.uv * [-1, 1] + [1, 0], atol=1e-6)


def test_two_uv_points_on_a_vertex_are_refused(tmp_path):
    points, triangles = grid_mesh(3)
    other = triangles.copy()
    other[0, 0] = 8
    with pytest.raises(ValueError, match="one UV point per vertex"):
        read_topology(write_obj(tmp_path / "mesh.obj", points, triangles, grid_uv(points), other))


def test_an_asymmetric_mesh_is_refused():
    with pytest.raises(ValueError, match="no mirror partner"):
        mirror_partners(np.array([[-1.0, 0, 0], [0.5, 0, 0], [0, 1, 0]]))
