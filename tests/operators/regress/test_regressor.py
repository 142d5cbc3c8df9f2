from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.checkpoints.errors import CheckpointError
from operators.faces.geometry import invert_similarity, transform_points
from operators.morphable import camera
from operators.morphable.bases import load_basis
from operators.morphable.basis import BasisError
from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.fitter import MorphableFitter, MorphableFitterConfig
from operators.morphable.landmark_cost import FaceState
from operators.morphable.light import sh_basis, to_viewer
from operators.morphable.model import MorphableModel
from operators.morphable.render import FaceRenderer, FaceRendererConfig
from operators.regress.alignment import deep3d_alignment
from operators.regress.deep3d import FOCAL_PX, split
from operators.regress.estimate import Estimator
from operators.regress.regressor import FaceRegressor, FaceRegressorConfig
from operators.types import LOW_CONFIDENCE, OK
from tests.operators.regress.faces import CROP, ToldApart, centred, photos, save_base, vectors

N = 5


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base") / "made_up.npz")


@pytest.fixture(scope="module")
def told(base):
    return centred(base, vectors(N))


@pytest.fixture(scope="module")
def batch(base, told):
    return photos(base, told)


def regressor(base, outputs, by_pixels=0.0, **options):
    config = FaceRegressorConfig(basis=str(base), **options)
    return FaceRegressor(config, network=ToldApart(outputs, by_pixels))


@pytest.fixture(scope="module")
def out(base, told, batch):
    return regressor(base, told)(batch.copy()).faces


def official_pixels(base, batch, told, j):
    """All vertices in our crop, as Deep3D's own camera sees them in its own picture."""
    parts = split(told[j : j + 1])
    vertices = MorphableModel(load_basis(base)).vertices(torch.cat((parts.identity, parts.expression), 1))
    inside = camera.to_camera(vertices, parts.rotation, parts.translation)
    aligned = camera.project(inside, torch.tensor([FOCAL_PX]), 224)[0].double().numpy()
    there = deep3d_alignment(batch.frame(j), batch.faces["landmarks68_px"][j]).from_photo
    photo = transform_points(invert_similarity(there), aligned)
    return transform_points(batch.faces["crop_from_image"][j].astype(float), photo)


def ours(base, out):
    """The same by the columns that the operator wrote."""
    model = MorphableModel(load_basis(base))
    tensors = {name: torch.as_tensor(out[name]) for name in ("identity", "expression", "rotation_deg", "translation", "focal_px")}
    vertices = model.vertices(torch.cat((tensors["identity"], tensors["expression"]), 1))
    rotation = camera.rotation_from_deg(tensors["rotation_deg"])
    inside = camera.to_camera(vertices, rotation, tensors["translation"])
    return model, vertices, rotation, camera.project(inside, tensors["focal_px"], CROP).numpy()


def test_coefficients_are_the_networks(out, told):
    parts = split(told)
    assert (out["face_status"] == OK).all()
    for name, values in (("identity", parts.identity), ("expression", parts.expression), ("albedo", parts.texture)):
        assert np.allclose(out[name], values.numpy(), atol=1e-6), name


def test_vertices_fall_where_deep3ds_camera_puts_them(base, batch, told, out):
    projected = ours(base, out)[3]
    for j in range(N):
        off = np.linalg.norm(projected[j] - official_pixels(base, batch, told, j), axis=1)
        assert off.max() < 0.35 and np.sqrt((off**2).mean()) < 0.12, j


def test_landmarks_are_met_by_the_face_they_came_from(out):
    assert (out["fit_rmse_px"] < 0.5).all() and (out["hidden_fraction"] == 0).all()
    assert np.isnan(out["lower_face_std"]).all()


def test_light_shades_each_vertex_as_deep3ds_does(base, told, out):
    model, vertices, rotation, _ = ours(base, out)
    parts, normals = split(told), model.normals(vertices)
    official = sh_basis(to_viewer(normals, parts.rotation)) @ parts.irradiance
    found = sh_basis(to_viewer(normals, rotation)) @ torch.as_tensor(out["light"])
    assert torch.allclose(found, official, atol=2e-4)


def test_same_face_same_bytes_in_any_company(base, told, batch):
    network = regressor(base, told, by_pixels=0.05)
    whole = network(batch.copy()).faces
    parts = [network(batch.take(rows)).faces for rows in ([0], [1, 2, 3], [4])]
    small = regressor(base, told, by_pixels=0.05, batch_size=2)(batch.copy()).faces
    for name in FaceRegressor.info.writes:
        assert np.array_equal(np.concatenate([part[name] for part in parts]), whole[name], equal_nan=True), name
        assert np.array_equal(small[name], whole[name], equal_nan=True), name


def test_faces_that_cannot_be_aligned_are_marked_and_touch_no_other(base, told, batch, out):
    spoiled = batch.copy()
    marks = batch.faces["landmarks68_px"].copy()
    marks[1], marks[3] = np.nan, 50.0
    spoiled.put("landmarks68_px", marks)
    found = regressor(base, told)(spoiled).faces
    assert found["face_status"].tolist() == [OK, LOW_CONFIDENCE, OK, LOW_CONFIDENCE, OK]
    assert "too small or collapsed" in found["face_message"][1]
    assert np.isnan(found["identity"][[1, 3]]).all()
    for name in FaceRegressor.info.writes[:8]:
        assert np.array_equal(found[name][[0, 2, 4]], out[name][[0, 2, 4]]), name


def test_a_network_without_numbers_is_a_status(base, told, batch):
    broken = told.clone()
    broken[2] = torch.nan
    found = regressor(base, broken)(batch.copy()).faces
    assert found["face_status"].tolist() == [OK, OK, LOW_CONFIDENCE, OK, OK]
    assert "no usable face" in found["face_message"][2]


def test_renderer_draws_the_face(base, batch, told):
    fitted = regressor(base, told)(batch.copy())
    for name in FaceRenderer.info.reads:  # what an earlier stage may have left out
        assert name in fitted.faces or name in fitted.rows or name == "occluder", name
    drawn = FaceRenderer(FaceRendererConfig(basis=str(base), texture_px=32, mesh=False))(fitted).faces
    share = drawn["render_mask"].mean((1, 2))
    assert (share > 0.05).all() and (share < 0.9).all()


def test_another_basis_is_refused_with_the_one_to_use(tmp_path, told):
    with pytest.raises(BasisError, match=r"open_face.*use bfm2009_front_face"):
        FaceRegressor(FaceRegressorConfig(basis="open_face"), network=ToldApart(told))
    few = save_base(tmp_path / "few.npz", counts=(4, 4, 4))
    with pytest.raises(BasisError, match=r"has 4 identity modes.*--modes 80 64 80"):
        regressor(few, told)
    other = save_base(tmp_path / "full.npz", origin=(0, 0.1, 0))
    with pytest.raises(BasisError, match="another cut"):
        regressor(other, told)


def test_no_checkpoint_is_one_clear_error(base):
    with pytest.raises(CheckpointError, match=r"epoch_20\.pth"):
        FaceRegressor(FaceRegressorConfig(basis=str(base)))


def estimator(base, outputs):
    model = MorphableModel(load_basis(base))
    return model, Estimator("deep3d", "", model, network=ToldApart(outputs))


def test_focal_length_of_the_fit_is_kept(base, told, batch):
    _, found = estimator(base, told)
    focal = torch.full((N,), 4.0 * CROP)
    told_own, fixed = found(batch, np.arange(N)), found(batch, np.arange(N), focal)
    assert torch.equal(fixed.focal_px, focal) and not torch.equal(told_own.focal_px, focal)
    assert (fixed.residual_px < 0.2).all() and (told_own.residual_px < 0.1).all()


def test_a_fit_that_starts_at_its_own_end_is_soon_done(base, told, batch):
    model, found = estimator(base, told)
    index, focal = np.arange(N), torch.full((N,), 4.5 * CROP)
    start = found(batch, index, focal)
    points = model.points("468")
    target = camera.project(camera.to_camera(points.at(start.coefficients), start.rotation, start.translation), focal, CROP)
    settings, weights = FitSettings(noise_px=0.2, max_steps=40), torch.ones(N, 468)
    plain = fit_landmarks(points, target, weights, focal, CROP, settings)
    best = FaceState(plain.coefficients, plain.rotation, plain.translation, focal)
    led = fit_landmarks(points, target, weights, focal, CROP, settings, start=best)
    assert (led.steps < plain.steps).all() and (led.steps <= 2).all()
    assert (led.cost <= plain.cost * 1.0001).all()


def test_a_start_that_is_worse_than_the_mean_face_or_unknown_is_not_taken(base, told, batch):
    model, found = estimator(base, told)
    index, focal = np.arange(N), torch.full((N,), 4.5 * CROP)
    start = found(batch, index, focal)
    points = model.points("468")
    target = camera.project(camera.to_camera(points.mean.expand(N, -1, -1), start.rotation, start.translation), focal, CROP)
    coefficients = start.coefficients.clone()
    coefficients[0], coefficients[1] = torch.nan, 30.0
    state = FaceState(coefficients, start.rotation, start.translation, focal)
    settings, weights = FitSettings(max_steps=1), torch.ones(N, 468)
    plain, led = (fit_landmarks(points, target, weights, focal, CROP, settings, start=at) for at in (None, state))
    assert torch.equal(plain.coefficients[:2], led.coefficients[:2])


def test_photos_of_one_person_start_with_one_identity(base, told, batch):
    model, found = estimator(base, told)
    index, focal = np.arange(N), torch.full((N,), 4.5 * CROP)
    start = found(batch, index, focal)
    points, person = model.points("468"), torch.tensor([0, 0, 1, 2, 3])
    target = camera.project(camera.to_camera(points.at(start.coefficients), start.rotation, start.translation), focal, CROP)
    state = FaceState(start.coefficients, start.rotation, start.translation, focal)
    fit = fit_landmarks(points, target, torch.ones(N, 468), focal, CROP, FitSettings(max_steps=3), None, person, state)
    assert torch.equal(fit.coefficients[0, :80], fit.coefficients[1, :80])
    assert not torch.equal(fit.coefficients[0, 80:], fit.coefficients[1, 80:])


def test_the_fitter_begins_where_its_config_says(base, told, batch, monkeypatch):
    config = MorphableFitterConfig(basis=str(base), appearance=False, max_steps=1, noise=0.002)
    plain = MorphableFitter(config)(batch.copy()).faces
    opened = []

    def open_network(name, checkpoint, assets=None):
        opened.append((name, checkpoint))
        return ToldApart(told)

    monkeypatch.setattr("operators.regress.estimate.open_network", open_network)
    led = MorphableFitter(replace(config, start="deep3d", checkpoint="epoch_20.pth"))(batch.copy()).faces
    assert opened == [("deep3d", "epoch_20.pth")]
    assert led["fit_rmse_px"].mean() < plain["fit_rmse_px"].mean()
    assert (
        np.abs(led["identity"] - split(told).identity.numpy()).mean()
        < np.abs(plain["identity"] - split(told).identity.numpy()).mean()
    )
    assert config.checkpoints == {} and replace(config, start="deep3d").checkpoints == {"checkpoint": "deep3d"}


def test_what_is_hidden_stays_as_the_regressor_says(base, told, batch, monkeypatch):
    monkeypatch.setattr("operators.regress.estimate.open_network", lambda *_: ToldApart(told))
    covered = batch.copy()
    low = np.arange(CROP)[:, None] > 0.55 * CROP
    covered.put("occluder", np.repeat((low & np.ones((CROP, CROP), bool))[None], N, 0))
    config = MorphableFitterConfig(basis=str(base), start="deep3d", checkpoint="epoch_20.pth", points="68")
    truth = split(told).identity.numpy()
    free, led = (MorphableFitter(replace(config, start_prior=on))(covered.copy()).faces for on in (False, True))
    off = [np.abs(found["identity"] - truth).mean() for found in (free, led)]
    assert off[1] < 0.3 * off[0]
    alone = MorphableFitter(replace(config, start_prior=True))(covered.take([2])).faces
    for name in ("identity", "expression", "translation", "albedo", "light"):
        assert np.array_equal(alone[name], led[name][2:3]), name


def test_parts_of_one_size_give_the_same_faces(base, told, batch):
    """As on a GPU: the last part is filled up with copies."""
    _, found = estimator(base, told)
    alone = found(batch, np.arange(N))
    found._regressed = lambda pictures: torch_parts(found, pictures)
    together = found(batch, np.arange(N))
    assert torch.equal(alone.coefficients, together.coefficients) and torch.allclose(alone.rotation, together.rotation, atol=1e-5)


def torch_parts(found, pictures):
    found.device = torch.device("meta")  # anything but a CPU
    try:
        return Estimator._regressed(found, pictures)
    finally:
        found.device = torch.device("cpu")
