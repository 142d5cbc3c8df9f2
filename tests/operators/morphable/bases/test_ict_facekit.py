"""ICT-FaceKit: from its folder of .obj files and from arrays, the same base."""

from dataclasses import replace

import numpy as np
import pytest

from operators.morphable.bases import load_basis
from operators.morphable.bases.convert import convert
from operators.morphable.bases.ict_facekit import EXPRESSION_STD, FACE_VERTICES, load_ict_facekit
from operators.morphable.basis import REGIONS, BasisError
from tests.operators.morphable.bases import stand_ins

MODES = (3, 3, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("kit") / "FaceXModel"
    return path, stand_ins.ict_folder(path)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("kit") / "ict_facekit.npz"
    stand_ins.ict_npz(path)
    return path


@pytest.fixture(scope="module")
def basis(folder):
    return convert("ict_facekit", [folder[0].parent], MODES)[0]


def test_shapes_are_differences_from_the_neutral_mesh(folder, basis):
    shapes = folder[1]
    assert basis.mean.shape == (FACE_VERTICES, 3) and basis.unit == "cm" and basis.texture_px == 0
    assert np.abs(basis.mean - stand_ins.ict_kit().vertices[:FACE_VERTICES]).max() < 1e-5
    assert np.abs(basis.identity[2] - shapes["identity002"][:FACE_VERTICES]).max() < 5e-6
    order = ("browDown_L", "jawOpen", "cheekRaiser_L")
    for got, name in zip(basis.expression, order, strict=True):
        assert np.abs(got - EXPRESSION_STD * shapes[name][:FACE_VERTICES]).max() < 5e-6, "the table's order, then by name"
    assert basis.native.to_official("expression", np.ones(3, np.float32)) == pytest.approx([EXPRESSION_STD] * 3)


def test_arrays_give_the_same_base(basis, npz):
    other = load_basis(npz)
    for part in ("mean", "identity", "expression"):
        assert np.abs(getattr(other, part) - getattr(basis, part)).max() < 1e-3, part
    assert len(other.triangles) == len(basis.triangles) and np.array_equal(other.landmarks68, basis.landmarks68)
    assert len(load_ict_facekit(npz, identity=1).identity) == 1


def test_the_mouth_is_closed_and_the_rim_is_one_loop(basis):
    edges = np.concatenate([basis.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    directed = set(map(tuple, edges.tolist()))
    rim = {e for e in directed if e[::-1] not in directed}
    follower = dict(rim)
    start = at = next(iter(follower))
    for _ in range(len(rim)):
        at = follower.pop(at)
    assert at == start and not follower and len(directed) == len(edges)


def test_uv_belongs_to_the_vertices(basis):
    corners = basis.mean[basis.triangles][:, :, :2]
    uv = basis.uv[basis.uv_triangles]
    expected = (corners + 16) / 32 * [1, -1] + [0, 1]
    strip = len(basis.triangles) - 200
    assert np.abs(uv - expected)[:strip].max() < 1e-5, "v runs down"


def test_mesh_points_and_regions(basis):
    truth = stand_ins.ict_kit(), stand_ins.sheet(FACE_VERTICES).mesh
    distance = np.linalg.norm(basis.anchors468.at(basis.mean) - truth[1], axis=1)
    assert distance.mean() < 0.1 and basis.landmarks468.shape == (468,), "centimetres"
    assert (basis.regions[6706:] == REGIONS.index("head")).all()


def test_bad_folders_are_named(folder, tmp_path):
    with pytest.raises(BasisError, match=r"generic_neutral_mesh\.obj is missing.*explain ict_facekit"):
        convert("ict_facekit", [tmp_path], MODES)
    with pytest.raises(BasisError, match=r"identity003\.obj is missing: the folder FaceXModel has 100"):
        convert("ict_facekit", [folder[0]])
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder[0].iterdir():
        (copy / path.name).symlink_to(path)
    (copy / "identity001.obj").unlink()
    (copy / "identity001.obj").write_bytes((folder[0] / "identity001.obj").read_bytes()[:200_000])
    with pytest.raises(BasisError, match=r"identity001\.obj: has no whole list of vertices"):
        convert("ict_facekit", [copy], MODES)
    kit = replace(stand_ins.ict_kit(), quads=np.array([[0, 1, 2, 3]]), uv_quads=np.array([[0, 1, 2, 3]]))
    stand_ins.write_obj(copy / "identity001.obj", kit, kit.vertices[:9000])
    with pytest.raises(BasisError, match=r"identity001\.obj: vertices is 9000 x 3, expected 26719 x 3"):
        convert("ict_facekit", [copy], MODES)
    (copy / "generic_neutral_mesh.obj").unlink()
    whole = (folder[0] / "generic_neutral_mesh.obj").read_bytes()
    (copy / "generic_neutral_mesh.obj").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BasisError, match=r"generic_neutral_mesh\.obj: "):
        convert("ict_facekit", [copy], MODES)
