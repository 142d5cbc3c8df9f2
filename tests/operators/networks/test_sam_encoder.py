import pytest
import torch

from operators.networks import sam_encoder as subject
from operators.networks.sam import sizes_in
from operators.networks.sam_encoder import ImageEncoder, at_side, attend_fused, attend_in_cache
from tests.fake_gpu import DEVICE, fake_gpu, move, moved
from tests.official import sam as official


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def plain_attention(q, k, v, table_h, table_w, scale):
    """Every bias of the table written out, in float64."""
    q, k, v, table_h, table_w = (x.double() for x in (q, k, v, table_h, table_w))
    rows, columns = len(table_h), len(table_w)
    scores = q @ k.mT * scale
    for i in range(rows * columns):
        for j in range(rows * columns):
            along_h, along_w = table_h[i // columns, j // columns], table_w[i % columns, j % columns]
            scores[:, i, j] += (q[:, i] * (along_h + along_w)).sum(-1)
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("attend", [attend_in_cache, attend_fused])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 5)])
@pytest.mark.parametrize("cached", [1, 64, 1 << 19])
def test_attention_is_softmax_with_a_bias_by_row_and_by_column(monkeypatch, attend, rows, columns, cached):
    monkeypatch.setattr(subject, "_CACHED", cached)
    monkeypatch.setattr(subject, "_HEADS", 2)
    q, k, v = noise(3, 5, rows * columns, 8)
    tables = noise(rows, rows, 8), noise(columns, columns, 8) / 2
    assert difference(attend(q, k, v, *tables, 0.3).double(), plain_attention(q, k, v, *tables, 0.3)) < 1e-6


@pytest.mark.parametrize("fused", [False, True])
def test_embeddings_are_those_of_the_package(monkeypatch, fused):
    if fused:
        monkeypatch.setattr(subject, "attend_in_cache", attend_fused)
    encoder, pixels = official.network().image_encoder, noise(2, 3, 128, 128)
    with torch.inference_mode():
        assert difference(ImageEncoder(encoder)(pixels), encoder(pixels)) < 1e-6


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
def test_half_precision_comes_close(dtype, limit):
    encoder, pixels = official.network().image_encoder, noise(1, 3, 128, 128)
    with torch.inference_mode():
        exact, half = ImageEncoder(encoder)(pixels), ImageEncoder(encoder, dtype)(pixels)
    assert half.dtype == torch.float32 and 0 < difference(half, exact) < limit
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize("side", [64, 48, 192])
def test_another_side_is_a_sam_of_that_size_to_the_package(side):
    sam, pixels = official.network(), noise(1, 3, side, side)
    other = at_side(sam, side)
    assert sizes_in(other).image == side and other.prompt_encoder.mask_input_size == (side // 4, side // 4)
    with torch.inference_mode():
        assert difference(ImageEncoder(other.image_encoder)(pixels), other.image_encoder(pixels)) < 1e-6


def test_a_distance_keeps_its_meaning_at_another_side():
    sam, key = official.network(), "image_encoder.blocks.1.attn.rel_pos_h"
    before = sam.state_dict()[key]
    half, double = (at_side(sam, side).state_dict()[key] for side in (64, 256))
    assert torch.allclose(half, before[1:-1:2]) and half.shape == (7, 16)
    assert torch.allclose(double[1:-1:2], before) and double.shape == (31, 16)
    assert torch.allclose(double[2:-2:2], (before[1:] + before[:-1]) / 2)
    windowed = "image_encoder.blocks.0.attn.rel_pos_h"
    assert torch.equal(at_side(sam, 64).state_dict()[windowed], sam.state_dict()[windowed])


def test_a_smooth_field_of_positions_stays_itself_at_another_side():
    sam = official.network()
    across = (torch.arange(8) + 0.5) / 8
    sam.image_encoder.pos_embed = torch.nn.Parameter(across.sin()[None, None, :, None].expand(1, 8, 8, 32).clone())
    smaller = at_side(sam, 64).state_dict()["image_encoder.pos_embed"][0, 0, :, 0]
    assert torch.allclose(smaller[1:-1], ((torch.arange(4) + 0.5) / 4).sin()[1:-1], atol=2e-3)


def test_the_own_side_changes_nothing_and_an_impossible_one_is_refused():
    sam = official.network()
    assert at_side(sam, 0) is sam and at_side(sam, 128) is sam
    with pytest.raises(ValueError, match="multiple of the patch size 16, got 100"):
        at_side(sam, 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_everything_lies_where_the_network_is(dtype):
    encoder, pixels = ImageEncoder(official.network().image_encoder, dtype), noise(2, 3, 128, 128)
    with fake_gpu():
        found = move(encoder)(moved(pixels))
        assert found.device.type == DEVICE and found.dtype == torch.float32 and found.shape == (2, 32, 8, 8)
