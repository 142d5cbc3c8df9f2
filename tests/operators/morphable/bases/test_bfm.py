"""Basel Face Model: every way in gives the same faces as the official arithmetic, and bad files are named."""

import shutil

import numpy as np
import pytest
import torch

from operators.morphable import camera
from operators.morphable.bases.convert import convert
from operators.morphable.bases.cylinder import turned_triangles
from operators.morphable.bases.stored import load_stored, save_basis
from operators.morphable.basis import BasisError
from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.model import MorphableModel
from tests.operators.morphable.bases import stand_ins
from tests.operators.morphable.bases.stand_ins import FRONT, FULL


@pytest.fixture(scope="module")
def front(bfm):
    return convert("bfm2009_front", [bfm[0]])[0]


def official(truth, keep, exp_keep):
    """Deep3D's shape and texture for one vector of coefficients, vertices re-centred by their mean."""
    rng = np.random.default_rng(0)
    vector = rng.normal(size=224)
    mean = truth["mean"][keep]
    shape = mean - mean.mean(0)
    for part, index, first in (("identity", keep, 0), ("expression", exp_keep, 80)):
        modes = truth[part][:, index]
        shape = shape + np.einsum("k,kvc->vc", vector[first : first + len(modes)], modes)
    texture = 140 / 255 + np.einsum("k,kvc->vc", vector[144:148], truth["albedo"][:, keep])
    return vector, shape, texture


def test_front_cut_is_the_official_arithmetic(bfm, front):
    truth = bfm[1]
    assert front.mean.shape == (FRONT, 3) and front.unit == "dm" and front.texture_px == 0
    vector, shape, texture = official(truth, truth["trim"][truth["front"]], truth["front"])
    ours = [front.native.from_official(p, vector[a : a + 4].astype(np.float32)) for p, a in
            (("identity", 0), ("expression", 80), ("albedo", 144))]  # fmt: skip
    got = front.mean + np.einsum("k,kvc->vc", ours[0], front.identity) + np.einsum("k,kvc->vc", ours[1], front.expression)
    assert np.abs(got - shape).max() < 2e-6 * np.ptp(shape)
    assert np.abs(front.albedo_mean + np.einsum("k,kvc->vc", ours[2], front.albedo) - texture).max() < 1e-5


def test_full_cut_has_every_vertex_of_the_expression_basis(bfm):
    folder, truth = bfm
    basis, used = convert("bfm2009_full", [folder])
    assert basis.mean.shape == (FULL, 3) and len(used) == 6
    _, shape, _ = official(truth, truth["trim"], np.arange(FULL))
    vector = np.random.default_rng(0).normal(size=224)
    got = (
        basis.mean + np.einsum("k,kvc->vc", vector[:4], basis.identity) + np.einsum("k,kvc->vc", vector[80:84], basis.expression)
    )
    assert np.abs(got - shape).max() < 2e-6 * np.ptp(shape)
    a, b, c = (basis.mean[basis.triangles[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).mean() > 0.95, "the file's triangles turn the other way"
    assert basis.native.origin == pytest.approx(truth["mean"][truth["trim"]].mean(0), abs=1e-4)


@pytest.mark.parametrize("name", ["BFM_model_front.mat", "BFM09_model_info.mat"])
def test_converted_files_give_the_same_base(bfm, front, tmp_path, name):
    stand_ins.front_mat(tmp_path / name, bfm[1])
    basis, used = convert("bfm2009_front", [tmp_path])
    assert list(used) == [name]
    for part in ("mean", "identity", "expression", "albedo"):
        assert np.abs(getattr(basis, part) - getattr(front, part)).max() < 1e-5, part
    assert np.array_equal(basis.landmarks68, front.landmarks68)


def test_facefill_folder(bfm, tmp_path):
    truth = stand_ins.facefill_folder(tmp_path)
    for name in ("01_MorphableModel.mat", "BFM_exp_idx.mat"):
        (tmp_path / name).symlink_to(bfm[0] / name)
    basis, _ = convert("bfm2009_full", [tmp_path])
    centre = truth["mean"].mean(0)
    assert np.abs(basis.mean - (truth["mean"] - centre)).max() < 1e-5
    assert np.abs(np.concatenate((basis.identity, basis.expression)) - truth["modes"]).max() < 1e-6
    vector = np.array([2e5, 1e4, -3e4, 1.0, 0.2], np.float32)
    shape = (truth["um"] + np.einsum("k,kvc->vc", vector, truth["both"])) / 1e5
    ours = [basis.native.from_official("identity", vector[:3]), basis.native.from_official("expression", vector[3:])]
    got = basis.mean + np.einsum("k,kvc->vc", ours[0], basis.identity) + np.einsum("k,kvc->vc", ours[1], basis.expression)
    assert np.abs(got + basis.native.origin - shape).max() < 1e-4
    assert basis.native.to_official("identity", ours[0]) == pytest.approx(vector[:3])
    assert np.abs(basis.albedo - bfm[1]["albedo"][:, bfm[1]["trim"]]).max() < 1e-5, "the texture of the model beside it"
    up, down = basis.mean[:, 1].argmax(), basis.mean[:, 1].argmin()
    assert basis.uv[up, 1] < 0.2 < 0.8 < basis.uv[down, 1], "the file's own UV, v down"


def test_made_uv_has_no_turned_triangle_and_keeps_the_sides_apart(front):
    assert front.uv.min() >= 0 and front.uv.max() <= 1
    assert turned_triangles(front.uv.astype(float), front.uv_triangles).mean() < 1e-3
    left, right = front.mean[:, 0] < -0.3, front.mean[:, 0] > 0.3
    assert front.uv[left, 0].max() < front.uv[right, 0].min()


def test_mesh_points_land_where_the_face_mesh_is(bfm, front):
    truth = bfm[1]
    centre = truth["mean"][truth["trim"][truth["front"]]].mean(0)
    distance = np.linalg.norm(front.anchors468.at(front.mean) - (truth["mesh"] - centre), axis=1)
    assert distance.mean() < 0.01 and distance.max() < 0.06, "decimetres: 1 mm on average"


def test_regions_are_where_they_belong(front):
    from operators.morphable.basis import REGIONS

    middle = {name: front.mean[front.regions == k].mean(0) for k, name in enumerate(REGIONS) if (front.regions == k).any()}
    assert middle["left_eye"][0] < middle["nose"][0] < middle["right_eye"][0]
    assert middle["lips"][1] < middle["nose"][1] < middle["left_eye"][1] < middle["left_brow"][1]
    assert (front.regions == REGIONS.index("skin")).mean() > 0.3


def test_a_fit_on_its_projected_points_finds_the_vertices_again(front, tmp_path):
    basis = load_stored(save_basis(tmp_path / "bfm2009_front.npz", front))
    model = MorphableModel(basis)
    coefficients = torch.randn(3, 8, generator=torch.Generator().manual_seed(1)) * 0.7
    rotation = camera.rotation_from_deg(torch.tensor([[3.0, 20.0, -4.0], [-5.0, -30.0, 2.0], [0.0, 0.0, 0.0]]))
    points = model.points("468")
    inside = camera.to_camera(points.at(coefficients), rotation, torch.tensor([[0.0, 0.0, 12.0]] * 3))
    focal = torch.full((3,), 1000.0)
    target = camera.project(inside, focal, 256.0)
    weights = torch.ones(3, 468)
    fit = fit_landmarks(points, target, weights, focal, 256.0, FitSettings(noise_px=0.05, max_steps=50))
    assert fit.ok.all()
    error = (model.vertices(fit.coefficients) - model.vertices(coefficients)).norm(dim=-1)
    assert error.mean() < 0.005 and error.max() < 0.03, "decimetres"


def test_missing_truncated_and_foreign_files_are_named(bfm, tmp_path):
    folder, truth = bfm
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).symlink_to(path)
    (copy / "Exp_Pca.bin").unlink()
    with pytest.raises(BasisError, match=r"bfm2009_front: Exp_Pca.bin is missing.*explain bfm2009_front"):
        convert("bfm2009_front", [copy])
    with (folder / "Exp_Pca.bin").open("rb") as file:
        (copy / "Exp_Pca.bin").write_bytes(file.read(5000))
    with pytest.raises(BasisError, match=r"Exp_Pca.bin: has 5000 bytes.*truncated"):
        convert("bfm2009_front", [copy])
    (copy / "Exp_Pca.bin").unlink()
    shutil.copy(folder / "Exp_Pca.bin", copy / "Exp_Pca.bin")
    (copy / "01_MorphableModel.mat").unlink()
    with (folder / "01_MorphableModel.mat").open("rb") as file:
        (copy / "01_MorphableModel.mat").write_bytes(file.read(300_000))
    with pytest.raises(BasisError, match=r"01_MorphableModel.mat: is not a whole MATLAB file"):
        convert("bfm2009_front", [copy])
    (copy / "01_MorphableModel.mat").write_bytes((folder / "BFM_exp_idx.mat").read_bytes())
    with pytest.raises(BasisError, match=r"01_MorphableModel.mat: has no shapePC"):
        convert("bfm2009_front", [copy])
    stand_ins.front_mat(copy / "BFM_model_front.mat", {**truth, "keypoints": truth["keypoints"] + FRONT})
    with pytest.raises(BasisError, match=r"BFM_model_front.mat: keypoints should count from 1 to 35709"):
        convert("bfm2009_front", [copy])
    with pytest.raises(BasisError, match="is not there"):
        convert("bfm2009_front", [copy / "nothing"])


def test_mirrored_axes_are_refused(bfm, tmp_path):
    truth = dict(bfm[1])
    truth["mean"] = truth["mean"] * [-1, 1, 1]
    stand_ins.front_mat(tmp_path / "BFM_model_front.mat", truth)
    with pytest.raises(BasisError, match="do not look into the camera"):
        convert("bfm2009_front", [tmp_path])
