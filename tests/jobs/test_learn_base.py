"""The job from photos to a base that loads, on synthetic portraits of a deformed standard mesh."""

import json

import cv2
import numpy as np
import pytest

from jobs.learn_base import MESH, LearnBaseConfig, Photos, colourless, find_photos, main, people
from operators.morphable.bases import load_basis
from operators.morphable.learn.topology import read_topology

PEOPLE = 12


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """12 people, each neutral and smiling: pictures of 160 px with a skin-coloured disc, and the landmarks in them."""
    root = tmp_path_factory.mktemp("photos")
    mesh = read_topology(MESH)
    rng = np.random.default_rng(0)
    x, y, _ = (mesh.points / 8).T
    zero = np.zeros_like(x)
    wide, long = np.stack([0.3 * x * y**2, zero, zero], 1), np.stack([zero, 0.4 * np.minimum(y, 0) ** 2, zero], 1)
    smile = np.stack([zero, 0.8 * np.where(y < -0.2, x**2, 0), zero], 1)
    landmarks = {}
    for i in range(PEOPLE):
        own = mesh.points + rng.normal() * wide + rng.normal() * long
        for folder, amount in (("neutral", 0), ("smiling", rng.normal(1, 0.1))):
            face = (own + amount * smile + 0.01 * rng.standard_normal(own.shape)) * [1, -1, -1] * 8
            points = face + np.array([80 + rng.normal(), 80 + rng.normal(), 0])
            name = f"{i:03d}_{folder[0]}.png"
            picture = np.full((160, 160, 3), (90, 110, 60), np.uint8)
            tone = np.array([130, 150, 200]) * rng.uniform(0.6, 1.1)
            cv2.circle(picture, (80, 80), 78, tone.tolist(), -1)
            for eye in (points[[33, 133]].mean(0), points[[263, 362]].mean(0)):
                cv2.circle(picture, (int(eye[0]), int(eye[1])), 4, (30, 30, 30), -1)
            (root / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(root / folder / name), picture)
            landmarks[f"{folder}|{name}"] = points.astype(np.float32)
    np.savez(root / "landmarks.npz", **landmarks)
    return root


def arguments(root, *more):
    numbers = (("identities", 3), ("expressions", 1), ("borrowed", 2), ("albedos", 6), ("texture-px", 48), ("levels", 1))
    small = [text for name, value in numbers for text in (f"--{name}", str(value))] + ["--min-eye-distance-px", "40"]
    folders = ["--neutral", "neutral", "--expressive", "smiling"]
    return ["--photos", str(root), "--landmarks", str(root / "landmarks.npz"), *folders, *small, *more]


def test_from_photos_to_a_base_and_the_same_twice(portraits, tmp_path, capsys):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    assert main(arguments(portraits, "--output", str(first))) == 0
    assert "24 photos, 12 people, 12 known neutral" in capsys.readouterr().out
    assert main(arguments(portraits, "--output", str(second))) == 0
    assert first.read_bytes() == second.read_bytes()
    basis = load_basis(first)
    assert len(basis.identity) == 3 and len(basis.expression) == 1 + 2 and len(basis.albedo) == 6
    assert np.linalg.norm(basis.mean[33] - basis.mean[263]) == pytest.approx(90, abs=1e-2)
    corner = basis.expression[0, [61, 291]]
    assert np.allclose(corner[0], corner[1] * [-1, 1, 1], atol=0.01) and abs(corner[0, 1]) > 0.1, "corners of the mouth go up"
    middle = basis.albedo_mean.reshape(48, 48, 3)[8:12, 20:28].mean((0, 1))
    assert middle[0] > middle[1] > middle[2] > 0.2, "forehead is skin, RGB"


def test_evaluation_learns_from_some_and_measures_the_rest(portraits, tmp_path):
    report = tmp_path / "report.json"
    assert main(arguments(portraits, "--evaluate", str(report))) == 0
    figures = json.loads(report.read_text())
    assert figures["photos_held_out"] + figures["photos_learned"] == 24 and figures["photos_held_out"] in (2, 4)
    error = figures["held_out_vertex_error_eye_distances"]
    assert set(error) == {"0"} and 0 < error["0"] < 0.1
    assert figures["held_out_albedo_rms"]["0"] > 0


def test_nowhere_to_write_is_an_error_at_once(portraits, capsys):
    with pytest.raises(SystemExit):
        main(arguments(portraits))
    assert "--output" in capsys.readouterr().err


def test_a_folder_without_faces_says_so(tmp_path):
    np.savez(tmp_path / "landmarks.npz", none=np.zeros(1))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="no usable portrait among 1 photos"):
        main(["--photos", str(tmp_path), "--landmarks", str(tmp_path / "landmarks.npz"), "--output", str(tmp_path / "b.npz")])


def test_people_are_told_by_folder_and_name(tmp_path):
    config = LearnBaseConfig(neutral=("n", "other"), expressive=("s",))
    names = ["n/01_a.jpg", "n/02_a.jpg", "other/01_a.jpg", "s/01_b.jpg", "rest/01_a.jpg"]
    photos = Photos([tmp_path / n for n in names], [n.split("/")[0] for n in names], [])
    person = people(photos, config)
    assert person[0] == person[3] and len(set(person)) == 4


def test_photos_are_found_in_name_order(tmp_path):
    for name in ("b.JPG", "a.png", "c.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in find_photos(tmp_path)] == ["a.png", "b.JPG"]


def test_grey_photos_are_told():
    grey = np.repeat(np.random.default_rng(0).random((50, 1)), 3, axis=1)
    assert colourless(grey, np.ones(50, bool)) and not colourless(grey * [1, 0.8, 0.7], np.ones(50, bool))
    assert colourless(grey * [1, 0.8, 0.7], np.zeros(50, bool))
