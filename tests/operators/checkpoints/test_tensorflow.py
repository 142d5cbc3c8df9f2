"""`data/tiny.*` was written by TensorFlow 2.15.1: a Keras model of a dense layer and a batch norm, values from 0, 10, … up."""

from pathlib import Path

import numpy as np
import pytest
import torch

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.tensorflow import read_bundle
from tests.official.tensorflow import write_bundle

TINY = Path(__file__).with_name("data") / "tiny.index"


def test_what_tensorflow_wrote():
    found = read_bundle(TINY)
    own = {name: value for name, value in found.items() if name.startswith("small")}
    assert torch.equal(own["small/kernel"], torch.arange(6.0).reshape(2, 3))
    assert torch.equal(own["small/bias"], torch.arange(3.0) + 10)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    for k, name in enumerate(names, 2):
        assert torch.equal(own[f"small/bn/{name}"], torch.arange(3.0) + 10 * k)


def test_many_blocks_and_shapes(tmp_path):
    values = {f"layer-{k:03d}/kernel": (f"dense_{k}/kernel", np.full((k % 4, 3, 2), float(k))) for k in range(70)}
    write_bundle(tmp_path / "model.index", values, entries_per_block=7)
    found = read_bundle(tmp_path / "model.index")
    assert len(found) == 70
    for name, array in values.values():
        assert np.array_equal(found[name].numpy(), array)


@pytest.mark.parametrize("keep", [0, 10, 47, 100, 400, -1])
def test_a_damaged_index_is_one_error(tmp_path, keep):
    raw = TINY.read_bytes()
    path = tmp_path / "tiny.index"
    path.write_bytes(raw[:keep])
    with pytest.raises(CheckpointError, match=r"tiny\.index: expected .* found"):
        read_bundle(path)


def test_any_byte_may_be_wrong(tmp_path):
    """Whatever is in the index, the reader ends with variables or with its own error."""
    raw, random = TINY.read_bytes(), np.random.default_rng(0)
    (tmp_path / "tiny.data-00000-of-00001").write_bytes(TINY.with_name("tiny.data-00000-of-00001").read_bytes())
    path, refused = tmp_path / "tiny.index", 0
    for _ in range(300):
        spoiled = bytearray(raw)
        for at in random.integers(0, len(raw), 3):
            spoiled[at] = random.integers(0, 256)
        path.write_bytes(bytes(spoiled))
        try:
            assert all(isinstance(value, torch.Tensor) for value in read_bundle(path).values())
        except CheckpointError:
            refused += 1
    assert refused > 50


def test_no_index_is_one_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"[Nn]o such file"):
        read_bundle(tmp_path / "none.index")
    (tmp_path / "tiny.index").write_bytes(TINY.read_bytes())
    with pytest.raises(CheckpointError, match="data-00000-of-00001"):
        read_bundle(tmp_path / "tiny.index")
