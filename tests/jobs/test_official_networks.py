"""The main job with every published network, by config alone, on formula weights in the authors' own files."""

import importlib
import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from jobs.cli import main
from jobs.config import load
from jobs.job_configs import ReconstructConfig
from operators.assets import config_folder
from operators.checkpoints.registry import system_of
from operators.images import encode
from operators.morphable.bases import load_basis
from operators.portrait import PortraitMaker
from tests.masked_people import masked

SCENARIOS = sorted(config_folder().glob("inpaint/*.yaml")) + sorted(config_folder().glob("segment/*.yaml"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photo")
    portrait = PortraitMaker(load_basis("open_face"), size=256, texture_px=128)(3)
    (folder / "person.png").write_bytes(encode(masked(portrait).image))
    return folder


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A function: system -> `checkpoint` of its official files, written once."""
    made: dict[str, str] = {}
    root = tmp_path_factory.mktemp("official")

    def checkpoint(system: str) -> str:
        if system not in made:
            (root / system).mkdir()
            made[system] = importlib.import_module(f"tests.official.{system}").write(root / system)
        return made[system]

    return checkpoint


def section_and_kind(scenario: Path) -> tuple[str, str]:
    section = scenario.parent.name
    return section, yaml.safe_load(scenario.read_text())[section]["kind"]


def run(scenario: Path, photo: Path, out: Path, checkpoint: str, *more: str) -> int:
    section, _ = section_and_kind(scenario)
    return main([
        *("reconstruct", "--config", str(scenario), "--input", str(photo), "--output", str(out)),
        *(f"--{section}.checkpoint", checkpoint, "--execution.kind", "inline", "--execution.report_images", "0", *more),
        *("--render.views", "false", "--render.mesh", "false", "--storage.fsync", "false"),
    ])  # fmt: skip


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_the_job_runs_with_it_by_config_alone(scenario, photo, official, tmp_path, capsys):
    section, kind = section_and_kind(scenario)
    out, licence = tmp_path / "out", system_of(kind).licence
    assert run(scenario, photo, out, official(kind), "--accept_licences", licence) == 0, capsys.readouterr().err
    assert f"{section}: {system_of(kind).title}, {licence}" in capsys.readouterr().err
    (row,) = pq.read_table(next((out / "manifest").rglob("*.parquet"))).to_pylist()
    assert row["status"] == "ok", row["error_message"]
    before, after = (cv2.imread(str(path)) for path in (photo / "person.png", next((out / "images").rglob("*.*"))))
    changed = (before != after).any(-1)
    assert 0.05 < changed.mean() < 0.6 and np.ptp(after[changed]) > 0
    record = json.loads((out / "run.json").read_text())
    assert len(record["identity"]["assets"][f"{section}.checkpoint"]) == 64


@pytest.mark.parametrize("kind", ["edgeconnect", "mat"])
def test_a_non_commercial_network_runs_only_when_its_licence_is_accepted(kind, photo, official, tmp_path, capsys):
    scenario = next(path for path in SCENARIOS if section_and_kind(path) == ("inpaint", kind))
    assert run(scenario, photo, tmp_path / "out", official(kind)) == 2
    said = capsys.readouterr().err
    licence = system_of(kind).licence
    assert f"--accept_licences {licence}" in said and system_of(kind).page in said
    assert not (tmp_path / "out").exists()


def test_a_dry_run_shows_licences_and_the_checkpoint(photo, official, tmp_path, capsys):
    scenario = next(path for path in SCENARIOS if section_and_kind(path) == ("inpaint", "lama"))
    assert run(scenario, photo, tmp_path / "out", official("lama"), "--dry-run") == 0
    said = capsys.readouterr().out
    assert "licences\n       inpaint: LaMa" in said and "Apache-2.0" in said and "inpaint.checkpoint" in said


def test_a_checkpoint_that_is_not_there_is_one_line(photo, tmp_path, capsys):
    scenario = next(path for path in SCENARIOS if section_and_kind(path) == ("inpaint", "lama"))
    assert run(scenario, photo, tmp_path / "out", str(tmp_path / "nothing")) == 2
    assert "inpaint.checkpoint: nothing: expected" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(config_folder().glob("*/*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_config_accepts_a_licence_for_anybody(path):
    assert load(ReconstructConfig, path).accepted == ()


def test_a_file_that_is_no_checkpoint_stops_the_run_before_it_starts(photo, tmp_path, capsys):
    scenario = next(path for path in SCENARIOS if section_and_kind(path) == ("inpaint", "lama"))
    (tmp_path / "big-lama.pt").write_text("<html>Sign in</html>")
    assert run(scenario, photo, tmp_path / "out", str(tmp_path / "big-lama.pt")) == 2
    said = capsys.readouterr().err
    assert "inpaint.checkpoint: big-lama.pt: expected a checkpoint, found 20 bytes that cannot be read" in said
    assert not (tmp_path / "out").exists()


def test_accepting_a_licence_is_no_part_of_what_decides_the_output():
    plain, accepted = ReconstructConfig(), load(ReconstructConfig, None, [("accept_licences", "CC-BY-NC-4.0,MIT")])
    assert accepted.accepted == ("CC-BY-NC-4.0", "MIT")
    assert plain.fingerprint({}, {}) == accepted.fingerprint({}, {})
