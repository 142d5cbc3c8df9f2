from pathlib import Path

import pytest
import torch
from torch import nn

from operators.assets import AssetStore
from operators.checkpoints import open as opening
from operators.checkpoints import registry
from operators.checkpoints.files import CheckpointError, read_checkpoint, sha256_of_file, state_dict_of
from operators.checkpoints.system import Official, System, drawn, files_in, fill


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))


def build(official: Official) -> nn.Module:
    return fill(network(), official.weights, "Tiny", "Tiny")


def read(files: list[Path]) -> Official:
    return Official(state_dict_of(read_checkpoint(files[0]), files[0], "net"), {"scale": 2})


TINY = System(
    name="tiny", title="Tiny (Nobody 2020)", licence="Tiny-NC", non_commercial=True, terms="research only", page="https://example.org",
    give="tiny.pth", find=lambda path: files_in(path, ["tiny.pth"], "give a folder with tiny.pth"), read=read, build=build,
    untrained=lambda: Official(drawn(network())), marks=(r"^0\.weight$", r"^1\.running_mean$"),
)  # fmt: skip
OTHER = System(
    name="other", title="Other (Somebody 2021)", licence="MIT", non_commercial=False, terms="free", page="https://example.org",
    give="other.pth", find=lambda path: [path], read=read, build=lambda official: nn.Linear(1, 1),
    untrained=lambda: Official({}), marks=(r"^encoder\.norm", r"^decoder\."),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _known_systems(monkeypatch):
    known = {"tiny": TINY, "other": OTHER}
    monkeypatch.setattr(registry, "systems", lambda: known)
    monkeypatch.setattr(opening, "system_of", known.__getitem__)


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


def test_what_does_not_fit_is_named():
    weights = drawn(network())
    weights["0.weight"] = torch.ones(4, 3, 5, 5)
    weights["2.weight"] = weights.pop("1.bias")
    expected = (
        r"a\.pth: expected the 6 tensors of Tiny, found 6 tensors, 1 missing \(1\.bias\); 1 unknown \(2\.weight\); "
        r"1 other shapes \(0\.weight is \(4, 3, 5, 5\) instead of \(4, 3, 3, 3\)\): give the official file of Tiny"
    )
    with pytest.raises(CheckpointError, match=expected):
        fill(network(), weights, Path("a.pth"), "Tiny")


def test_another_systems_file_is_recognised():
    weights = {"encoder.norm.weight": torch.ones(1), "decoder.0.weight": torch.ones(1)}
    with pytest.raises(
        CheckpointError, match=r"it looks like Other \(Somebody 2021\): use kind other, or give the official file"
    ):
        fill(network(), weights, "b.pth", "Tiny")


def test_buffers_may_be_left_out_where_the_system_allows_it():
    weights = drawn(network())
    del weights["1.num_batches_tracked"]
    filled = fill(network(), weights, "a.pth", "Tiny", may_lack=[r".*\.num_batches_tracked"])
    assert torch.equal(filled[0].weight, weights["0.weight"])
    with pytest.raises(CheckpointError, match="1 missing"):
        fill(network(), weights, "a.pth", "Tiny")
