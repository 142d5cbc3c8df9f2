from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.morphable import camera
from operators.morphable.fitter import MorphableFitter, MorphableFitterConfig, together
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


def named(batch, *subjects):
    batch = batch.copy()
    batch.rows["subject"] = list(subjects)
    return batch


def test_photos_of_a_subject_share_their_identity(scene, fitter):
    batch, _ = scene
    alone = fitter(batch.copy()).faces
    out = fitter(named(batch, "ann", "", "ann", "bob")).faces
    assert np.array_equal(out["identity"][0], out["identity"][2])
    assert not np.array_equal(out["expression"][0], out["expression"][2])
    assert not np.array_equal(out["identity"][0], alone["identity"][0])
    for name in fitter.info.writes:
        assert np.array_equal(out[name][[1, 3]], alone[name][[1, 3]]), name
    apart = MorphableFitter(replace(CONFIG, shared_identity=False))(named(batch, "ann", "", "ann", "bob")).faces
    assert np.array_equal(apart["identity"], alone["identity"])


def test_photos_of_a_subject_stay_together_however_faces_are_divided(scene, fitter):
    batch = named(scene[0], "ann", "bob", "", "ann")
    small = MorphableFitter(replace(CONFIG, batch_size=1))(batch.copy()).faces
    assert np.array_equal(small["identity"], fitter(batch.copy()).faces["identity"])


def test_only_the_most_confident_face_of_a_photo_is_its_subject(scene, fitter):
    batch = named(scene[0], "ann", "ann", "", "")
    second = batch.faces["face_index"].copy()
    second[1] = 1
    batch.put("face_index", second)
    assert np.array_equal(fitter(batch).faces["identity"], fitter(scene[0].copy()).faces["identity"])


@pytest.mark.parametrize(("sizes", "most", "expected"), [([], 4, []), ([1, 1, 1], 2, [2, 1]), ([3, 1, 2], 2, [3, 1, 2])])
def test_parts(sizes, most, expected):
    person = np.repeat(np.arange(len(sizes)), sizes)
    shuffled = np.random.default_rng(0).permutation(person)
    parts = together(shuffled, most)
    assert sorted(map(len, parts)) == sorted(expected)
    assert sorted(np.concatenate([np.zeros(0, int), *parts])) == list(range(len(person)))
    for number in range(len(sizes)):
        assert sum(number in shuffled[part] for part in parts) == 1


def test_a_hidden_lower_face_is_less_certain(scene, fitter):
    batch, _ = scene
    hidden = fitter(batch.copy()).faces
    bare = batch.copy()
    bare.put("occluder", np.zeros_like(batch.faces["occluder"]))
    seen = fitter(bare).faces
    for name in ("lower_face_std", "lower_face_guess"):
        assert (hidden[name] > 2 * seen[name]).all(), name
    assert (seen["lower_face_guess"] > 0).all() and (hidden["lower_face_guess"] <= 1).all()


def test_focal_length_can_be_estimated(scene):
    batch = scene[0].copy()
    batch.put("occluder", np.zeros_like(batch.faces["occluder"]))
    config = replace(CONFIG, focal=5.5, appearance=False, noise=0.001)
    size = batch.faces["crop"].shape[1]
    fixed = MorphableFitter(config)(batch.copy()).faces
    free = MorphableFitter(replace(config, focal_log_std=0.5))(batch.copy()).faces
    assert (fixed["focal_px"] == np.float32(5.5 * size)).all()
    wrong = [np.abs(np.log(out["focal_px"] / (4.0 * size))).mean() for out in (fixed, free)]
    assert wrong[1] < 0.5 * wrong[0]
    assert (free["fit_rmse_px"] < fixed["fit_rmse_px"]).all()


def test_focal_length_from_exif_where_the_camera_wrote_it(scene):
    batch = scene[0].copy()
    batch.rows.update(
        focal_35mm=np.array([50, 0, 28, 1], np.int32), width_px=np.full(4, 3000, np.int32), height_px=np.full(4, 4000, np.int32)
    )
    config = replace(CONFIG, appearance=False, focal_from="exif")
    focal = MorphableFitter(config)(batch.copy()).faces["focal_px"]
    size = batch.faces["crop"].shape[1]
    by_mm = 5000 / 43.2666 * 0.5  # the crop shows half the photo's resolution
    assert focal == pytest.approx([50 * by_mm, 4 * size, 28 * by_mm, 4 * size], rel=1e-4)
    guessed = MorphableFitter(replace(config, focal_from="guess"))(batch.copy()).faces["focal_px"]
    assert (guessed == 4 * size).all()


def test_photometric_steps_move_strangers_and_leave_a_shared_identity_alone(scene):
    batch = named(scene[0], "ann", "", "ann", "")
    still = MorphableFitter(CONFIG)(batch.copy()).faces
    moved = MorphableFitter(replace(CONFIG, photometric_steps=2))(batch.copy()).faces
    assert np.array_equal(moved["identity"][[0, 2]], still["identity"][[0, 2]])
    assert np.array_equal(moved["identity"][0], moved["identity"][2])
    assert all(not np.array_equal(moved["identity"][j], still["identity"][j]) for j in (1, 3))


def test_landmarks_where_the_face_is_turned_away_count_less(fitter):
    points = fitter.points
    rotation = camera.rotation_from_deg(torch.tensor([[0.0, 50, 0]]))
    shift, focal = torch.tensor([[0.0, 0, 120]]), torch.tensor([512.0])
    target = camera.project(camera.to_camera(points.mean[None], rotation, shift), focal, 128)
    towards = (rotation[:, 2, None] * fitter.outward).sum(-1)[0]
    away, near = towards < -0.5, towards > 0.1
    assert away.sum() > 20 and near.sum() > 100
    facing = fitter._facing(target, torch.ones(1, 468), focal, 128)[0]
    assert facing[near].min() > 0.9 and facing[away].mean() < 0.5
    assert facing.min() >= CONFIG.turned_weight and facing.max() <= 1


def test_an_unsure_mesh_counts_less(scene, fitter):
    batch = scene[0].copy()
    batch.put("mesh_score", np.array([1.0, 0.2, 1.0, np.nan], np.float32))
    sure, unsure = fitter(scene[0].copy()).faces, fitter(batch).faces
    assert unsure["lower_face_std"][1] > sure["lower_face_std"][1]
    assert np.array_equal(unsure["identity"][[0, 2, 3]], sure["identity"][[0, 2, 3]])


@pytest.mark.parametrize("left", [0, 1, 2, 5])
def test_few_finite_landmarks_are_a_status_not_an_error(scene, fitter, left):
    batch = scene[0].copy()
    landmarks = batch.faces["landmarks468_px"].copy()
    landmarks[1, left:] = np.nan
    batch.put("landmarks468_px", landmarks)
    out = fitter(batch).faces
    assert out["face_status"].tolist() == [OK, LOW_CONFIDENCE, OK, OK]
    assert np.isnan(out["identity"][1]).all() and np.isfinite(out["identity"][[0, 2, 3]]).all()
