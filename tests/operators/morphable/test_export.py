from dataclasses import replace

import numpy as np
import pytest
import trimesh
from PIL import Image

from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.export import ExportedFace, ObjWriter, Welded, mtl, rename_material
from operators.morphable.normals import mesh_normals


def make_face(basis, px=16, seed=0):
    """A face of the basis with a smooth texture that tells places apart."""
    vertices = basis.mean + basis.identity[seed]
    y, x = np.mgrid[:px, :px] / (px - 1)
    texture = np.stack([255 * x, 255 * y, 80 + 60 * x * y], -1).round().astype(np.uint8)
    return ExportedFace(vertices, mesh_normals(vertices[None], basis.triangles)[0], texture)


def with_seam(basis):
    """The same basis, its UV layout cut along the middle: the right half's corners have UV points of their own."""
    right = basis.mean[basis.triangles, 0].mean(1) > 0
    uv = np.concatenate((basis.uv, basis.uv * 0.999))
    return replace(basis, uv=uv.astype(np.float32), uv_triangles=basis.uv_triangles + len(basis.uv) * right[:, None])


@pytest.fixture(params=["one uv per vertex", "seam"])
def basis(request):
    return synthetic_basis() if request.param != "seam" else with_seam(synthetic_basis())


def test_obj_opens_with_its_texture(tmp_path, basis):
    face = make_face(basis)
    (tmp_path / "a_mesh.obj").write_bytes(rename_material(ObjWriter(basis)(face), "a_mesh.mtl"))
    (tmp_path / "a_mesh.mtl").write_bytes(mtl("a_texture.png"))
    Image.fromarray(face.texture).save(tmp_path / "a_texture.png")
    mesh = trimesh.load(tmp_path / "a_mesh.obj", process=False)
    assert mesh.faces.shape == basis.triangles.shape
    np.testing.assert_allclose(mesh.vertices[mesh.faces], face.vertices[basis.triangles], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.image), face.texture)
    expected = basis.uv[basis.uv_triangles] * [1, -1] + [0, 1]
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], expected, atol=1e-5)


@pytest.mark.parametrize(("unit", "scale", "decimals"), [("mm", 10.0, 4), ("cm", 1.0, 5), ("m", 0.01, 7)])
def test_obj_places_are_as_fine_in_every_unit(unit, scale, decimals):
    basis = synthetic_basis()
    basis = replace(basis, unit=unit, mean=basis.mean * np.float32(scale))
    vertices = basis.mean.copy()
    vertices[0], vertices[1, 0] = (-0.0, -1e-12, 123456.5), np.nan
    text = ObjWriter(basis)(ExportedFace(vertices, vertices, np.zeros((4, 4, 3), np.uint8))).decode().splitlines()
    lines = [line for line in text if line.startswith("v ")]
    zero = f"{0:.{decimals}f}"
    assert lines[0] == f"v {zero} {zero} {123456.5:.{decimals}f}"
    assert lines[1].startswith(f"v {zero} ")
    expected = ["v " + " ".join(f"{x:.{decimals}f}" for x in row) for row in vertices[2:].astype(float)]
    assert [line.replace("-" + zero, zero) for line in expected] == lines[2:]


def test_same_face_same_bytes():
    basis = synthetic_basis()
    assert ObjWriter(basis)(make_face(basis)) == ObjWriter(basis)(make_face(basis))
    assert ObjWriter(basis)(make_face(basis)).startswith(b"mtllib mesh.mtl\n")


def test_welded_mesh_has_one_uv_per_vertex_and_the_same_corners(basis):
    mesh = Welded.of(basis)
    np.testing.assert_array_equal(mesh.vertex[mesh.triangles], basis.triangles)
    np.testing.assert_array_equal(mesh.uv[mesh.triangles], basis.uv_triangles)
    doubled = len(mesh.vertex) - len(basis.mean)
    assert doubled == (0 if len(basis.uv) == len(basis.mean) else 33)
