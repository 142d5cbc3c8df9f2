"""Assets are what the lock file says, or there is a message that says what to do."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from operators.assets import (
    AssetEntry,
    AssetError,
    AssetStore,
    BaseEntry,
    BaseFile,
    cache_folder,
    read_lock,
    read_networks,
    sha256_of,
)
from operators.checkpoints.registry import MODULES
from operators.networks.obtained import NETWORKS
from tests.formula_weights import alexnet_weights
from tests.tiny_tflite import tiny_network


@pytest.fixture
def tiny() -> bytes:
    return tiny_network(2.0)


@pytest.fixture
def store(tmp_path, tiny) -> AssetStore:
    entry = AssetEntry("tiny", "a test", "wheel", "tiny==1", "tiny.tflite", sha256_of(tiny), len(tiny), "tflite", "CC0", "here")
    return AssetStore(tmp_path, {"tiny": entry})


def test_the_lock_file_is_complete():
    lock = read_lock()
    assert {"blazeface_short_range", "face_mesh", "face_mesh_attention"} <= set(lock)
    for entry in lock.values():
        assert len(entry.sha256) == 64 and entry.bytes > 0 and entry.licence and entry.source
        assert "==" in entry.package if entry.kind == "wheel" else "@" in entry.package[1:] and entry.kind == "npm"
        assert len(entry.manifest_sha256) == (64 if entry.manifest else 0)


def test_networks_that_a_user_obtains_say_where_and_on_which_terms():
    networks = read_networks()
    of_metrics = {name for name, entry in networks.items() if not entry.system}
    assert {"fid_inception", "lpips_alex", "lpips_vgg", "arcface_r50"} == of_metrics == set(NETWORKS)
    assert {entry.system for entry in networks.values()} == {"", *MODULES}
    for entry in networks.values():
        assert entry.what and entry.licence and entry.terms and entry.page.startswith("https://") and entry.steps and entry.files


def test_an_installed_network_can_be_read(store, tiny):
    assert not store.has("tiny")
    store.install("tiny", tiny)
    program, weights = store.network("tiny")
    assert store.has("tiny") and [step["kind"] for step in program] == ["input", "add", "output"]
    assert [w.tolist() for w in weights.values()] == [[2.0]]


def test_what_is_missing_says_what_to_run(store):
    with pytest.raises(AssetError, match=r"python -m jobs\.assets fetch tiny"):
        store.network("tiny")
    with pytest.raises(AssetError, match="unknown asset 'nothing': expected one of tiny"):
        store.network("nothing")


def test_other_bytes_are_refused(store, tiny):
    with pytest.raises(AssetError, match="expected sha256"):
        store.install("tiny", tiny + b"x")
    assert not store.has("tiny") and list(store.root.iterdir()) == []


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:20], lambda data: b"\xff" * len(data), lambda data: data[:-1]]
)
def test_a_damaged_cache_file_says_so(store, tiny, damage):
    path = store.install("tiny", tiny)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(AssetError, match=r"cannot be read.*fetch tiny"):
        store.network("tiny")


def test_a_file_made_from_another_source_is_refused(store, tiny, tmp_path):
    other_data = tiny_network(3.0)
    other = AssetStore(tmp_path / "other", {"tiny": AssetEntry(**{**vars(store.entry("tiny")), "sha256": sha256_of(other_data)})})
    foreign = other.install("tiny", other_data)
    store.root.mkdir(exist_ok=True)
    store.path("tiny").write_bytes(foreign.read_bytes())
    with pytest.raises(AssetError, match="another file"):
        store.network("tiny")


def test_a_file_without_our_metadata_is_refused(store):
    from safetensors.torch import save_file

    save_file({"1": torch.zeros(1)}, store.path("tiny"))
    with pytest.raises(AssetError, match="fetch tiny"):
        store.network("tiny")


def test_many_may_install_at_once(store, tiny):
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: store.install("tiny", tiny), range(16)))
    assert len(paths) == 1 and [p.name for p in store.root.iterdir()] == [next(iter(paths)).name]
    store.network("tiny")


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("UNMASK_CACHE")
    assert cache_folder() == tmp_path / "b" / "unmask"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path / "c"))
    assert cache_folder() == Path(tmp_path / "c" / ".cache" / "unmask")


def alexnet_file(path: Path, **change) -> Path:
    torch.save(alexnet_weights() | change, path)
    return path


def with_networks(root: Path, *sha256: str) -> AssetStore:
    files = tuple(BaseFile("alexnet.pth", "somewhere", digits) for digits in sha256)
    entry = BaseEntry("lpips_alex", "a test", "BSD", "none", "https://example.org", ("take it",), files)
    return AssetStore(root, {}, {"lpips_alex": entry})


def test_obtained_weights_are_verified_by_the_digits_that_are_known(tmp_path):
    file = alexnet_file(tmp_path / "alexnet.pth")
    digest = sha256_of(file.read_bytes())
    store = with_networks(tmp_path / "cache", digest[:8])
    assert not store.has("lpips_alex") and store.source_sha256("lpips_alex") == ""
    assert store.install_obtained("lpips_alex", file) == digest == store.source_sha256("lpips_alex")
    weights = store.weights("lpips_alex")
    assert store.has("lpips_alex") and len(weights) == 10 and weights["net.slice1.0.weight"].shape == (64, 3, 11, 11)
    other = with_networks(tmp_path / "other", "0123abcd")
    with pytest.raises(AssetError, match="expected sha256 0123abcd…, got"):
        other.install_obtained("lpips_alex", file)
    assert not other.has("lpips_alex")
    assert other.install_obtained("lpips_alex", file, any_bytes=True) == digest


def test_weights_that_are_not_the_networks_are_refused(tmp_path):
    store = with_networks(tmp_path / "cache")
    for change, reason in (
        ({"features.0.weight": torch.zeros(64, 3, 7, 7)}, "size mismatch"),
        ({"features.0.weight": "text"}, r"has no 'features\.0"),
    ):
        with pytest.raises(AssetError, match=reason):
            store.install_obtained("lpips_alex", alexnet_file(tmp_path / "alexnet.pth", **change))
    torch.save({"something.else": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(AssetError, match=r"has no 'features\.0"):
        store.install_obtained("lpips_alex", tmp_path / "other.pth")
    assert not store.has("lpips_alex")


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_no_pickle_is_ever_run(tmp_path):
    torch.save({"features.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(AssetError, match="expected tensors by name at 'state_dict', found dict"):
        with_networks(tmp_path / "cache").install_obtained("lpips_alex", tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()
