"""Evaluation as a job: what is compared with what, what is missing, and that numbers are those of the pictures."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.cli import main
from jobs.config import ConfigError, load
from jobs.evaluation.rows import read_evaluated
from jobs.job_configs import EvaluateConfig
from jobs.ledger import LedgerError
from jobs.results import Result, parse_result, seconds_per_image
from jobs.run import execute, prepare
from jobs.sources import SourceError
from jobs.storage import StorageConfig, open_storage
from operators.arrow import manifest_bytes, to_manifest
from operators.batch import Batch
from operators.columns import EVALUATE

N, SIZE = 5, 40
HOLE = np.zeros((SIZE, SIZE), bool)
HOLE[12:30, 8:32] = True


def png(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(array).save(sink, "PNG")
    return sink.getvalue()


def truth(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(40, 200, (SIZE, SIZE, 3), dtype=np.uint8)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def world(tmp_path) -> Path:
    """Five samples with hole, truth and JSON, a folder of results that are off by 16 everywhere, and a run that wrote four."""
    for i in range(N):
        image = np.where(HOLE[..., None], np.uint8(255), truth(i))
        about = {"subject": f"person-{i // 2}", "group": "noise", "faces": [{"type": "surgical"}], "coverage": 0.1 * i}
        base = tmp_path / "samples" / f"sub/p{i}"
        for suffix, data in (
            (".png", png(image)),
            (".mask.png", png(HOLE.astype(np.uint8) * 255)),
            (".truth.png", png(truth(i))),
            (".json", json.dumps(about).encode()),
        ):
            write(base.with_name(base.name + suffix), data)
        write(tmp_path / "plus" / f"sub/p{i}.png", png(truth(i) + 16))
        if i != 3:
            write(tmp_path / "run/images/images-000000" / f"sub/p{i}.png", png(truth(i)))
    write(tmp_path / "run/artifacts/images-000000/sub/p0/occluder.png", png(np.roll(HOLE, 4, 0).astype(np.uint8) * 255))
    summary = {"images": 5, "seconds_by_stage": {"read": 1.0, "inpaint": 4.0}}
    write(tmp_path / "run/run.json", json.dumps({"summary": summary, "fingerprint": "x"}).encode())
    return tmp_path


def config(world: Path, results: str, **changes: str) -> EvaluateConfig:
    fields = {"input": str(world / "samples"), "output": str(world / "out"), "results": results, "faces": "false"}
    fields |= {"execution.kind": "inline"} | {name.replace("__", "."): value for name, value in changes.items()}
    return load(EvaluateConfig, None, list(fields.items()))


def rows(world: Path) -> dict[tuple[str, str], dict]:
    files = sorted((world / "out").glob("manifest/**/*.parquet"))
    return {(row["method"], row["key"]): row for file in files for row in pq.read_table(file).to_pylist()}


def test_every_result_is_measured_against_its_truth(world):
    execute(prepare(config(world, f"plus={world}/plus,run={world}/run,masked,telea")))
    found = rows(world)
    assert len(found) == N * 5 and {row["status"] for row in found.values()} == {"ok"}
    for i in range(N):
        plus = found["plus", f"sub/p{i}"]
        assert plus["psnr_hole_db"] == plus["psnr_image_db"] == pytest.approx(20 * math.log10(255 / 16))
        assert plus["hole_pixels"] == HOLE.sum() and plus["subject"] == f"person-{i // 2}" and plus["group"] == "noise"
        expected = 20 * math.log10(255 / np.sqrt(np.mean((255.0 - truth(i)[HOLE]) ** 2)))
        assert found["masked", f"sub/p{i}"]["psnr_hole_db"] == pytest.approx(expected)
        assert found["truth", f"sub/p{i}"]["psnr_image_db"] == math.inf
        assert found["telea", f"sub/p{i}"]["psnr_hole_db"] > expected
        assert found["masked", f"sub/p{i}"]["psnr_rim_db"] == math.inf


def test_a_run_counts_as_its_input_where_it_wrote_nothing(world):
    tally = execute(prepare(config(world, f"run={world}/run,masked")))
    found = rows(world)
    assert found["run", "sub/p3"]["psnr_hole_db"] == found["masked", "sub/p3"]["psnr_hole_db"]
    assert found["run", "sub/p2"]["psnr_hole_db"] == math.inf
    assert any("left as they were" in note for note in tally.notes)


def test_what_a_run_has_not_seen_is_no_result_of_it(world):
    storage = open_storage(str(world / "run"))
    seen = Batch.from_images([b"x"] * 4, [f"sub/p{i}" for i in (0, 1, 2, 4)], "images-000000")
    storage.write("manifest/images-000000/00000.parquet", manifest_bytes(to_manifest(seen)))
    tally = execute(prepare(config(world, f"run={world}/run")))
    row = rows(world)["run", "sub/p3"]
    assert row["status"] == "failed" and "finished" in row["error_message"] and tally.rows == {"ok": 9, "failed": 1}


def test_the_occluder_that_a_run_found_is_compared(world):
    execute(prepare(config(world, f"run={world}/run")))
    found = rows(world)
    assert found["run", "sub/p0"]["segmentation_iou"] == pytest.approx(14 / 22)
    assert math.isnan(found["run", "sub/p1"]["segmentation_iou"])


def test_a_missing_picture_of_a_folder_is_a_failed_row(world):
    (world / "plus/sub/p1.png").unlink()
    tally = execute(prepare(config(world, f"plus={world}/plus")))
    row = rows(world)["plus", "sub/p1"]
    assert tally.rows == {"ok": 9, "failed": 1} and row["error_type"] == "MissingResultError" and "sub/p1" in row["error_message"]


def test_masks_and_truths_may_lie_in_folders_of_their_own(world):
    for i in range(N):
        base = world / "samples/sub"
        write(world / f"truths/sub/p{i}.png", (base / f"p{i}.truth.png").read_bytes())
        inverted = 255 - np.array(Image.open(base / f"p{i}.mask.png"))
        write(world / f"holes/sub/p{i}.png", png(inverted))
        for suffix in ("truth.png", "mask.png", "json"):
            (base / f"p{i}.{suffix}").unlink()
    folders = {"source__masks": str(world / "holes"), "source__truths": str(world / "truths"), "source__hole_colour": "black"}
    execute(prepare(config(world, f"plus={world}/plus", **folders)))
    row = rows(world)["plus", "sub/p0"]
    assert row["psnr_hole_db"] == pytest.approx(20 * math.log10(255 / 16)) and row["hole_pixels"] == HOLE.sum()


def test_the_command_writes_table_summary_and_report(world, capsys):
    flags = ["--input", f"{world}/samples", "--output", f"{world}/out", "--results", f"plus={world}/plus,run={world}/run,masked"]
    assert main(["evaluate", *flags, "--faces", "false", "--execution.kind", "inline"]) == 0
    summary = json.loads((world / "out/summary.json").read_text())
    assert summary["methods"]["plus"]["metrics"]["psnr_hole_db"]["mean"] == pytest.approx(24.0485, abs=1e-3)
    assert summary["people"] == 3
    said = capsys.readouterr().out
    assert "24.05" in said and "weights not available" in said
    for name in ("metrics.parquet", "summary.md", "report.html"):
        assert (world / "out" / name).stat().st_size > 0
    assert main(["evaluate", *flags, "--faces", "false", "--execution.kind", "inline"]) == 0  # nothing left, same tables
    assert json.loads((world / "out/summary.json").read_text()) == summary


def test_results_that_changed_are_not_mixed_with_old_rows(world):
    execute(prepare(config(world, f"plus={world}/plus")))
    write(world / "plus/sub/p0.png", png(truth(0)))
    (world / "plus/sub/p1.png").unlink()
    with pytest.raises(LedgerError, match="plus/images-000000"):
        prepare(config(world, f"plus={world}/plus"))


def test_a_method_more_measures_only_that(world):
    execute(prepare(config(world, "masked")))
    assert execute(prepare(config(world, "masked,telea"))).images == N


def test_results_are_named_and_found(world):
    storage = StorageConfig()
    assert parse_result("telea", storage) == Result("telea", "baseline", state="telea")
    assert parse_result("mine=navier_stokes", storage) == Result("mine", "baseline", state="navier_stokes")
    run = parse_result(f"r={world}/run", storage)
    assert (run.kind, run.state.partition(" ")[0]) == ("run", "4") and Result.from_text(run.text) == run
    assert seconds_per_image(run, storage) == 1.0
    assert seconds_per_image(parse_result(f"p={world}/plus", storage), storage) is None
    write(world / "made/run.json", b'{"job": "synthesize"}')
    write(world / "made/samples/a.png", png(truth(0)))
    bad = ("..", ".", "a~b", "a/b", "", "x:y")
    folders = (f"{world}/plus", f"x={world}/samples/none", f"x={world}/made", "x=", "teela")
    for wrong in (*folders, *(f"{name}={where}" for name in bad for where in (f"{world}/plus", "telea"))):
        with pytest.raises(SourceError):
            parse_result(wrong, storage)
    with pytest.raises(ConfigError, match="twice"):
        config(world, f"a={world}/plus,A=telea").compared()


def test_ray_gives_the_rows_of_the_plain_loop(world):
    execute(prepare(config(world, f"plus={world}/plus,telea", output=str(world / "out"))))
    plain = rows(world)
    (world / "out").rename(world / "plain")
    execute(prepare(config(world, f"plus={world}/plus,telea", execution__kind="fused", execution__pools__worker__size="1")))
    assert open_storage(str(world / "out")).exists("run.json")
    assert {k: str(v) for k, v in rows(world).items()} == {k: str(v) for k, v in plain.items()}


def test_landmarks_of_a_smaller_result_are_compared_in_the_truths_pixels(world):
    storage = open_storage(str(world / "joined"))
    for method, size in (("truth", 400), ("small", 200)):
        sides = {name: np.array([size], np.int32) for name in ("width_px", "height_px")}
        batch = Batch.from_images([b"x"], ["p"], method, method=[method], **sides)
        batch.put_row("result_landmarks68_px", np.linspace((0.2, 0.3), (0.8, 0.7), 68)[None] * size)
        batch.put_row("landmarks68_in_hole", np.ones((1, 68), bool))
        storage.write(f"manifest/{method}/a/00000.parquet", manifest_bytes(to_manifest(batch, job=EVALUATE)))
    evaluated = read_evaluated(storage)
    for name in ("nme_all", "nme_hidden"):
        assert evaluated.values[name][0, 0] == pytest.approx(0, abs=1e-6)
