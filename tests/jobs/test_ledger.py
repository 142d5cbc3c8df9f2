import pytest

from jobs.ledger import Done, LedgerError, commit_name, committed, differences, image_name, open_run
from jobs.storage import StorageConfig, open_storage


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path), StorageConfig(fsync=False))


def test_one_listing_tells_what_is_done(storage):
    for shard, part, last in (("a", 0, False), ("a", 1, True), ("b", 0, False), ("c", 1, True), ("d", 123456, False)):
        storage.write(commit_name(shard, part, last), b"{}")
    storage.write("commits/a/readme.txt", b"")
    done = committed(storage)
    assert done == {"a": Done({0, 1}, 1), "b": Done({0}), "c": Done({1}, 1), "d": Done({123456})}
    assert [name for name in done if done[name].complete] == ["a"]


def test_the_first_run_claims_the_output_and_others_are_told_the_difference(storage):
    open_run(storage, {"fingerprint": "1", "identity": {"config": {"detect": {"max_faces": 3}}, "operators": {"detect": "x@1"}}})
    open_run(storage, {"fingerprint": "1", "identity": {}})
    with pytest.raises(LedgerError) as caught:
        open_run(
            storage, {"fingerprint": "2", "identity": {"config": {"detect": {"max_faces": 4}}, "operators": {"detect": "x@2"}}}
        )
    assert "detect.max_faces: 3 -> 4" in str(caught.value)
    assert 'operators.detect: "x@1" -> "x@2"' in str(caught.value)


def test_differences_name_what_came_and_went():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": None, "e": 3}}) == ["a.c: 2 -> (none)", "a.e: (none) -> 3"]


def test_image_names_follow_from_the_content():
    names = [image_name("s", "k", data) for data in (b"\x89PNG\r\n", b"RIFF....WEBP", b"\xff\xd8\xff")]
    assert names == ["images/s/k.png", "images/s/k.webp", "images/s/k.jpg"]
