import numpy as np
import trimesh
from PIL import Image

from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.export import ObjWriter, mtl, rename_material


def test_obj_opens_with_its_texture(tmp_path):
    basis = synthetic_basis()
    vertices = basis.mean + basis.identity[0]
    (tmp_path / "a_mesh.obj").write_bytes(rename_material(ObjWriter(basis).obj(vertices), "a_mesh.mtl"))
    (tmp_path / "a_mesh.mtl").write_bytes(mtl("a_texture.png"))
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:4] = 255
    Image.fromarray(texture).save(tmp_path / "a_texture.png")
    mesh = trimesh.load(tmp_path / "a_mesh.obj", process=False)
    assert mesh.faces.shape == basis.triangles.shape
    np.testing.assert_allclose(mesh.vertices[mesh.faces], vertices[basis.triangles], atol=1e-4)
    assert mesh.visual.material.image.size == (8, 8)
    top, bottom = mesh.vertices[:, 1].argmax(), mesh.vertices[:, 1].argmin()
    assert mesh.visual.uv[top, 1] > mesh.visual.uv[bottom, 1]


def test_same_vertices_same_bytes():
    basis = synthetic_basis()
    assert ObjWriter(basis).obj(basis.mean) == ObjWriter(basis).obj(basis.mean.copy())
    assert ObjWriter(basis).obj(basis.mean).startswith(b"mtllib mesh.mtl\n")
