"""Whole runs with cheap operators: what is tested is when, where and how often things happen, and what is left behind."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.config import load
from jobs.job_configs import ReconstructConfig
from jobs.ledger import LedgerError
from jobs.ray_binding import ray_session
from jobs.run import execute, prepare
from jobs.storage import StorageError
from tests.jobs.stubs import stub_stages, write_photos

N = 11


def config(source: Path, out: Path, kind: str = "inline", **changes: str) -> ReconstructConfig:
    fields = {
        "input": str(source),
        "output": str(out),
        "source.unit_rows": "3",
        "source.images_per_shard": "7",
        "storage.fsync": "false",
        "execution.kind": kind,
        "execution.write_threads": "2",
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    return load(ReconstructConfig, None, list(fields.items()))


def run(source: Path, out: Path, kind: str = "inline", faces: int = 2, **changes: str):
    return execute(prepare(config(source, out, kind, **changes), stub_stages(faces)))


def content(out: Path) -> dict[str, str]:
    """Everything that must be equal between runs."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "run.json" and "timings" not in path.parts]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, N, poison=(4,), faceless=(8,))
    (folder / "photo002.png").write_bytes(b"\x89PNG broken")
    return folder


@pytest.fixture(scope="module")
def reference(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "out"
    run(photos, out)
    return out


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with ray_session(ReconstructConfig().execution):
        yield


def test_inline_commits_every_unit_with_rows_in_order(reference, photos):
    names = sorted(path.relative_to(reference).as_posix() for path in (reference / "commits").rglob("*.json"))
    assert names == [
        "commits/images-000000/00000.json",
        "commits/images-000000/00001.json",
        "commits/images-000000/00002.last.json",
        "commits/images-000001/00000.json",
        "commits/images-000001/00001.last.json",
    ]
    tables = [pq.read_table(path) for path in sorted((reference / "manifest").rglob("*.parquet"))]
    assert [key for table in tables for key in table["key"].to_pylist()] == sorted(path.stem for path in photos.iterdir())
    for name in names:
        record = json.loads((reference / name).read_text())
        assert hashlib.sha256((reference / record["manifest"]).read_bytes()).hexdigest() == record["manifest_sha256"]


def test_poison_costs_its_own_row_only(reference):
    rows = [row for path in sorted((reference / "manifest").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    status = {row["key"]: (row["status"], row["error_operator"]) for row in rows}
    assert status.pop("photo004") == ("failed", "finder")
    assert status.pop("photo002")[1] == "ImageDecoder"
    assert status.pop("photo008") == ("no_face", "finder")
    assert set(status.values()) == {("ok", "")} and len(status) == N - 3
    listed = {item["path"] for row in rows for item in row["artifacts"]}
    there = {
        p.relative_to(reference).as_posix() for d in ("images", "artifacts") for p in (reference / d).rglob("*") if p.is_file()
    }
    assert listed == there and len(there) == 2 * (N - 3)


@pytest.mark.parametrize("kind", ["fused", "pools"])
def test_ray_gives_the_same_bytes_as_the_plain_loop(kind, photos, reference, local_ray, tmp_path):
    tally = run(photos, tmp_path / "out", kind)
    assert content(tmp_path / "out") == content(reference)
    assert (tally.images, tally.units) == (N, 5)
    assert {"read", "decode", "detect", "inpaint", "paste", "write"} == set(tally.seconds)


def test_storage_trouble_in_an_actor_arrives_as_itself(photos, local_ray, tmp_path):
    prepared = prepare(config(photos, tmp_path / "out", "fused"), stub_stages())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest").write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match="a file is where a folder is needed"):
        execute(prepared)


def test_resume_does_only_what_is_not_committed(photos, reference, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    (out / "commits/images-000000/00001.json").unlink()
    (out / "manifest/images-000000/00001.parquet").unlink()
    prepared = prepare(config(photos, out), stub_stages())
    assert [shard.name for shard, _ in prepared.items] == ["images-000000"]
    assert (prepared.skipped, execute(prepared).units) == (4, 1)
    assert content(out) == content(reference)
    again = prepare(config(photos, out), stub_stages())
    assert not again.items and execute(again).units == 0


def test_interrupted_run_keeps_what_it_committed(photos, reference, tmp_path):
    def interrupt(tally) -> None:
        if tally.units == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(prepare(config(photos, tmp_path / "out"), stub_stages()), interrupt)
    assert json.loads((tmp_path / "out/run.json").read_text())["summary"]["units"] == 2
    assert run(photos, tmp_path / "out").units == 3
    assert content(tmp_path / "out") == content(reference)


def test_another_configuration_in_the_same_output_is_refused_with_the_difference(photos, reference):
    before = content(reference)
    with pytest.raises(LedgerError, match=r"decode\.min_side_px: 16 -> 17"):
        run(photos, reference, decode__min_side_px="17")
    assert content(reference) == before
    run(photos, reference, "inline", execution__write_threads="1")


def test_a_shard_that_changed_after_its_commit_is_refused(photos, reference, tmp_path):
    shutil.copytree(photos, tmp_path / "in")
    shutil.copytree(reference, tmp_path / "out")
    (tmp_path / "in/photo000b.png").write_bytes((photos / "photo000.png").read_bytes())
    with pytest.raises(LedgerError, match="images-000000"):
        prepare(config(tmp_path / "in", tmp_path / "out"), stub_stages())


def test_new_shards_join_a_finished_run(photos, tmp_path):
    few = tmp_path / "in"
    few.mkdir()
    for path in sorted(photos.iterdir())[:7]:
        shutil.copy(path, few)
    assert run(few, tmp_path / "out").images == 7
    for path in sorted(photos.iterdir())[7:]:
        shutil.copy(path, few)
    assert run(few, tmp_path / "out").images == N - 7


def test_planning_writes_nothing(photos, tmp_path):
    from jobs.run import describe

    text = describe(prepare(config(photos, tmp_path / "out", "pools"), stub_stages()))
    assert not (tmp_path / "out").exists()
    for wanted in ("2 shards of images", f"{N} images", "pool read", "pool write", "finder@1", "forgets crop"):
        assert wanted in text
