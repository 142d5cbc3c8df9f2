"""The demo: masks put on, restored and measured, on pictures with a known truth."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs import demo
from jobs.cli import OTHER, STORAGE
from jobs.evaluation.table import terminal_table
from jobs.execution import ExecutionConfig
from jobs.ray_binding import ray_session
from operators.synthesize.base import MASK_TYPES
from operators.synthesize.outfits import parse_outfits

NAMES = ["eileen_collins", "grace_hopper", "nobody-000000"]


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """A folder with something of its user's, and with what is left of an earlier demo."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "faces").mkdir()
    (folder / "restored").mkdir()
    for name in ("faces/mine.txt", "faces/grace_hopper.json", "faces/nobody-000007.json", "restored/mine.txt"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with ray_session(ExecutionConfig()):
        yield


@pytest.fixture(scope="module")
def said(output, local_ray) -> str:
    sink = io.StringIO()
    with redirect_stdout(sink):
        assert demo.main(["--output", str(output), "--people", "1"]) == 0
    return sink.getvalue()


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_every_face_gets_a_mask_and_is_restored(output, said):
    for name in NAMES:
        face = pixels(output / f"faces/{name}.png")
        (truth,) = output.glob(f"masked/samples/*/{name}.truth.png")
        (restored,) = output.glob(f"restored/images/**/{name}.png")
        hole = pixels(truth.with_name(f"{name}.mask.png")) > 0
        masked = pixels(truth.with_name(f"{name}.png"))
        assert np.array_equal(pixels(truth), face)
        assert 0.005 < hole.mean() < 0.3 and not (masked != face)[~hole].any()
        assert pixels(restored).shape == face.shape
        assert (pixels(restored) != masked)[hole].mean() > 0.5


def test_the_printed_table_is_that_of_the_evaluation(output, said):
    summary = json.loads((output / "evaluation/summary.json").read_text())
    assert list(summary["methods"]) == ["restored", "telea", "masked"]
    assert summary["pictures"] == summary["people"] == len(NAMES)
    assert terminal_table(summary) in said
    for folder in ("masked", "restored", "evaluation"):
        assert (output / folder / "report.html").resolve().as_uri() in said
        assert (output / folder / "report.html").stat().st_size > 1000


def test_restored_is_nearest_to_the_truth(output, said):
    methods = json.loads((output / "evaluation/summary.json").read_text())["methods"]
    psnr = {name: method["metrics"]["psnr_hole_db"]["mean"] for name, method in methods.items()}
    assert psnr["restored"] > psnr["telea"] + 1 > psnr["masked"] + 2, "decibels"


def test_only_its_own_files_are_replaced(output, said):
    assert (output / "faces/mine.txt").exists() and (output / "restored/mine.txt").exists()
    assert not (output / "faces/nobody-000007.json").exists()


def test_results_beside_no_demo_stay(local_ray, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "faces", lambda people: iter([]))
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored/run.json").write_text("{}")
    assert demo.main(["--output", str(tmp_path)]) == STORAGE
    assert (tmp_path / "restored/run.json").exists()


def test_the_default_call_shows_masks_of_every_kind():
    types = {item.outfit.type for item in parse_outfits(demo.OUTFITS)}
    assert {"surgical", "kn95", "n95", "cloth"} <= types <= set(MASK_TYPES)


@pytest.mark.parametrize(
    ("pictures", "code", "why"),
    [
        ([], STORAGE, "synthesize ended with exit code 3"),
        ([("empty", b"", "{}")], OTHER, "1 images failed in synthesize"),
    ],
)
def test_a_step_that_fails_ends_the_demo(pictures, code, why, local_ray, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "faces", lambda people: iter(pictures))
    assert demo.main(["--output", str(tmp_path), "--people", "0"]) == code
    assert f"demo: {why}" in capsys.readouterr().err
    assert not (tmp_path / "restored").exists()
