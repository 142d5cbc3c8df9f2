import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.open import open_network
from operators.checkpoints.system import Official
from operators.networks.deep3d import fold_norms
from operators.networks.inverse_rendering import PARTS, SYSTEM, find, own_name, same
from tests.official import inverse_rendering as official
from tests.official.tensorflow import write_bundle

PICTURES = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def store(tmp_path):
    return AssetStore(tmp_path / "cache")


@pytest.fixture(scope="module")
def network():
    return SYSTEM.build(Official(official.state()))


def test_the_published_folder_opens(published, store, network):
    found = open_network("inverse_rendering", str(published), store)
    with torch.inference_mode():
        for name, values in network(PICTURES).items():
            assert torch.equal(found(PICTURES)[name], values) and values.shape == (2, PARTS[name]), name


def test_every_layout_opens(tmp_path, store, network):
    layouts, key, found = official.variants(tmp_path), "conv3_1.proj.conv.weight", network
    for name, path in layouts.items():
        found = open_network("inverse_rendering", path, store)
        assert torch.equal(found.get_parameter(key), network.get_parameter(key)), name
    assert found.lengths == {"Pose": 7, "Shape": 199, "Exp": 29, "Color": 6, "Illum": 9, "Tex": 40}
    assert find(Path(layouts["training"]))[0].name == "rtl_step_1000.ckpt-2.index"


def test_keras_names_are_read():
    for key in official.state():
        if not key.startswith("stats.") and not key.endswith("num_batches_tracked"):
            assert own_name(official.keras_name(key) + ":0") == key
    assert own_name("AdamWeightDecay/conv1/7x7_s2/kernel/m") is None


@pytest.mark.parametrize(("size", "kernel", "stride"), [(224, 7, 2), (112, 3, 2), (56, 3, 1), (56, 1, 2), (57, 3, 2)])
def test_padding_is_tensorflows(size, kernel, stride):
    """https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2"""
    padded = same(torch.ones(1, 1, size, size), kernel, stride)[0, 0]
    along = max((kernel - stride) if size % stride == 0 else kernel - size % stride, 0)
    assert padded.shape == (size + along, size + along)
    assert (padded[: along // 2] == 0).all() and padded[along // 2, along // 2] == 1
    assert (padded.shape[0] - kernel) // stride + 1 == -(-size // stride)


def test_folded_norms_change_nothing(network):
    folded: Any = fold_norms(SYSTEM.build(Official(official.state())))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    with torch.inference_mode():
        found, expected = folded.normalised(PICTURES), network.normalised(PICTURES)
        alone = torch.cat([folded.normalised(p[None]) for p in PICTURES])
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert (found - alone).norm() < 1e-5 * expected.norm()


def test_normalisation_is_taken_off(network):
    with torch.inference_mode():
        parts, raw = network(PICTURES), network.normalised(PICTURES)
    state = official.state()
    at = 6 + 100
    assert torch.allclose(parts["Exp"], raw[:, at : at + 79] * state["stats.Exp_std"] + state["stats.Exp_mean"], atol=1e-6)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return Path(official.write(tmp_path_factory.mktemp("published")))


def spoiled(published, path, how):
    shutil.copytree(published, path)
    data = path / "variables" / "variables.data-00000-of-00001"
    index = path / "variables" / "variables.index"
    if how == "no data":
        data.unlink()
    elif how == "short data":
        data.write_bytes(data.read_bytes()[:-100_000])
    elif how == "short index":
        index.write_bytes(index.read_bytes()[:-60])
    elif how == "torn index":
        raw = bytearray(index.read_bytes())
        raw[:200] = bytes([0xFF]) * 200
        index.write_bytes(raw)
    elif how == "no statistics":
        (path / "stats_80k.npz").unlink()
    elif how == "other statistics":
        official.write_statistics(path / "stats_80k.npz", official.state({**PARTS, "Shape": 199}))
    elif how == "torn statistics":
        (path / "stats_80k.npz").write_bytes(b"PK\x03\x04 not one")
    elif how == "other network":
        write_bundle(index, {"a/.ATTRIBUTES/VARIABLE_VALUE": ("dense/kernel", np.zeros((2, 3)))})
    elif how == "lacks a layer":
        kept = {key: value for key, value in official.variables(official.state()).items() if value[0] != "fc/bias"}
        write_bundle(index, kept)
    elif how == "no model":
        shutil.rmtree(path / "variables")
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no data", "no such file"),
        ("short data", "cut short"),
        ("short index", "damaged, cut short or another kind"),
        ("torn index", "damaged, cut short or another kind"),
        ("no statistics", "stats_80k.npz"),
        ("other statistics", "Shape 199"),
        ("torn statistics", "Pose_Para_mean"),
        ("other network", "none of them"),
        ("lacks a layer", "last layer"),
        ("no model", "variables/variables.index"),
    ],
)
def test_wrong_files_are_one_clear_error(published, tmp_path, store, how, said):
    with pytest.raises(CheckpointError, match=r"expected .* found") as caught:
        open_network("inverse_rendering", str(spoiled(published, tmp_path / "model", how)), store)
    assert said in str(caught.value)
