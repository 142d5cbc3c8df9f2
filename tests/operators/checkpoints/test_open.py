from pathlib import Path

import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints import loading
from operators.checkpoints import open as opening
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import sha256_of_file
from operators.checkpoints.system import drawn
from tests.operators.checkpoints.made_up import KNOWN, TINY, network


@pytest.fixture(autouse=True)
def _known_systems(monkeypatch):
    monkeypatch.setattr(loading, "systems", lambda: KNOWN)
    monkeypatch.setattr(opening, "system_of", KNOWN.__getitem__)


@pytest.fixture
def store(tmp_path) -> AssetStore:
    return AssetStore(tmp_path / "cache")


@pytest.fixture
def file(tmp_path) -> Path:
    torch.save({"net": drawn(network(), seed=3)}, tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


def test_official_files_are_converted_once(file, store):
    made = opening.open_network("tiny", str(file), store)
    assert torch.equal(made[0].weight, drawn(network(), seed=3)["0.weight"])
    assert not made.training and not any(value.requires_grad for value in made.parameters())
    (converted,) = (store.root / "networks").iterdir()
    before = converted.stat().st_mtime_ns
    again = opening.open_network("tiny", str(file.parent), store)
    assert converted.stat().st_mtime_ns == before
    assert torch.equal(again[0].weight, made[0].weight)


def test_the_converted_file_says_what_it_is(file, store):
    path = opening.convert(TINY, file, store, "mine")
    from safetensors import safe_open

    with safe_open(path, framework="pt") as converted:
        about = converted.metadata()
    assert about["system"] == "tiny" and about["licence"] == "Tiny-NC" and about["source"] == "https://example.org"
    assert sha256_of_file(file) in about["files"] and about["source_sha256"] == sha256_of_file(file)
    assert opening.read_converted(TINY, path).settings == {"scale": 2}
    for checkpoint in ("mine", str(path), str(file)):
        assert opening.identity("tiny", checkpoint, store) == sha256_of_file(file)
        assert torch.equal(opening.open_network("tiny", checkpoint, store)[0].weight, drawn(network(), seed=3)["0.weight"])


def test_a_changed_file_is_another_checkpoint(file, store):
    opening.open_network("tiny", str(file), store)
    first = opening.identity("tiny", str(file), store)
    torch.save({"net": drawn(network(), seed=4)}, file)
    assert opening.identity("tiny", str(file), store) != first
    assert torch.equal(opening.open_network("tiny", str(file), store)[0].weight, drawn(network(), seed=4)["0.weight"])


def test_no_checkpoint_says_what_to_do(store, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"expected a checkpoint of Tiny \(Nobody 2020\), found none: set checkpoint to tiny.pth"
    ):
        opening.open_network("tiny", "", store)
    with pytest.raises(
        CheckpointError, match=r"nothing: expected tiny.pth, found no such path, and no converted network of that name"
    ):
        opening.open_network("tiny", "nothing", store)
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=r"folder: expected tiny.pth, found an empty folder: give a folder with tiny.pth"):
        opening.open_network("tiny", str(tmp_path / "folder"), store)


def test_a_converted_network_of_another_system_is_refused(file, store):
    path = opening.convert(TINY, file, store, "mine")
    with pytest.raises(CheckpointError, match=r"expected a checkpoint of Other \(Somebody 2021\), found one of tiny"):
        opening.open_network("other", str(path), store)


def test_nothing_is_written_when_a_file_does_not_fit(tmp_path, store):
    torch.save({"net": {"0.weight": torch.ones(4, 3, 3, 3)}}, tmp_path / "tiny.pth")
    with pytest.raises(CheckpointError, match=r"tiny\.pth: expected the 6 tensors of Tiny, found 1 tensors, 5 missing"):
        opening.open_network("tiny", str(tmp_path / "tiny.pth"), store)
    assert not (store.root / "networks").exists()
