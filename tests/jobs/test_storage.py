"""Local disk and S3 do the same, and say clearly what is wrong."""

import io
import os
import pickle
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest

from jobs import s3
from jobs.storage import LocalStorage, ObjectError, Storage, StorageConfig, StorageError, open_storage
from tests.jobs.conftest import AWS


@pytest.fixture(params=["disk", "s3"])
def storage(request, tmp_path) -> Storage:
    if request.param == "disk":
        return open_storage(tmp_path / "root")
    bucket = request.getfixturevalue("bucket")
    return open_storage(f"s3://{bucket}/some/prefix/", request.getfixturevalue("s3_config"))


def test_write_read_list_delete(storage):
    assert list(storage.list()) == [] and not storage.exists("a/b")
    for key in ("b", "a/ü c.png", "a/b", "a.x", "B"):
        storage.write(key, key.encode())
    assert [info.key for info in storage.list()] == ["B", "a.x", "a/b", "a/ü c.png", "b"]
    assert [(info.key, info.bytes) for info in storage.list("a/")] == [("a/b", 3), ("a/ü c.png", 10)]
    assert [info.key for info in storage.list("a")] == ["a.x", "a/b", "a/ü c.png"]
    assert storage.read("a/ü c.png") == "a/ü c.png".encode()
    assert storage.exists("a/b") and not storage.exists("a")
    storage.delete("a/b")
    storage.delete("a/b")
    assert not storage.exists("a/b")


def test_write_replaces_and_write_if_absent_does_not(storage):
    assert storage.write_if_absent("x/y", b"1")
    assert not storage.write_if_absent("x/y", b"2")
    assert not storage.write_if_absent("x/y", b"1")
    assert storage.read("x/y") == b"1"
    storage.write("x/y", b"3", durable=False)
    storage.flush()
    assert storage.read("x/y") == b"3"
    assert [info.key for info in storage.list()] == ["x/y"]


def test_limited_empty_and_streamed_reads(storage):
    data = os.urandom(3 * 1024 * 1024)
    storage.write("big", data)
    storage.write("empty", b"")
    assert storage.read("big", 10) == data[:10] and storage.read("big") == data
    assert storage.read("empty") == b"" and storage.read("empty", 5) == b""
    with storage.open("big") as file:
        assert file.read(1000) == data[:1000]
        file.seek(-5, io.SEEK_END)
        assert file.read() == data[-5:]
        file.seek(2_000_000)
        assert file.read(7) == data[2_000_000:2_000_007] and file.tell() == 2_000_007
    with storage.open("empty") as file:
        assert file.read() == b""


def test_a_missing_object_is_named(storage):
    with pytest.raises(ObjectError, match=r"nope/x: no such"):
        storage.read("nope/x")
    with pytest.raises(ObjectError, match=r"nope/x: no such"):
        storage.open("nope/x").read()


def test_goes_to_other_processes(storage):
    storage.write("k", b"v")
    # Ray sends it this way; the bytes are made on this line
    assert pickle.loads(pickle.dumps(storage)).read("k") == b"v"


def test_one_of_many_writers_wins(storage):
    won = []
    threads = [
        threading.Thread(target=lambda i=i: won.append(i) if storage.write_if_absent("one", str(i).encode()) else None)
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and storage.read("one") == str(won[0]).encode()


# disk -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a\0b"])
def test_disk_keys_stay_below_the_root(tmp_path, key):
    storage = LocalStorage(str(tmp_path / "root"))
    for call in (lambda: storage.write(key, b""), lambda: storage.read(key), lambda: storage.delete(key)):
        with pytest.raises(ValueError, match="is no key below"):
            call()


def test_disk_waits_for_the_disk_unless_told_otherwise(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(os, "sync", lambda: synced.append("all"))
    storage = open_storage(tmp_path)
    storage.write("a", b"", durable=False)
    assert synced == []
    storage.flush()
    assert synced == ["all"]
    storage.write("a", b"")
    assert len(synced) == 3  # the file and its folder
    storage.write_if_absent("b", b"")
    assert len(synced) == 5
    quick = open_storage(tmp_path, StorageConfig(fsync=False))
    quick.write("a", b"")
    quick.flush()
    assert len(synced) == 5


def test_disk_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    storage = open_storage(tmp_path)
    storage.write("a", b"old")

    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match="No space left"):
        storage.write("a", b"new")
    assert storage.read("a") == b"old" and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_disk_listing_skips_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".tmp-123").write_bytes(b"half")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "real").write_bytes(b"x")
    storage = open_storage(f"file://{tmp_path}")
    assert [info.key for info in storage.list()] == ["gone", "real"]
    with pytest.raises(ObjectError, match="gone: no such file"):
        storage.read("gone")
    with pytest.raises(ObjectError, match="not a regular file"):
        storage.read("pipe")


def test_disk_permission_denied(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")

    def refuse(self, *arguments):  # root, as in a container, would be let in whatever the mode
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ObjectError, match="a: permission denied, check its owner and mode"):
        open_storage(tmp_path).read("a")


def test_disk_a_file_where_a_folder_is_needed(tmp_path):
    storage = open_storage(tmp_path)
    storage.write("a", b"x")
    with pytest.raises(StorageError, match="a file is where a folder is needed"):
        storage.write("a/b", b"y")


# S3 -------------------------------------------------------------------------------------------------------------------
def test_s3_lists_beyond_one_page(bucket, s3_config):
    storage = open_storage(f"s3://{bucket}", s3_config)
    for i in range(7):
        storage.write(f"{i:05d}", b"")
    client = s3._client(s3_config, os.getpid())
    whole = client.list_objects_v2
    client.list_objects_v2 = lambda **query: whole(**query, MaxKeys=3)
    assert [info.key for info in storage.list()] == [f"{i:05d}" for i in range(7)]


def test_s3_folder_markers_are_no_objects(bucket, s3_config):
    storage = open_storage(f"s3://{bucket}", s3_config)
    storage.write("p/", b"")
    storage.write("p/x", b"1")
    assert [info.key for info in open_storage(f"s3://{bucket}/p", s3_config).list()] == ["x"]


def test_s3_a_cut_body_goes_on_where_it_stopped(bucket, s3_config, fault_proxy):
    data = os.urandom(3_000_000)
    open_storage(f"s3://{bucket}", s3_config).write("big", data)
    storage = open_storage(f"s3://{bucket}", StorageConfig(endpoint=fault_proxy.endpoint))
    fault_proxy.cut = 3
    assert storage.read("big") == data
    assert fault_proxy.ranges[0] is None and all(value.startswith("bytes=") for value in fault_proxy.ranges[1:])
    fault_proxy.cut = 3
    with storage.open("big") as file:
        assert file.read() == data
    assert fault_proxy.cut == 0


def test_s3_gives_up_with_a_clear_message(bucket, s3_config, fault_proxy):
    open_storage(f"s3://{bucket}", s3_config).write("big", os.urandom(100_000))
    storage = open_storage(f"s3://{bucket}", StorageConfig(endpoint=fault_proxy.endpoint, attempts=2))
    fault_proxy.cut, fault_proxy.keep = 100, 0.0
    with pytest.raises(StorageError, match=rf"s3://{bucket}/big: reading stopped at byte 0 of 100000 in 2 attempts.*run again"):
        storage.read("big")


def test_s3_slow_down_is_retried(bucket, fault_proxy):
    storage = open_storage(f"s3://{bucket}", StorageConfig(endpoint=fault_proxy.endpoint))
    fault_proxy.refuse = 2
    storage.write("a", b"1")
    assert fault_proxy.refuse == 0 and storage.read("a") == b"1"
    fault_proxy.refuse = 1
    assert storage.write_if_absent("b", b"1")


def test_s3_a_write_whose_answer_was_lost_counts_as_written(bucket, s3_config):
    storage = open_storage(f"s3://{bucket}", s3_config)
    client = s3._client(s3_config, os.getpid())
    put, calls = client.put_object, []

    def lossy(**arguments):
        calls.append(put(**arguments))
        client.put_object = put
        raise s3.aws.ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")

    client.put_object = lossy
    assert storage.write_if_absent("k", b"mine") and len(calls) == 1


def test_s3_an_object_that_changes_while_it_is_read(bucket, s3_config):
    storage = open_storage(f"s3://{bucket}", s3_config)
    storage.write("k", bytes(3_000_000))
    with storage.open("k") as file:
        file.read(10)
        storage.write("k", bytes(range(256)) * 10_000)
        with pytest.raises(StorageError, match="changed while it was read"):
            file.seek(2_500_000)
            file.read(10)


def test_s3_missing_bucket(s3_config):
    storage = open_storage("s3://no-such-bucket-here/p", s3_config)
    for call in (lambda: list(storage.list()), lambda: storage.write("k", b""), lambda: storage.read("k")):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket-here/p.*no such bucket: create it"):
            call()


def test_s3_no_credentials(s3_config, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match="no usable credentials: set AWS_ACCESS_KEY_ID"):
        open_storage("s3://bucket", s3_config).read("k")


def test_s3_unknown_profile(s3_endpoint):
    with pytest.raises(StorageError, match="no profile 'nobody'"):
        open_storage("s3://bucket", StorageConfig(endpoint=s3_endpoint, profile="nobody")).read("k")


def test_s3_unreachable():
    config = StorageConfig(endpoint="http://127.0.0.1:9", attempts=2, connect_timeout_s=1.0)
    with pytest.raises(StorageError, match=r"cannot reach http://127.0.0.1:9 .*check the endpoint"):
        open_storage("s3://bucket", config).read("k")


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "lack permission"),
        (400, "ExpiredToken", "have expired: renew"),
        (403, "InvalidAccessKeyId", "access key is unknown"),
        (403, "SignatureDoesNotMatch", "secret key does not fit"),
        (403, "RequestTimeTooSkewed", "clock is wrong"),
        (418, "Teapot", r"answered Teapot \(HTTP 418\)"),
    ],
)
def test_s3_errors_say_what_to_do_and_no_secret(status, code, advice):
    key = AWS["AWS_ACCESS_KEY_ID"]
    body = f"<Error><Code>{code}</Code><Message>{key} sig</Message><AWSAccessKeyId>{key}</AWSAccessKeyId></Error>".encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = StorageConfig(endpoint=f"http://127.0.0.1:{server.server_port}", attempts=1)
    try:
        with pytest.raises(StorageError, match=f"s3://bucket/k: .*{advice}") as caught:
            open_storage("s3://bucket", config).read("k")
    finally:
        server.shutdown()
        server.server_close()
    printed = "".join(traceback.format_exception(caught.value))
    assert key not in printed and AWS["AWS_SECRET_ACCESS_KEY"] not in printed


# opening --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://bucket/x", "gs:// is not supported"),
        ("s3://", "names no bucket"),
        ("s3://id:hush@bucket/x", "contains credentials"),
    ],
)
def test_uris_that_are_refused(uri, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_storage(uri)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "message"), [("http://id:hush@host", "contains credentials"), ("host:9000", "expected http://host:port")]
)
def test_endpoints_that_are_refused(endpoint, message):
    with pytest.raises(ValueError, match=message) as caught:
        StorageConfig(endpoint=endpoint)
    assert "hush" not in str(caught.value)


def test_objects_carry_their_type_so_that_a_browser_shows_them(bucket, s3_config, s3_endpoint):
    storage = open_storage(f"s3://{bucket}", s3_config)
    storage.write("report.html", b"<p>")
    storage.write("face0_mesh.obj", b"v 0 0 0")
    assert storage.write_if_absent("run.json", b"{}")
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    found = [client.head_object(Bucket=bucket, Key=key)["ContentType"] for key in ("report.html", "face0_mesh.obj", "run.json")]
    assert found == ["text/html; charset=utf-8", "model/obj", "application/json"]
