"""The .glb against the glTF 2.0 specification, read by hand, and opened by a second reader."""

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from PIL import Image

from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.export import Welded
from operators.morphable.glb import METRES, GlbWriter
from operators.provenance import read_provenance
from tests.operators.morphable.test_export import make_face, with_seam

_COMPONENTS = {5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}


def parse(data):
    """The JSON document and the binary chunk of a .glb, its container checked."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data)) and length % 4 == 0
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and size % 4 == 0
    document = json.loads(data[20 : 20 + size])
    binary_size, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0" and binary_size % 4 == 0 and 28 + size + binary_size == length
    return document, data[28 + size :]


def read(document, binary, index):
    """An accessor as an array, its place in the buffer checked."""
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    kind, width = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
    assert view["byteOffset"] % kind.itemsize == 0 and accessor["count"] * width * kind.itemsize == view["byteLength"]
    assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"] <= len(binary)
    return np.frombuffer(binary, kind, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)


@pytest.fixture(params=["plain", "seam", "many"])
def basis(request):
    if request.param == "many":  # more vertices than 16 bits can count
        return synthetic_basis(rows=260, columns=255, identity=1, expression=1, albedo=1)
    return synthetic_basis() if request.param == "plain" else with_seam(synthetic_basis())


def test_structure_and_content(basis):
    face, mesh = make_face(basis), Welded.of(basis)
    document, binary = parse(GlbWriter(basis)(face))
    assert document["asset"]["version"] == "2.0" and document["scenes"][document["scene"]]["nodes"] == [0]
    primitive = document["meshes"][0]["primitives"][0]
    places, normals, uv = (read(document, binary, primitive["attributes"][name]) for name in ("POSITION", "NORMAL", "TEXCOORD_0"))
    indices = read(document, binary, primitive["indices"])[:, 0]
    np.testing.assert_array_equal(indices.reshape(-1, 3), mesh.triangles)
    assert indices.max() < len(places) == len(normals) == len(uv)
    assert document["accessors"][primitive["indices"]]["componentType"] == (5123 if len(places) < 65535 else 5125)
    np.testing.assert_allclose(places, face.vertices[mesh.vertex] * METRES["cm"], rtol=1e-6)
    np.testing.assert_array_equal(uv, basis.uv[mesh.uv])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    bounds = document["accessors"][primitive["attributes"]["POSITION"]]
    assert np.float32(bounds["min"]).tolist() == places.min(0).tolist()
    assert np.float32(bounds["max"]).tolist() == places.max(0).tolist()
    used = {view["target"] for view in document["bufferViews"] if "target" in view}
    assert used == {34962, 34963}
    starts = [view["byteOffset"] for view in document["bufferViews"]]
    ends = [view["byteOffset"] + view["byteLength"] for view in document["bufferViews"]]
    assert all(end <= start for end, start in zip(sorted(ends)[:-1], sorted(starts)[1:], strict=True))
    assert set(document["materials"][0]["extensions"]) <= set(document["extensionsUsed"])
    outward = places[mesh.triangles]
    turn = np.cross(outward[:, 1] - outward[:, 0], outward[:, 2] - outward[:, 0])
    assert (turn * normals[mesh.triangles].mean(1)).sum(1).min() >= 0, "triangles turn counter-clockwise seen from outside"


def test_second_reader_sees_the_same_face():
    basis = with_seam(synthetic_basis())
    face = make_face(basis, px=64)
    opened = trimesh.load(io.BytesIO(GlbWriter(basis)(face)), file_type="glb", process=False).geometry["face"]
    corners = opened.vertices[opened.faces]
    np.testing.assert_allclose(corners, face.vertices[basis.triangles] * 0.01, atol=1e-6)
    image = np.asarray(opened.visual.material.baseColorTexture.convert("RGB"))
    assert image.shape == face.texture.shape and np.abs(image.astype(int) - face.texture).mean() < 1
    uv = opened.visual.uv * [1, -1] + [0, 1]  # trimesh turns v up
    np.testing.assert_allclose(uv[opened.faces], basis.uv[basis.uv_triangles], atol=1e-6)


def test_texture_carries_the_mark():
    basis = synthetic_basis()
    document, binary = parse(GlbWriter(basis)(make_face(basis)))
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    picture = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert Image.open(io.BytesIO(picture)).format == "JPEG" and read_provenance(picture)
    assert "AlgorithmicMedia" in document["asset"]["extras"]["DigitalSourceType"]


def test_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="'ell'"):
        GlbWriter(replace(synthetic_basis(), unit="ell"))
