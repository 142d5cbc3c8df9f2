"""The synthesis job end to end on people who do not exist."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.config import load
from jobs.job_configs import SynthesizeConfig
from jobs.readers import read_samples
from jobs.run import execute, prepare
from jobs.sources import SourceConfig, list_shards
from jobs.storage import StorageConfig
from operators.images import decode_rgb

PEOPLE = "people:3"
ROLES = frozenset(("mask", "truth", "alpha"))


def run(out: Path, source: str = PEOPLE, kind: str = "inline", **changes: str) -> Path:
    fields = {
        "input": source,
        "output": str(out),
        "execution.kind": kind,
        "source.unit_rows": "2",
        "source.images_per_shard": "2",
    }
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    execute(prepare(load(SynthesizeConfig, None, list(fields.items()))))
    return out


def samples(out: Path) -> dict:
    shards = list_shards(str(out / "samples"))
    found = [
        s
        for shard in shards
        for s in read_samples(shard, StorageConfig(), SourceConfig(), ROLES, __import__("collections").Counter())
    ]
    return {sample.name: sample for sample in found}


def files(root: Path) -> dict[str, bytes]:
    keep = (p for p in sorted(root.rglob("*")) if p.is_file() and p.name != "run.json" and "timings" not in p.parts)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in keep}


@pytest.fixture(scope="module")
def worn(tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("worn") / "out")


def test_samples_are_what_the_other_jobs_read(worn):
    found = samples(worn)
    assert len(found) == 3
    for sample in found.values():
        image, truth = decode_rgb(sample.image), decode_rgb(sample.pictures["truth"])
        hole, alpha = (decode_rgb(sample.pictures[role])[..., 0] for role in ("mask", "alpha"))
        assert set(np.unique(hole)) == {0, 255}
        assert (image == truth).all(-1)[hole == 0].all()
        assert ((image != truth).any(-1) | (hole > 0)).sum() == (hole > 0).sum()
        assert (alpha[hole == 0] == 0).all() and alpha.max() == 255
        about = json.loads(sample.meta_json)
        assert about["faces"][0]["type"] and 0.2 < about["coverage"] < 0.9
        assert about["meta"]["drawn"]["basis"] == "open_face"
        assert sample.subject.startswith("nobody-") and sample.group == "drawn"


def test_the_manifest_says_what_was_put_on(worn):
    rows = [row for file in sorted(worn.glob("manifest/*/*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert [row["status"] for row in rows] == ["ok"] * 3
    for row in rows:
        (face,) = row["faces"]
        (path,) = (item["path"] for item in row["artifacts"] if item["name"] == "sample.json")
        about = json.loads((worn / path).read_bytes())
        assert face["mask_type"] == about["faces"][0]["type"]
        assert face["mask_seed"] == about["faces"][0]["seed"]
        assert np.allclose(face["mask_points_px"], about["faces"][0]["points_px"], atol=0.01)
        assert 0 < row["hole_fraction"] < 1


def test_ray_and_packing_change_no_byte_of_a_sample(worn, tmp_path):
    packed = run(tmp_path / "packed", kind="fused", pack="true")
    assert sorted(p.suffix for p in (packed / "samples").iterdir()) == [".tar", ".tar"]
    loose, tarred = samples(worn), samples(packed)
    by_key = {name.rpartition("/")[2]: sample for name, sample in loose.items()}
    assert set(by_key) == set(tarred)
    for name, sample in tarred.items():
        assert sample.image == by_key[name].image and sample.pictures == by_key[name].pictures


def test_the_same_run_gives_the_same_bytes_and_another_seed_other_ones(worn, tmp_path):
    assert files(run(tmp_path / "again")) == files(worn)
    other = samples(run(tmp_path / "other", mask__seed="1"))
    assert all(other[name].image != sample.image for name, sample in samples(worn).items())


def test_templates_need_no_fit_and_keep_their_promise(tmp_path):
    out = run(tmp_path / "out", mask__kind="template", mask__outfits="surgical,none", source__unit_rows="3")
    for sample in samples(out).values():
        image, truth = decode_rgb(sample.image), decode_rgb(sample.pictures["truth"])
        hole = decode_rgb(sample.pictures["mask"])[..., 0] > 0
        assert (image == truth).all(-1)[~hole].all()
        assert hole.any() == (json.loads(sample.meta_json)["faces"][0]["type"] != "none")
