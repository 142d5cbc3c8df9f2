"""The synthesis job end to end on people who do not exist."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.config import ConfigError, load
from jobs.job_configs import SynthesizeConfig
from jobs.readers import read_samples
from jobs.run import execute, prepare
from jobs.sources import SourceConfig, SourceError, list_shards
from jobs.storage import StorageConfig
from operators.images import decode_rgb, encode

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


WRONG = {
    "mask.outfits": ("surgicl", "surgical*0", "hand-dots", "cloth-there/is/none.jpg"),
    "mask.quality": ("0", "101"),
    "mask.texture_weight": ("-0.1", "1.5"),
    "mask.colour_weight": ("7",),
    "mask.shadow": ("-1",),
}


@pytest.mark.parametrize(("field", "text"), [(field, text) for field, texts in WRONG.items() for text in texts])
def test_wrong_values_are_refused_before_anything_is_claimed(tmp_path, field, text):
    with pytest.raises(ConfigError, match="mask"):
        run(tmp_path / "out", **{field: text})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes", [{"mask__templates": "/no/such/folder"}, {"mask__templates": "{here}", "mask__outfits": "n95"}]
)
def test_templates_that_are_not_there_are_refused_before_anything_is_claimed(tmp_path, changes):
    (tmp_path / "masks.cfg").write_text("")
    with pytest.raises(ConfigError, match="template"):
        run(tmp_path / "out", mask__kind="template", **{k: v.format(here=tmp_path) for k, v in changes.items()})
    assert not (tmp_path / "out").exists()


def test_a_face_base_for_the_mask_that_is_not_the_fit_s_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"fit\.basis"):
        run(tmp_path / "out", mask__basis="ict_facekit")


def test_another_picture_in_a_texture_file_is_another_run(tmp_path):
    def fingerprint(colour: int) -> str:
        (tmp_path / "print.png").write_bytes(encode(np.full((8, 8, 3), colour, np.uint8)))
        fields = {"input": PEOPLE, "output": str(tmp_path / "out"), "mask.outfits": f"cloth-{tmp_path}/print.png"}
        return prepare(load(SynthesizeConfig, None, list(fields.items()))).fingerprint

    assert fingerprint(10) != fingerprint(20) == fingerprint(20)


def test_folders_of_masks_beside_tars_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(SourceError, match=r"source\.masks"):
        list_shards(str(tmp_path), config=SourceConfig(masks=str(tmp_path)))


JSONS = {
    "a_list": "[1, 2]",
    "deep": "[" * 100_000,
    "nested": '{"a":' * 900 + "1" + "}" * 900,
    "surrogate": '{"a": "\\ud800", "b": NaN}',
    "text": "no JSON at all",
}


def test_no_json_of_the_input_costs_a_sample(tmp_path, worn):
    photo = next((worn / "samples").rglob("*.truth.png")).read_bytes()
    (tmp_path / "in").mkdir()
    for name, text in JSONS.items():
        (tmp_path / f"in/{name}.png").write_bytes(photo)
        (tmp_path / f"in/{name}.json").write_text(text)
    out = run(tmp_path / "out", str(tmp_path / "in"), mask__kind="template", source__unit_rows="8", source__images_per_shard="8")
    found = {name.rpartition("/")[2]: json.loads(sample.meta_json)["meta"] for name, sample in samples(out).items()}
    assert set(found) == set(JSONS) and found["a_list"] == [1, 2] and found["surrogate"] == {"a": "\ud800", "b": None}
    assert found["nested"] == JSONS["nested"] and found["text"] == JSONS["text"]


@pytest.mark.parametrize("pack", ["true", "false"])
def test_a_photo_named_like_a_mask_keeps_its_sample_whole(tmp_path, worn, pack):
    photo = next((worn / "samples").rglob("*.truth.png")).read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/alone.mask.png").write_bytes(photo)
    out = run(tmp_path / "out", str(tmp_path / "in"), mask__kind="template", pack=pack)
    (sample,) = samples(out).values()
    assert sample.trouble is None and set(sample.pictures) == set(ROLES)
