import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.export import Welded
from operators.morphable.ply import PlyWriter, rename_texture, texture_at
from tests.operators.morphable.test_export import make_face, with_seam


@pytest.mark.parametrize("basis", [synthetic_basis(), with_seam(synthetic_basis())], ids=["plain", "seam"])
def test_ply_opens_with_places_normals_and_texture(basis, tmp_path):
    face, mesh = make_face(basis), Welded.of(basis)
    (tmp_path / "a.ply").write_bytes(PlyWriter(basis)(face))
    Image.fromarray(face.texture).save(tmp_path / "mesh.png")
    opened = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_array_equal(opened.faces, mesh.triangles)
    np.testing.assert_array_equal(opened.vertices.astype(np.float32), face.vertices[mesh.vertex])
    np.testing.assert_allclose(opened.vertex_normals, face.normals[mesh.vertex], atol=1e-6)
    np.testing.assert_allclose(opened.visual.uv, basis.uv[mesh.uv] * [1, -1] + [0, 1], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(opened.visual.material.image), face.texture)


@pytest.mark.parametrize("basis", [synthetic_basis(), with_seam(synthetic_basis())], ids=["plain", "seam"])
def test_without_the_texture_the_vertices_have_its_colours(basis):
    mesh = Welded.of(basis)
    data = PlyWriter(basis)(make_face(basis)).replace(b"comment TextureFile mesh.png", b"comment")
    data = data.replace(b"property float s", b"property float a").replace(b"property float t", b"property float b")
    opened = trimesh.load(io.BytesIO(data), file_type="ply", process=False)
    expected = (np.clip(basis.uv[mesh.uv] * 16 - 0.5, 0, 15)) / 15 * 255
    assert np.abs(opened.visual.vertex_colors[:, :2] - expected).max() < 1.1


def test_texture_file_is_named():
    basis = synthetic_basis()
    data = PlyWriter(basis)(make_face(basis))
    named = rename_texture(data, "face0_mesh.png")
    assert b"comment TextureFile face0_mesh.png\n" in named[:100]
    assert named.partition(b"end_header\n")[2] == data.partition(b"end_header\n")[2]


def test_texture_at_is_bilinear_and_stops_at_the_rim():
    texture = np.arange(0, 120, 10, dtype=np.uint8).reshape(2, 2, 3)
    uv = np.array([[0.25, 0.25], [0.5, 0.25], [0.25, 0.5], [0, 0], [1, 1]])
    assert texture_at(texture, uv)[:, 0].tolist() == [0, 15, 30, 0, 90]
