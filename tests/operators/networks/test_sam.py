import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from segment_anything import sam_model_registry

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.open import open_network
from operators.checkpoints.system import Official
from operators.networks.sam import SYSTEM, VIT_B, build, empty, sizes_in, sizes_of
from tests.conformance.fixture import FIXTURES
from tests.official import sam as official


def shapes(state):
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_the_sizes_of_the_published_models_follow_from_their_shapes(name):
    with torch.device("meta"):
        theirs = sam_model_registry[name](checkpoint=None)
    sizes = sizes_of(theirs.state_dict())
    assert sizes.name == name and sizes.image == 1024 and sizes.window == 14
    assert tuple(i for i, block in enumerate(theirs.image_encoder.blocks) if not block.window_size) == sizes.global_blocks
    attention: Any = theirs.image_encoder.blocks[0].attn
    assert attention.num_heads == sizes.heads


def test_vit_b_has_the_official_keys():
    spec = json.loads((FIXTURES / "sam" / "spec.json").read_text())
    described = spec["networks"]["sam_vit_b_keys_only"]
    ours = empty(VIT_B)
    assert shapes(ours.state_dict()) == {key: tuple(shape) for key, shape, _ in described["keys"]}
    assert sum(parameter.numel() for parameter in ours.parameters()) == described["n_params"]


@pytest.mark.parametrize(
    "sizes",
    [
        official.TINY,
        replace(official.TINY, window=8, global_blocks=(0, 1, 2)),
        replace(
            official.TINY, image=96, mlp=50, heads=4, masks=2, decoder_depth=1, decoder_reduction=1, iou_depth=2, iou_width=12
        ),
        replace(official.TINY, window=14, global_blocks=(0, 2), channels=64, mask_channels=8, decoder_mlp=24),
    ],
)
def test_any_sizes_are_found_again(sizes):
    weights = official.state(sizes)
    built = build(Official(weights))
    found = sizes_in(built)
    # Windows as large as the grid are the whole grid.
    assert found == (sizes if sizes.window != 8 else replace(sizes, window=0))
    loaded = built.state_dict()
    assert loaded.keys() == weights.keys() and all(torch.equal(loaded[key], value) for key, value in weights.items())
    assert not built.training and not any(parameter.requires_grad for parameter in built.parameters())
    assert built.get_buffer("pixel_mean").flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


def test_every_layout_gives_the_same_weights(tmp_path):
    store, wanted = AssetStore(tmp_path / "cache"), official.state()
    (tmp_path / "official").mkdir()
    files = {"published": official.write(tmp_path / "official"), **official.variants(tmp_path)}
    for layout, checkpoint in files.items():
        loaded = open_network("sam", checkpoint, store).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in wanted.items()), layout


def test_half_precision_files_become_float32(tmp_path):
    torch.save({key: value.half() for key, value in official.state().items()}, tmp_path / "half.pth")
    loaded = open_network("sam", str(tmp_path / "half.pth"), AssetStore(tmp_path / "cache")).state_dict()
    assert {value.dtype for value in loaded.values()} == {torch.float32}


def broken(path: Path, change) -> str:
    weights = official.state()
    torch.save(change(weights) or weights, path)
    return str(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("mask_decoder.iou_token.weight") is None, "missing.*iou_token"),
        (lambda w: w.pop("image_encoder.blocks.0.attn.rel_pos_h") is None, "missing"),
        (lambda w: w.update({"mask_decoder.hf_token.weight": torch.zeros(1, 32)}), "unknown.*hf_token"),
        (lambda w: w.update({"image_encoder.neck.2.weight": torch.zeros(32, 32, 1, 1)}), "other shapes.*neck.2.weight"),
        (lambda w: w.update({"mask_decoder.transformer.layers.99999999.norm1.bias": torch.zeros(32)}), "unknown.*99999999"),
        (lambda w: w.update({"image_encoder.pos_embed": torch.zeros(1).expand(1, 8, 8, 1 << 40)}), "pos_embed"),
        (lambda w: {"weights": 3}, "expected tensors by name"),
        (lambda w: [1, 2], "expected tensors by name"),
    ],
)
def test_a_file_that_does_not_fit_says_what_is_wrong(tmp_path, change, said):
    checkpoint = broken(tmp_path / "sam_vit_b.pth", change)
    with pytest.raises(CheckpointError, match=rf"(?s)sam_vit_b.pth.*{said}"):
        open_network("sam", checkpoint, AssetStore(tmp_path / "cache"))


def test_a_truncated_file_is_a_checkpoint_error(tmp_path):
    path = Path(official.write(tmp_path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        open_network("sam", str(path), AssetStore(tmp_path / "cache"))


def test_a_folder_with_several_files_asks_for_one(tmp_path):
    for name in ("sam_vit_b_01ec64.pth", "sam_vit_h_4b8939.pth"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"sam_vit_b_01ec64.pth, sam_vit_h_4b8939.pth: set checkpoint to the file"):
        SYSTEM.find(tmp_path)
