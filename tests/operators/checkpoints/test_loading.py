from pathlib import Path

import pytest
import torch

from operators.checkpoints import loading
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.loading import fill
from operators.checkpoints.system import drawn
from tests.operators.checkpoints.made_up import KNOWN, network


@pytest.fixture(autouse=True)
def _known_systems(monkeypatch):
    monkeypatch.setattr(loading, "systems", lambda: KNOWN)


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
