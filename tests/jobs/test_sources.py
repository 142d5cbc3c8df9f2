"""Every kind of input, healthy and not: bad input costs its own row and nothing else."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sources import SourceConfig, SourceError, list_shards, read_units
from jobs.storage import DEFAULT_STORAGE, StorageConfig, StorageError, open_storage
from operators.batch import Batch
from operators.images import ImageDecoder, encode
from tests.operators.encoded import gradient

PNG = encode(gradient())
JPEG = encode(gradient(), "JPEG")


def tar(members, end: bool = True) -> bytes:
    """Members are (name, bytes) or (name, tar type)."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
                info.type, info.linkname = content, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        size = archive.offset
    return sink.getvalue() if end else sink.getvalue()[:size]


def fill(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(root)


def rows(uri, storage: StorageConfig = DEFAULT_STORAGE, **options) -> Batch:
    """All rows of all shards."""
    config = SourceConfig(**options)
    shards = list_shards(uri, storage, config)
    return Batch.concat([unit.batch for shard in shards for unit in read_units(shard, storage, config)])


def pairs(batch: Batch, *names: str) -> list[tuple]:
    return list(zip(*(batch.rows[name] for name in names), strict=True))


# folders --------------------------------------------------------------------------------------------------------------
FOLDER = {
    "b.png": PNG,
    "a.jpg": JPEG,
    "a.png": PNG,
    "sub/ü ä.webp": PNG,
    "b.json": b'{"subject": "Ada", "n": 1}',
    "b.mask.png": PNG,
    "lonely.mask.png": PNG,
    "notes.txt": b"-",
    ".hidden.png": PNG,
    "__MACOSX/._a.png": b"junk",
}


def test_a_folder(tmp_path):
    batch = rows(fill(tmp_path, FOLDER))
    assert batch.rows["key"] == ["a", "a~2", "b", "lonely.mask_~74f601909282", "sub/ü ä"]
    assert batch.rows["image_id"][0] == "images-000000/a" and batch.rows["row"].tolist() == [0, 1, 2, 3, 4]
    assert batch.rows["source"][0] == f"{tmp_path}/a.jpg"
    assert batch.rows["subject"] == ["", "", "Ada", "", ""]
    assert batch.rows["meta_json"][2] == '{"subject": "Ada", "n": 1}'
    assert [mask is not None for mask in batch.rows["given_mask_bytes"]] == [False, False, True, False, False]
    assert batch.rows["image_bytes"][0] == JPEG
    assert batch.rows["image_sha256"][0] == hashlib.sha256(JPEG).hexdigest()


def test_a_folder_makes_shards_of_a_fixed_size_and_units_of_rows(tmp_path):
    config = SourceConfig(images_per_shard=5, unit_rows=2)
    shards = list_shards(fill(tmp_path, {f"{i:02d}.png": PNG for i in range(12)}), config=config)
    assert [shard.name for shard in shards] == ["images-000000", "images-000001", "images-000002"]
    assert shards[0].bytes == 5 * len(PNG)
    units = list(read_units(shards[0], config=config))
    assert [(unit.part, unit.last, len(unit.batch)) for unit in units] == [(0, False, 2), (1, False, 2), (2, True, 1)]
    assert [row for unit in units for row in unit.batch.rows["row"].tolist()] == [0, 1, 2, 3, 4]


def test_units_close_early_when_images_are_large(tmp_path):
    shard = list_shards(fill(tmp_path, {f"{i}.png": PNG for i in range(4)}))[0]
    units = list(read_units(shard, config=SourceConfig(unit_bytes=len(PNG) + 1)))
    assert [len(unit.batch) for unit in units] == [2, 2]


def subjects_by_unit(uri, **options) -> list[list[list[str]]]:
    config = SourceConfig(**options)
    shards = list_shards(uri, config=config)
    return [[unit.batch.rows["subject"] for unit in read_units(shard, config=config)] for shard in shards]


def test_a_folder_can_say_who_is_shown_and_goes_whole_into_a_shard_and_a_unit(tmp_path):
    names = ["ada/1", "ada/2", "bo/1", "bo/2", "bo/3", "cy/1", "dee/1", "dee/2", "dee/3", "dee/4", "dee/5", "x", "y"]
    uri = fill(tmp_path, {f"{name}.png": PNG for name in names} | {"cy/1.json": b'{"subject": "Cyril"}'})
    shards = subjects_by_unit(uri, subject_folder=True, images_per_shard=6, unit_rows=4)
    assert shards == [
        [["ada", "ada"], ["bo", "bo", "bo", "Cyril"]],
        [["dee", "dee", "dee", "dee"], ["dee", ""]],
        [[""]],
    ]
    flat = subjects_by_unit(uri, images_per_shard=20, unit_rows=20)
    assert flat == [[["", "", "", "", "", "Cyril", *[""] * 7]]]


def test_photos_of_a_subject_stay_in_one_unit_unless_they_fill_it(tmp_path):
    table = {"image": [PNG] * 9, "subject": ["a", "b", "b", "b", "", "c", "c", "c", "c"]}
    (tmp_path / "x.parquet").write_bytes(parquet(**table))
    units = subjects_by_unit(str(tmp_path), unit_rows=3)[0]
    assert units == [["a"], ["b", "b", "b"], [""], ["c", "c", "c"], ["c"]]


def test_listing_is_repeatable_and_notices_changes(tmp_path):
    uri = fill(tmp_path, {"a.png": PNG, "b.png": PNG})
    assert list_shards(uri) == list_shards(uri)
    before = list_shards(uri)[0].fingerprint
    (tmp_path / "b.png").write_bytes(JPEG)
    assert list_shards(uri)[0].fingerprint != before


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [("*.png", ["a", "b"]), ("**/*.png", ["a", "b", "s/c"]), ("?.jpg", ["a"]), ("s/*", ["c"]), ("[!a].png", ["b"])],
)
def test_globs(tmp_path, pattern, keys):
    fill(tmp_path, {"a.png": PNG, "b.png": PNG, "a.jpg": JPEG, "s/c.png": PNG})
    assert rows(f"{tmp_path}/{pattern}").rows["key"] == keys


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path):
    assert rows(fill(tmp_path / "set [1]", {"a.png": PNG})).rows["key"] == ["a"]


def test_one_file(tmp_path):
    fill(tmp_path, {"a.png": PNG, "b.png": PNG, "x.tar": tar([("t.png", PNG)])})
    assert rows(str(tmp_path / "b.png")).rows["key"] == ["b"]
    assert rows(f"file://{tmp_path}/x.tar").rows["image_id"] == ["x/t"]


def test_nothing_to_read_is_said_before_anything_starts(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no images, .tar or .parquet files found \(0 other files\)"):
        list_shards(str(tmp_path / "empty"))
    with pytest.raises(SourceError, match="no such file or folder"):
        list_shards(str(tmp_path / "missing"))
    with pytest.raises(SourceError, match="no images"):
        list_shards(str(tmp_path / "*.png"))
    with pytest.raises(SourceError, match=r"no \.tar files"):
        list_shards(fill(tmp_path, {"a.png": PNG}), config=SourceConfig(kind="tar"))


def test_a_mixed_folder_needs_a_choice(tmp_path):
    uri = fill(tmp_path, {"a.png": PNG, "b.tar": tar([("x.png", PNG)])})
    with pytest.raises(SourceError, match=r"found 1 images, 1 tar: choose one with --source\.kind"):
        list_shards(uri)
    assert rows(uri, kind="tar").rows["key"] == ["x"]


def test_files_that_cannot_be_read_fail_alone(tmp_path):
    uri = fill(tmp_path, {"a.png": PNG, "b.png": b"", "c.png": PNG, "d.png": PNG})
    shard = list_shards(uri)[0]
    (tmp_path / "c.png").unlink()
    (tmp_path / "c.png").symlink_to(tmp_path / "nowhere")
    unit = next(iter(read_units(shard)))
    assert unit.batch.rows["status"] == ["ok", "ok", "failed", "ok"]
    assert "c.png: no such file" in unit.batch.rows["error_message"][2]
    assert ImageDecoder()(unit.batch).rows["status"] == ["ok", "failed", "failed", "ok"]


def test_a_dangling_link_is_a_failed_row(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    assert pairs(rows(str(tmp_path)), "key", "status", "error_type") == [("a", "failed", "ObjectError")]


def test_no_more_than_the_cap_is_read(tmp_path):
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(1 << 34)
    fill(tmp_path, {"a.png": PNG})
    tracemalloc.start()
    batch = rows(str(tmp_path), max_image_bytes=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs(batch, "key", "status", "error_type") == [("a", "ok", ""), ("big", "rejected", "ImageTooLargeError")]
    assert "100000 bytes" in batch.rows["error_message"][1] and batch.rows["image_bytes"][1] == b""
    assert peak < 5_000_000


# tars -----------------------------------------------------------------------------------------------------------------
def test_a_webdataset_tar(tmp_path):
    members = [
        ("./d", tarfile.DIRTYPE),
        ("./d/a.jpg", JPEG),
        ("./d/a.json", b'{"subject": 7}'),
        ("./d/a.mask.png", PNG),
        ("./d/a.cls", b"class 3"),
        ("./d/b.c.png", PNG),
    ]
    uri = fill(tmp_path, {"train/0.tar": tar(members), "train/1.tar": tar([("x.png", PNG)])})
    shards = list_shards(uri)
    assert [shard.name for shard in shards] == ["train~0", "train~1"]
    (unit,) = read_units(shards[0])
    assert unit.last and unit.notes == ("other files left out: 1",)
    assert pairs(unit.batch, "key", "subject", "meta_json") == [("d/a", "7", '{"subject": 7}'), ("d/b.c", "", "")]
    assert unit.batch.rows["given_mask_bytes"] == [PNG, None]
    assert unit.batch.rows["source"][0] == f"{tmp_path}/train/0.tar::./d/a.jpg"


def test_two_rows_with_one_name(tmp_path):
    members = [("a.jpg", JPEG), ("a.jpg", PNG), ("b.jpg", JPEG), ("a.json", b"{}"), ("a.png", PNG), ("a.json", b"[]")]
    batch = rows(fill(tmp_path, {"x.tar": tar(members)}))
    assert pairs(batch, "key", "status", "meta_json") == [
        ("a", "ok", ""),
        ("a~2", "ok", ""),
        ("b", "ok", ""),
        ("a~3", "ok", "{}"),
        ("a~4", "failed", "[]"),
    ]
    assert "json without an image" in batch.rows["error_message"][4]
    assert len(set(batch.rows["image_id"])) == 5


def test_hostile_names_and_members(tmp_path):
    members = [
        ("../../x.png", PNG),
        ("/abs.png", PNG),
        ("ok.png", PNG),
        ("link.png", tarfile.SYMTYPE),
        ("hard.png", tarfile.LNKTYPE),
        ("dev.png", tarfile.CHRTYPE),
        ("pipe.png", tarfile.FIFOTYPE),
        ("n" * 5000 + ".png", PNG),
        ("._ok.png", b"junk"),
    ]
    uri = fill(tmp_path, {"x.tar": tar(members)})
    units = list(read_units(list_shards(uri)[0]))
    batch = units[-1].batch
    assert [key.split("~")[0][:5] for key in batch.rows["key"]] == ["x", "abs", "ok", "link", "hard", "nnnnn"]
    assert batch.rows["status"] == ["ok", "ok", "ok", "failed", "failed", "ok"]
    assert "symbolic link inside a tar is not followed" in batch.rows["error_message"][3]
    assert "../../x.png" in batch.rows["source"][0]
    assert units[-1].notes == ("devices left out: 1", "other files left out: 1", "pipes left out: 1")
    assert not any(".." in key or key.startswith("/") for key in batch.rows["key"])


@pytest.mark.parametrize(
    ("cut", "good", "message"),
    [
        (lambda data: data[:1100], 0, "inside a member"),
        (lambda data: data[: len(data) // 2], 1, "byte"),
        (lambda data: data[:2560] + b"\xff" * 512 + data[3072:], 1, "no valid header at byte 2560"),
        (lambda data: b"", 0, "it was cut, or is empty"),
        (lambda data: b"<html>", 0, "inside a header"),
    ],
)
def test_a_broken_tar_costs_what_comes_after_the_break(tmp_path, cut, good, message):
    image = PNG + bytes(1600 - len(PNG))
    data = tar([("a.png", image), ("b.png", image), ("c.png", image)], end=False)
    batch = rows(fill(tmp_path, {"x.tar": cut(data), "y.tar": tar([("fine.png", PNG)])}))
    assert batch.rows["status"] == ["ok"] * good + ["failed", "ok"]
    assert batch.rows["key"] == [*"abc"[:good], "broken-shard", "fine"]
    assert batch.rows["error_type"][good] == "BrokenShardError" and message in batch.rows["error_message"][good]


def test_an_archive_of_nothing_is_one_empty_unit(tmp_path):
    (unit,) = read_units(list_shards(fill(tmp_path, {"x.tar": tar([])}))[0])
    assert unit.last and len(unit.batch) == 0


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_compressed_tars(tmp_path, keep):
    noise = os.urandom(5000)
    data = gzip.compress(tar([("a.png", PNG), ("b.png", noise), ("c.png", PNG)]))
    batch = rows(fill(tmp_path, {"x.tar.gz": data[: int(len(data) * keep)]}))
    assert batch.rows["shard"][0] == "x.tar.gz"
    assert batch.rows["status"] == (["ok"] * 3 if keep == 1 else ["ok", "failed"])


def test_a_tar_is_never_whole_in_memory(tmp_path):
    image = os.urandom(1_000_000)
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for i in range(60):
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(image)
            archive.addfile(info, io.BytesIO(image))
    shard, config = list_shards(str(path))[0], SourceConfig(unit_rows=4)
    tracemalloc.start()
    count = sum(len(unit.batch) for unit in read_units(shard, config=config))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60 and peak < 20_000_000


def test_tar_members_over_the_cap_are_skipped_not_read(tmp_path):
    batch = rows(fill(tmp_path, {"x.tar": tar([("a.png", bytes(5000)), ("b.png", PNG)])}), max_image_bytes=4000)
    assert pairs(batch, "key", "status") == [("a", "rejected"), ("b", "ok")]
    assert "5000 bytes, the limit is 4000" in batch.rows["error_message"][0]


def test_shard_names_never_meet(tmp_path):
    data = tar([("x.png", PNG)])
    files = {"a/b.tar": data, "a-b.tar": data, "A-B.tar": data, "a.tar.gz": gzip.compress(data), "a.tar": data, "..c.tar": data}
    del files["..c.tar"]
    names = [shard.name for shard in list_shards(fill(tmp_path, files))]
    assert len({name.casefold() for name in names}) == len(files) and all("/" not in name for name in names)


# Parquet --------------------------------------------------------------------------------------------------------------
def parquet(**columns) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=2)
    return sink.getvalue()


def test_parquet(tmp_path):
    data = parquet(
        name=["p.jpg", None, "p"],
        image=pa.array([JPEG, None, PNG], pa.binary()),
        mask=pa.array([None, None, PNG], pa.binary()),
        meta_json=['{"a": 1}', None, None],
        subject=["Ada", None, "Bo"],
    )
    batch = rows(fill(tmp_path, {"x.parquet": data}), unit_rows=2)
    assert pairs(batch, "key", "status", "subject", "meta_json") == [
        ("p", "ok", "Ada", '{"a": 1}'),
        ("00000001", "failed", "", ""),
        ("p~2", "ok", "Bo", ""),
    ]
    assert batch.rows["error_message"][1] == "the image is null"
    assert batch.rows["given_mask_bytes"] == [None, None, PNG] and batch.rows["image_bytes"][0] == JPEG


def test_parquet_of_structs(tmp_path):
    column = pa.array([{"bytes": PNG, "path": "q.png"}, None], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    batch = rows(fill(tmp_path, {"x.parquet": parquet(image=column)}))
    assert batch.rows["status"] == ["ok", "failed"] and batch.rows["image_bytes"][0] == PNG


def test_parquet_columns_by_configuration(tmp_path):
    uri = fill(tmp_path, {"x.parquet": parquet(one=pa.array([PNG]), two=pa.array([JPEG]), who=["k"])})
    batch = rows(uri)
    assert batch.rows["status"] == ["failed"] and "set image_column" in batch.rows["error_message"][0]
    batch = rows(uri, image_column="two", key_column="who")
    assert pairs(batch, "key", "image_bytes") == [("k", JPEG)]
    assert "no column 'three'" in rows(uri, image_column="three").rows["error_message"][0]


@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: d[:-20], lambda d: b"PAR1 nonsense PAR1", lambda d: d[:4] + bytes(60) + d[64:]]
)
def test_broken_parquet_is_one_failed_row(tmp_path, damage):
    data = parquet(image=pa.array([PNG, JPEG, PNG]))
    batch = rows(fill(tmp_path, {"x.parquet": damage(data), "y.parquet": data}))
    assert batch.rows["status"] == ["failed", "ok", "ok", "ok"]
    assert batch.rows["error_type"][0] == "BrokenShardError"


def test_parquet_without_rows(tmp_path):
    (unit,) = read_units(list_shards(fill(tmp_path, {"x.parquet": parquet(image=pa.array([], pa.binary()))}))[0])
    assert unit.last and len(unit.batch) == 0


# S3 -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "files",
    [
        {"a.png": PNG, "s/b.png": PNG, "s/b.json": b"{}"},
        {"0.tar": tar([("a.png", PNG), ("b.jpg", JPEG)]), "1.tar": tar([("a.png", PNG)])[:700]},
        {"0.parquet": parquet(key=["a", "b"], image=pa.array([PNG, JPEG]))},
    ],
    ids=["images", "tar", "parquet"],
)
def test_s3_gives_the_same_rows_as_disk(tmp_path, bucket, s3_config, files):
    storage = open_storage(f"s3://{bucket}/in", s3_config)
    for name, data in files.items():
        storage.write(name, data)
    local, remote = rows(fill(tmp_path, files)), rows(f"s3://{bucket}/in", s3_config)
    for name in local.rows:
        if name not in ("source", "error_message"):
            assert list(local.rows[name]) == list(remote.rows[name]), name
    assert all(source.startswith(f"s3://{bucket}/in/") for source in remote.rows["source"])


def test_s3_globs_single_objects_and_nothing(bucket, s3_config):
    storage = open_storage(f"s3://{bucket}", s3_config)
    storage.write("in/a.png", PNG)
    storage.write("in/b.jpg", JPEG)
    assert rows(f"s3://{bucket}/in/*.jpg", s3_config).rows["key"] == ["b"]
    assert rows(f"s3://{bucket}/in/a.png", s3_config).rows["key"] == ["a"]
    with pytest.raises(SourceError, match="no images"):
        list_shards(f"s3://{bucket}/nothing", s3_config)
    with pytest.raises(SourceError, match="name of the bucket"):
        list_shards("s3://buck*/x", s3_config)


@pytest.mark.parametrize("kind", ["tar", "parquet", "images"])
def test_a_failing_store_is_no_broken_shard(bucket, s3_config, fault_proxy, kind):
    data = {"tar": tar([("a.png", PNG)]), "parquet": parquet(image=pa.array([PNG])), "images": PNG}[kind]
    name = {"tar": "x.tar", "parquet": "x.parquet", "images": "x.png"}[kind]
    open_storage(f"s3://{bucket}", s3_config).write(name, data)
    config = StorageConfig(endpoint=fault_proxy.endpoint, attempts=2)
    shard = list_shards(f"s3://{bucket}", config)[0]
    fault_proxy.cut, fault_proxy.keep = 100, 0.0
    with pytest.raises(StorageError, match="run again"):
        list(read_units(shard, config))
    fault_proxy.cut = 1
    assert [row for unit in read_units(shard, config) for row in unit.batch.rows["status"]] == ["ok"]


def test_rows_survive_json(tmp_path):
    uri = fill(tmp_path, {"a.png": PNG, "a.json": b"\xff{not json", "b.png": PNG, "b.json": json.dumps(["x"]).encode()})
    batch = rows(uri)
    assert batch.rows["meta_json"] == ["\\xff{not json", '["x"]'] and batch.rows["subject"] == ["", ""]


def test_side_folders_without_pictures_and_empty_shards_are_refused(tmp_path):
    uri = fill(tmp_path, {"a.png": PNG})
    for name in ("masks", "truths"):
        with pytest.raises(SourceError, match=f"source.{name}: no pictures"):
            list_shards(uri, config=SourceConfig(**{name: str(tmp_path / "nowhere")}))
    with pytest.raises(ValueError, match="images_per_shard must be at least 1"):
        SourceConfig(images_per_shard=0)
