"""The whole job, real operators and all, on an S3 interface: tars and Parquet in, results in a bucket."""

import io
import json
import tarfile
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import OK, STORAGE, USAGE
from jobs.ray_binding import ray_session
from jobs.reconstruct import main as reconstruct
from jobs.storage import LocalStorage, Storage, open_storage
from operators.images import encode
from operators.morphable.bases import load_basis
from operators.portrait import PortraitMaker
from tests.jobs.conftest import AWS
from tests.masked_people import masked

PEOPLE = 3


@pytest.fixture(scope="module")
def pictures() -> list[tuple[bytes, bytes]]:
    """Drawn portraits with a mask on: the picture and where the mask is, both as PNG."""
    maker = PortraitMaker(load_basis("open_face"), size=256, texture_px=128)
    drawn = []
    for seed in range(PEOPLE):
        person = masked(maker(seed), seed)
        drawn.append((encode(person.image, "PNG"), encode(person.hole, "PNG")))
    return drawn


def tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture(scope="module")
def shards(pictures) -> dict[str, bytes]:
    """Two tars: one with a picture that brings its own mask, one with a JSON and a broken picture."""
    names = {f"person{i}.png": image for i, (image, _) in enumerate(pictures)}
    first = {name: names[name] for name in ("person0.png", "person1.png")}
    first["person1.mask.png"] = pictures[1][1]
    second = {"person2.png": names["person2.png"], "person2.json": b'{"subject": "nobody"}', "broken.png": b"\x89PNG no more"}
    return {"a.tar": tar(first), "b.tar": tar(second)}


@pytest.fixture
def source(bucket, s3_config, shards) -> str:
    """URI of the shards in a bucket."""
    uri = f"s3://{bucket}/shards"
    storage = open_storage(uri, s3_config)
    for name, data in shards.items():
        storage.write(name, data)
    return uri


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    from jobs.job_configs import ReconstructConfig

    # Ray's workers have the environment that it was started in.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        with ray_session(ReconstructConfig().execution):
            yield


@pytest.fixture(scope="module")
def on_disk(shards, tmp_path_factory) -> dict[str, bytes]:
    """What the plain loop makes of the same shards on local disk."""
    folder = tmp_path_factory.mktemp("disk")
    for name, data in shards.items():
        LocalStorage(str(folder / "shards")).write(name, data)
    assert job(str(folder / "shards"), str(folder / "out")) == OK
    return content(LocalStorage(str(folder / "out")))


def job(source: str, output: str, *more: str) -> int:
    fixed = ["--execution.kind", "inline", "--storage.fsync", "false", "--execution.write_threads", "2"]
    return reconstruct(["--input", source, "--output", output, *fixed, *more])


def content(storage: Storage) -> dict[str, bytes]:
    """Everything that must not depend on where results go, or how often the job was stopped."""
    own = ("run.json", "inputs.json", "report.html")
    keys = [item.key for item in storage.list() if item.key not in own and not item.key.startswith("timings/")]
    return {key: storage.read(key) for key in keys}


def rows(found: dict[str, bytes]) -> list[dict]:
    manifests = [data for key, data in sorted(found.items()) if key.startswith("manifest/")]
    return [row for data in manifests for row in pq.read_table(pa.BufferReader(data)).to_pylist()]


def test_a_bucket_gets_what_a_folder_gets(source, bucket, s3_endpoint, s3_config, on_disk, local_ray, capfd):
    output = f"s3://{bucket}/out"
    assert job(source, output, "--storage.endpoint", s3_endpoint, "--execution.kind", "fused") == OK
    found = content(open_storage(output, s3_config))
    assert without_source(found) == without_source(on_disk)
    told = capfd.readouterr()
    assert output in told.out and AWS["AWS_SECRET_ACCESS_KEY"] not in told.out + told.err
    record = open_storage(output, s3_config).read("run.json").decode()
    assert s3_endpoint in record and AWS["AWS_SECRET_ACCESS_KEY"] not in record


def without_source(found: dict[str, bytes]) -> dict[str, object]:
    """The same without where an image was read from, which differs on purpose."""
    plain: dict[str, object] = {k: v for k, v in found.items() if k.partition("/")[0] in ("images", "artifacts")}
    assert len(plain) > 10 * PEOPLE
    return plain | {"rows": [repr({k: v for k, v in row.items() if k != "source"}) for row in rows(found)]}  # NaN == NaN


def test_every_picture_is_restored_and_the_broken_one_says_why(on_disk):
    by_key = {row["key"]: row for row in rows(on_disk)}
    assert {key: row["status"] for key, row in by_key.items() if key != "broken"} == {f"person{i}": "ok" for i in range(PEOPLE)}
    assert (by_key["broken"]["status"], by_key["broken"]["error_operator"]) == ("failed", "ImageDecoder")
    assert by_key["person2"]["subject"] == "nobody"
    assert all(row["faces"][0]["mask_coverage"] > 0.15 for key, row in by_key.items() if key != "broken")


def test_a_lost_commit_is_done_again_and_nothing_else(source, bucket, s3_endpoint, s3_config, capfd):
    output, where = f"s3://{bucket}/out", ("--storage.endpoint", s3_endpoint)
    assert job(source, output, *where) == OK
    storage = open_storage(output, s3_config)
    before = content(storage)
    storage.delete("commits/b/00000.last.json")
    stamps = {item.key for item in storage.list("timings/")}
    for key in stamps:
        storage.delete(key)
    assert job(source, output, *where) == OK
    assert content(storage) == before
    assert [item.key for item in storage.list("timings/")] == ["timings/b/00000.json"]
    assert json.loads(storage.read("run.json"))["summary"]["units_skipped"] == 1
    capfd.readouterr()
    assert job(source, output, *where, "--hole.margin", "0.1") == USAGE
    assert "hole.margin" in capfd.readouterr().err
    assert content(storage) == before


def test_parquet_in_a_bucket_is_read_and_its_report_carries_the_pictures(pictures, bucket, s3_endpoint, s3_config, on_disk):
    table = pa.table({"key": ["person0"], "picture": pa.array([pictures[0][0]], pa.binary())})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    open_storage(f"s3://{bucket}", s3_config).write("table/a.parquet", stream.getvalue())
    output = f"s3://{bucket}/out"
    options = ("--storage.endpoint", s3_endpoint, "--source.image_column", "picture")
    assert job(f"s3://{bucket}/table", output, *options) == OK
    found = content(open_storage(output, s3_config))
    assert found["images/a/person0.png"] == on_disk["images/a/person0.png"], "the container does not matter"
    page = open_storage(output, s3_config).read("report.html").decode()
    assert 'src="data:image/jpeg;base64,' in page and 'src="artifacts' not in page and AWS["AWS_SECRET_ACCESS_KEY"] not in page


@pytest.mark.parametrize(
    ("place", "environment", "said"),
    [
        ("s3://no-such-bucket-here/shards", {}, "no such bucket"),
        ("s3://{bucket}/elsewhere", {}, "no images"),
        ("s3://{bucket}/shards", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no usable credentials"),
    ],
)
def test_trouble_with_the_store_is_told_in_one_line(place, environment, said, source, bucket, s3_endpoint, monkeypatch, capfd):
    for name in environment:
        monkeypatch.delenv(name)
    code = job(place.format(bucket=bucket), f"s3://{bucket}/out", "--storage.endpoint", s3_endpoint)
    told = capfd.readouterr().err
    assert code == STORAGE and said in told and AWS["AWS_SECRET_ACCESS_KEY"] not in told
    assert told.startswith("error: ") and "Traceback" not in told


def test_an_unreachable_store_is_told_within_seconds(bucket, capfd):
    code = job("s3://bucket/a", "s3://bucket/b", "--storage.endpoint", "http://127.0.0.1:1", "--storage.attempts", "1")
    assert code == STORAGE and "cannot reach http://127.0.0.1:1" in capfd.readouterr().err
