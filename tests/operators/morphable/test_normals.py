import numpy as np
import torch
from scipy.spatial import ConvexHull

from operators.morphable.normals import mesh_normals, vertex_normals
from tests.operators.morphable.meshes import grid_mesh


def test_sphere_normals_are_its_radii():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    hull = ConvexHull(points)
    triangles = hull.simplices
    flip = (np.cross(*(points[triangles[:, k]] - points[triangles[:, 0]] for k in (1, 2))) * hull.equations[:, :3]).sum(1) < 0
    triangles[flip] = triangles[flip][:, ::-1]
    normals = mesh_normals(3 * points[None], triangles)[0]
    assert (normals * points).sum(1).min() > 0.95
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)


def test_loop_and_tensor_code_agree_and_gradients_flow():
    points, triangles = grid_mesh(9, bump=0.5)
    vertices = torch.tensor(np.stack((points, points * [1, -2, 3])), dtype=torch.float32)
    corners = torch.as_tensor(triangles)
    slow = vertex_normals(vertices.clone().requires_grad_(), corners)
    torch.testing.assert_close(vertex_normals(vertices, corners), slow.detach(), atol=1e-6, rtol=0)
    assert slow.requires_grad


def test_a_vertex_of_no_triangle_has_no_normal():
    points = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5.0]]])
    assert mesh_normals(points, np.array([[0, 1, 2]])).tolist()[0] == [[0, 0, 1]] * 3 + [[0, 0, 0]]
