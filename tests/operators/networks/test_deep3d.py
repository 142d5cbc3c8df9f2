import json

import numpy as np
import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.open import open_network
from operators.checkpoints.system import Official
from operators.networks.deep3d import SYSTEM, Deep3d, fold_norms
from tests.conformance.fixture import FIXTURES, Fixture
from tests.official import deep3d as official


@pytest.fixture
def store(tmp_path):
    return AssetStore(tmp_path / "cache")


@pytest.fixture(scope="module")
def small():
    return SYSTEM.build(Official(official.state(18)))


PICTURES = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_official_keys_are_ours():
    spec = Fixture(FIXTURES / "deep3d").spec["networks"]["net_recon"]
    own = {key: list(value.shape) for key, value in Deep3d().state_dict().items()}
    assert own == {key: shape for key, shape, _ in spec["keys"]} and len(own) == 332
    assert sum(p.numel() for p in Deep3d().parameters()) == spec["n_params"]


def test_the_authors_folder_opens_with_its_latest_epoch(tmp_path, store):
    network = open_network("deep3d", official.write(tmp_path), store)
    assert torch.equal(network.state_dict()["final_layers.3.weight"], official.state()["final_layers.3.weight"])
    assert [file.suffix for file in (store.root / "networks").iterdir()] == [".safetensors"]


def test_every_layout_gives_the_same_numbers(tmp_path, store, small):
    with torch.inference_mode():
        expected = small(PICTURES[:1])
        for name, path in official.variants(tmp_path).items():
            found = open_network("deep3d", path, store)(PICTURES[:1])
            assert torch.equal(found, expected) or name == "one_layer", name
            assert found.shape == (1, 257)


def test_folded_norms_change_nothing(small):
    folded = fold_norms(SYSTEM.build(Official(official.state(18))))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    with torch.inference_mode():
        found, expected = folded(PICTURES), small(PICTURES)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_batch_of_one_is_batch_of_many(small):
    with torch.inference_mode():
        alone, together = torch.cat([small(p[None]) for p in PICTURES]), small(PICTURES)
    assert (alone - together).norm() < 1e-5 * together.norm()


@pytest.mark.parametrize("spoil", ["missing", "shape", "other", "truncated", "empty", "folder", "graph", "nothing"])
def test_wrong_files_are_one_clear_error(tmp_path, store, spoil):
    path = tmp_path / "epoch_20.pth"
    state = official.state(18)
    if spoil == "missing":
        del state["final_layers.2.bias"]
    elif spoil == "shape":
        state["backbone.layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    elif spoil == "other":
        state = {"encoder.1.weight": torch.zeros(64, 4, 7, 7)}
    torch.save(official.checkpoint(state), path)
    if spoil == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    elif spoil == "empty":
        path.write_bytes(b"")
    elif spoil == "folder":
        path = tmp_path / "checkpoints"
        path.mkdir()
    elif spoil == "graph":
        path = tmp_path / "FaceReconModel.pb"
        path.write_bytes(b"\x0a\x10graph")
    elif spoil == "nothing":
        path = tmp_path / "not_there.pth"
    with pytest.raises(CheckpointError) as caught:
        open_network("deep3d", str(path), store)
    assert "expected" in str(caught.value) and "found" in str(caught.value)
    if spoil == "missing":
        assert "final_layers.2.bias" in str(caught.value)


def test_fixture_is_numbers_only():
    assert set(json.loads((FIXTURES / "deep3d" / "spec.json").read_text())) == {
        "source",
        "networks",
        "inputs",
        "geometry",
        "outputs",
    }
    with np.load(FIXTURES / "deep3d" / "expected.npz", allow_pickle=False) as file:
        assert len(file.files) > 10
