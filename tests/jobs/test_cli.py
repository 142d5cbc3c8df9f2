import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jobs import cli
from jobs.fields import leaves
from jobs.job_configs import ReconstructConfig
from tests.jobs.stubs import stub_stages, write_photos


@pytest.fixture
def stubs(monkeypatch):
    monkeypatch.setattr("jobs.run.plan_stages", lambda config: stub_stages())


def flags(tmp_path, *more: str) -> list[str]:
    return [
        "reconstruct",
        "--input",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
        "--execution.kind",
        "inline",
        *more,
    ]


def test_help_mentions_every_field(capsys):
    assert cli.main(["reconstruct", "--help"]) == 0
    text = capsys.readouterr().out
    for leaf in leaves(ReconstructConfig):
        pool = leaf.path.startswith("execution.pools.")
        assert (f"--execution.pools.POOL.{leaf.path.rpartition('.')[2]}" if pool else f"--{leaf.path}") in text, leaf.path
    words = " ".join(text.split())
    for leaf in leaves(ReconstructConfig):
        assert " ".join(leaf.help.split()) in words, leaf.path
    assert "examples:" in text and "exit codes:" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reconstuct"], "Did you mean reconstruct?"),
        (["reconstruct"], "input: say where, with --input"),
        (["reconstruct", "--detect.max_face", "3"], "--detect.max_face: no such field, did you mean detect.max_faces?"),
        (["reconstruct", "--detect.max_faces=many"], "detect.max_faces: expected int, got 'many'"),
        (["reconstruct", "--input", "x", "--output", "ftp://host/x"], "output: 'ftp://host/x': ftp:// is not supported"),
        (["reconstruct", "stray"], "unexpected: stray"),
        (["reconstruct", "--config", "/no/such.yaml"], "/no/such.yaml: No such file"),
    ],
)
def test_wrong_usage_is_told_with_exit_code_2(arguments, said, capsys):
    assert cli.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_missing_input_is_exit_code_3(tmp_path, capsys):
    assert cli.main(flags(tmp_path)) == 3
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_dry_run_writes_nothing(tmp_path, capsys):
    write_photos(tmp_path / "in", 2)
    assert cli.main(flags(tmp_path, "--dry-run")) == 0
    text = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    for wanted in ("1 shards of images", "2 images", "FaceDetector", "sha256", "fingerprint", "inline"):
        assert wanted in text


def test_a_run_ends_with_a_summary_and_exit_code_0(stubs, tmp_path, capsys):
    write_photos(tmp_path / "in", 3, poison=(1,))
    assert cli.main(flags(tmp_path, "--execution.report_images", "0")) == 0
    text = capsys.readouterr().out
    for wanted in (
        "3 images, 4 faces",
        "ok      2",
        "failed  1",
        "seconds by stage",
        "peak memory",
        "1 images failed",
        str(tmp_path),
    ):
        assert wanted in text
    summary = json.loads((tmp_path / "out/run.json").read_text())["summary"]
    assert summary["rows_by_status"] == {"failed": 1, "ok": 2}
    assert cli.main(flags(tmp_path, "--execution.report_images", "0")) == 0
    assert "1 units were done already" in capsys.readouterr().out


def test_changed_config_is_exit_code_2(stubs, tmp_path, capsys):
    write_photos(tmp_path / "in", 1)
    assert cli.main(flags(tmp_path, "--execution.report_images", "0")) == 0
    assert cli.main(flags(tmp_path, "--detect.max_faces", "5")) == 2
    assert "detect.max_faces: 32 -> 5" in capsys.readouterr().err


def test_config_command_prints_what_loads_back(tmp_path, capsys):
    assert cli.main(["config", "--inpaint.kind", "telea"]) == 0
    (tmp_path / "job.yaml").write_text(capsys.readouterr().out)
    assert cli.main(["config", "--config", str(tmp_path / "job.yaml")]) == 0
    assert "kind: telea" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_cleanly(number, tmp_path):
    write_photos(tmp_path / "in", 200)
    program = (
        "import sys, time, jobs.run, jobs.cli\n"
        "from tests.jobs.stubs import Inverter, stub_stages\n"
        "class Slow(Inverter):\n"
        "    def __call__(self, batch):\n"
        "        time.sleep(0.2)\n"
        "        return super().__call__(batch)\n"
        "stages = [s if s.section != 'inpaint' else type(s)(s.section, Slow, s.config, s.drops) for s in stub_stages()]\n"
        "jobs.run.plan_stages = lambda config: tuple(stages)\n"
        "sys.exit(jobs.cli.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", program, *flags(tmp_path, "--source.unit_rows", "2", "--source.images_per_shard", "200")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "out").glob("commits/*/00001.json")):
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "units committed; run the same command to go on" in errors and "Traceback" not in errors
    for commit in (tmp_path / "out/commits").rglob("*.json"):
        assert (tmp_path / "out" / json.loads(commit.read_text())["manifest"]).exists()
