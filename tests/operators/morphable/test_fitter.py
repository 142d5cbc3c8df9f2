import numpy as np
import pytest
import torch

from operators.morphable.fitter import MorphableFitter, MorphableFitterConfig
from operators.types import LOW_CONFIDENCE, OK
from tests.operators.morphable.scenes import make_scene

CONFIG = MorphableFitterConfig(basis="synthetic", noise=0.004, hidden_expression_prior=1.0, pixel_noise=0.05)


@pytest.fixture(scope="module")
def scene():
    return make_scene()


@pytest.fixture(scope="module")
def fitter():
    return MorphableFitter(CONFIG)


def test_recovers_pose_light_and_colour(scene, fitter):
    batch, truth = scene
    out = fitter(batch.copy()).faces
    assert (out["face_status"] == OK).all()
    assert np.abs(out["rotation_deg"] - truth["angles"].numpy()).max() < 3
    assert np.abs(out["translation"] - truth["translation"].numpy())[:, :2].max() < 1
    assert out["fit_rmse_px"].max() < 0.6
    assert np.abs(out["light"] - truth["light"].numpy()).mean() < 0.05
    assert np.abs(out["albedo"] - truth["albedo"].numpy()).mean() < 0.6
    assert (np.abs(out["hidden_fraction"] - 0.45) < 0.2).all()
    assert set(fitter.info.writes) <= set(out)


def test_68_points_do_too(scene):
    batch, truth = scene
    out = MorphableFitter(
        MorphableFitterConfig(
            basis="synthetic",
            points="68",
            noise=0.004,
            appearance=False,
            hidden_weight=0.01,
            covered_weight=1.0,
            pitch_prior_deg=(0.0, 30.0),
        )
    )(batch.copy()).faces
    assert (
        np.abs(out["rotation_deg"] - truth["angles"].numpy()).max() < 7
    )  # the lower half is hidden: pitch rests on eyes, brows and its prior
    assert "albedo" not in out


def test_same_face_same_bytes_in_any_company(scene, fitter):
    batch, _ = scene
    whole = fitter(batch.copy()).faces
    alone = fitter(batch.take([2])).faces
    for name in fitter.info.writes:
        assert np.array_equal(whole[name][2:3], alone[name]), name


def test_hopeless_landmarks_are_marked_and_touch_no_other(scene, fitter):
    batch, _ = scene
    clean = fitter(batch.copy()).faces
    spoiled = batch.copy()
    landmarks = batch.faces["landmarks468_px"].copy()
    landmarks[1] = np.nan
    spoiled.put("landmarks468_px", landmarks)
    out = fitter(spoiled).faces
    assert out["face_status"].tolist() == [OK, LOW_CONFIDENCE, OK, OK]
    assert "too few usable landmarks" in out["face_message"][1]
    for name in fitter.info.writes:
        assert np.array_equal(out[name][[0, 2, 3]], clean[name][[0, 2, 3]]), name


def test_faces_that_are_not_live_are_left_alone(scene, fitter):
    batch, _ = scene
    batch = batch.copy()
    batch.mark_face(0, LOW_CONFIDENCE, "mesh")
    out = fitter(batch).faces
    assert np.isnan(out["identity"][0]).all() and np.isfinite(out["identity"][1:]).all()
    for j in range(4):
        batch.mark_face(j, LOW_CONFIDENCE, "mesh")
    fitter(batch)


def test_no_visible_skin_still_gives_numbers(scene, fitter):
    batch = scene[0].copy()
    batch.put("visible_face", np.zeros_like(batch.faces["visible_face"]))
    out = fitter(batch).faces
    assert np.isfinite(out["light"]).all() and np.isfinite(out["albedo"]).all()


def test_input_is_not_written_to(scene, fitter):
    batch, _ = scene
    before = {name: values.copy() for name, values in batch.faces.items()}
    fitter(batch.copy())
    for name, values in before.items():
        assert np.array_equal(batch.faces[name], values, equal_nan=values.dtype.kind == "f"), name
    assert torch.equal(torch.tensor(batch.face_row), torch.arange(4))
