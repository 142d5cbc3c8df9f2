"""Mesh and pose of a run's faces against those known without the mask."""

import json

import numpy as np
import pytest
import torch

from jobs.evaluation.fits import fit_errors, read_fits
from jobs.evaluation.rows import join
from jobs.evaluation.summary import SummaryOptions, summarise
from jobs.evaluation.told import FaceFit, numbers, read_told
from jobs.storage import LocalStorage
from operators.arrow import manifest_bytes, to_manifest
from operators.batch import Batch
from operators.metrics.geometry import vertex_errors
from operators.morphable.bases import load_basis
from operators.morphable.camera import deg_from_rotation, rotation_from_deg
from operators.morphable.model import MorphableModel
from tests.jobs.evaluation import made_up

BASIS = "open_face"


def face(random, **changes):
    """A face of the base that ships, as a manifest or a sample's JSON has it."""
    basis = load_basis(BASIS)
    made = {
        "identity": random.normal(size=len(basis.identity)),
        "expression": random.normal(size=len(basis.expression)),
        "rotation_deg": np.array([5.0, 20.0, -3.0]),
        "crop_from_image": np.array([[1.0, 0, 0], [0, 1.0, 0]]),
        "landmarks68_px": random.uniform(0, 200, (68, 2)),
    }
    return {**made, **changes}


def write_run(storage, faces, basis=BASIS):
    """A run of `reconstruct` with these faces per picture."""
    batch = Batch.from_images([b"x"] * len(faces), [f"photo{i:03d}" for i in range(len(faces))], "images-000000")
    batch.set_faces(np.repeat(np.arange(len(faces)), [len(found) for found in faces]))
    for name in ("identity", "expression", "rotation_deg", "crop_from_image", "landmarks68_px"):
        batch.put(name, np.array([one[name] for found in faces for one in found]))
    storage.write("manifest/images-000000/00000.parquet", manifest_bytes(to_manifest(batch)))
    storage.write("run.json", json.dumps({"config": {"fit": {"basis": basis}}}).encode())


def errors(storage, truths):
    names = {key: (f"images-000000/{key}", key) for key in truths}
    return fit_errors(read_fits(storage), {key: FaceFit.of(truth) for key, truth in truths.items()}, names)


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(str(tmp_path))


def test_the_same_face_has_no_error_and_another_that_of_its_mesh(storage):
    random = np.random.default_rng(0)
    first, other = face(random), face(random)
    write_run(storage, [[first], [first]])
    found = errors(storage, {"photo000": first, "photo001": other})
    assert found["photo000"]["vertex_error"] == pytest.approx(0, abs=1e-6)
    assert found["photo000"]["rotation_error_deg"] == pytest.approx(0, abs=1e-4)
    model = MorphableModel(load_basis(BASIS))
    meshes = [
        model.shape.at(torch.tensor(np.concatenate((one["identity"], one["expression"]))[None], dtype=torch.float32)).numpy()
        for one in (first, other)
    ]
    eyes = model.basis.landmarks68
    wanted = vertex_errors(meshes[0], meshes[1], (int(eyes[36, 0]), int(eyes[45, 0]))).mean[0]
    assert found["photo001"]["vertex_error"] == pytest.approx(wanted, rel=1e-3) and wanted > 0.01


def test_the_turn_of_the_crop_is_taken_back(storage):
    random = np.random.default_rng(1)
    turn = np.deg2rad(30)
    crop = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0]])
    straight = face(random)
    # the picture's axes: x right, y down; the face's: y up, z to the viewer
    flip = np.diag([1.0, -1, -1])
    spin = np.eye(3)
    spin[:2, :2] = crop[:, :2]
    seen = flip @ spin @ flip @ rotation_from_deg(torch.tensor(straight["rotation_deg"][None])).numpy()[0]
    angles = deg_from_rotation(torch.tensor(seen[None])).numpy()[0]
    write_run(storage, [[{**straight, "rotation_deg": angles, "crop_from_image": crop}]])
    assert errors(storage, {"photo000": straight})["photo000"]["rotation_error_deg"] == pytest.approx(0, abs=1e-4)
    without = {name: value for name, value in straight.items() if name != "crop_from_image"}
    assert "rotation_error_deg" not in errors(storage, {"photo000": without})["photo000"], "frames that are not known to agree"


def test_of_several_faces_the_one_at_the_true_landmarks_counts(storage):
    random = np.random.default_rng(2)
    wrong, right = face(random), face(random)
    write_run(storage, [[wrong, right], []])
    found = errors(storage, {"photo000": right, "photo001": right})
    assert found["photo000"]["vertex_error"] == pytest.approx(0, abs=1e-6) and "photo001" not in found


@pytest.mark.parametrize("change", [{"identity": np.ones(7)}, {"identity": None}, {"basis": "bfm2009"}])
def test_coefficients_of_another_base_are_not_compared(storage, change):
    one = face(np.random.default_rng(3))
    write_run(storage, [[one]])
    assert set(errors(storage, {"photo000": {**one, **change}})["photo000"]) == {"rotation_error_deg"}


def test_errors_reach_the_summary_and_a_missing_base_is_said(storage, tmp_path):
    random = np.random.default_rng(4)
    faces = [face(random) for _ in range(4)]
    rows = made_up.only_psnr(made_up.rows(4))
    for row in rows:
        true = faces[int(row["key"][-3:])]
        row["meta_json"] = json.dumps({"faces": [{name: value.tolist() for name, value in true.items()}]})
    write_run(storage, [[{**one, "rotation_deg": one["rotation_deg"] + [0, 10, 0]}] for one in faces])
    metrics = summarise(join([made_up.table(rows)], {"prior": storage}), SummaryOptions(resamples=50))["methods"]
    assert metrics["prior"]["metrics"]["rotation_error_deg"]["mean"] == pytest.approx(10, rel=0.02)
    assert metrics["prior"]["metrics"]["vertex_error"]["mean"] == pytest.approx(0, abs=1e-5)
    assert "vertex_error" not in metrics["telea"]["metrics"]
    lost = LocalStorage(str(tmp_path / "lost"))
    write_run(lost, [[one] for one in faces], basis="no_such_base")
    warnings = summarise(join([made_up.table(rows)], {"prior": lost}), SummaryOptions(resamples=50))["warnings"]
    assert any("prior: no mesh errors" in line and "no_such_base" in line for line in warnings)


def test_a_run_without_3d_faces_has_none(storage):
    assert read_fits(storage).faces == {}
    batch = Batch.from_images([b"x"], ["photo000"], "images-000000")
    storage.write("manifest/a.parquet", manifest_bytes(to_manifest(batch)))
    assert errors(storage, {"photo000": face(np.random.default_rng(5))}) == {}


@pytest.mark.parametrize("values", [None, "text", [1, "a"], [[1, 2]], [1, float("nan"), 2], []])
def test_what_is_no_list_of_numbers(values):
    assert numbers(values, (3,)) is None


def test_the_samples_first_face_is_the_true_one():
    told = read_told(
        json.dumps({"coverage": 0.3, "meta": {"group": "london"}, "faces": [{"type": "n95", "rotation_deg": [1, 2, 3]}]})
    )
    assert told.facts == {"group": "london", "mask_type": "n95", "coverage": 0.3, "yaw_deg": 2.0}
    assert told.face is not None and told.face.rotation_deg is not None and told.face.rotation_deg.tolist() == [1, 2, 3]


def test_no_json_of_a_sample_stops_an_evaluation():
    """Numbers too large for a float, half of a surrogate pair, nesting without end: what cannot be used is left out."""
    huge = "1" + "0" * 400
    told = read_told(f'{{"coverage": {huge}, "yaw_deg": 1e999, "mask_type": "\\ud800", "landmarks68_px": [{huge}]}}')
    assert told.facts == {"mask_type": "\\ud800"} and told.face.landmarks68_px is None
    assert read_told("[" * 100_000).face is None
