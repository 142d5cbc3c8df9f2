import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from jobs.benchmarks import sam as speed
from operators.checkpoints.system import Official
from operators.networks.sam import build, untrained
from operators.networks.sam_encoder import ImageEncoder, at_side, attend_fused, attend_in_cache
from operators.segment.sam_predict import Prompt, SamBatch
from tests.official import sam as official

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and this machine has none")


def difference(ours, theirs):
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.fixture(scope="module")
def vit_b():
    return build(Official(official.state(speed.VIT_B, gain=1.0))).cuda()


@pytest.fixture
def pictures():
    random = np.random.default_rng(1)
    return [np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((32, 24, 1))).astype(np.uint8) for _ in range(3)]


@pytest.mark.parametrize(("rows", "width"), [(14, 64), (14, 80), (64, 64), (64, 80)])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_fused_attention_is_attention(rows, width, dtype, limit):
    draw = torch.Generator().manual_seed(rows + width)
    q, k, v = torch.randn((3, 4, rows * rows, width), generator=draw)
    tables = torch.randn((2, rows, rows, width), generator=draw) / 4
    on_device = [x.cuda().to(dtype) for x in (q, k, v)]
    ours = attend_fused(on_device[0], on_device[1], on_device[2], tables[0].cuda(), tables[1].cuda(), width**-0.5)
    assert difference(ours.float().cpu(), attend_in_cache(q, k, v, tables[0], tables[1], width**-0.5)) < limit


@pytest.mark.parametrize("side", [1024, 512])
def test_batches_on_the_device_are_what_the_predictor_says_one_by_one(vit_b, pictures, side):
    sam = at_side(vit_b, side)
    prompts = [
        Prompt(i, np.array([[60.0, 90.0], [20.0, 30.0]]), np.array([1, 0]), np.array([20.0, 30.0, 150.0, 200.0]))
        for i in range(3)
    ]
    batch, predictor = SamBatch(sam, images=2, prompts=4), SamPredictor(sam)
    embedded = batch.embed(pictures)
    found = batch.decode(embedded, prompts)
    for prompt, one, full in zip(prompts, found, batch.full_size(embedded, prompts, found), strict=True):
        predictor.set_image(pictures[prompt.image])
        masks, iou, low_res = predictor.predict(prompt.points_px, prompt.labels, prompt.box_xyxy_px, return_logits=True)
        assert difference(one.low_res.cpu(), torch.as_tensor(low_res)) < 1e-3
        assert difference(full.cpu(), torch.as_tensor(masks)) < 1e-3
        assert np.abs(one.iou.cpu().numpy() - iou).max() < 1e-3


@pytest.mark.parametrize(("precision", "limit"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_masks_are_those_of_float32(vit_b, pictures, precision, limit):
    prompts = [Prompt(i, None, None, np.array([20.0, 30.0, 150.0, 200.0])) for i in range(3)]
    exact, half = SamBatch(vit_b), SamBatch(vit_b, precision)
    logits = []
    for batch in (exact, half):
        embedded = batch.embed(pictures)
        found = batch.decode(embedded, prompts)
        logits.append((embedded.features, torch.stack(batch.full_size(embedded, prompts, found))))
    assert difference(logits[1][0], logits[0][0]) < limit
    masks = [full > 0 for _, full in logits]
    assert float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()) > 0.95


def test_company_does_not_change_an_image(vit_b, pictures):
    batch = SamBatch(vit_b, "bfloat16", images=2)
    together = batch.embed(pictures).features
    assert all(torch.equal(batch.embed([picture]).features[0], one) for picture, one in zip(pictures, together, strict=True))


def test_vit_h_runs_in_bfloat16_and_its_speed_is_printed(capsys):
    # The target of eight times the float32 loop is a figure of `python -m jobs.bench sam`, not a condition.
    with capsys.disabled():
        from jobs.bench import table

        print("\n" + table(speed.run(["vit_h"], [1024], ["bfloat16"], 8, 3)))
    sam = build(untrained(speed.MODELS["vit_h"])).cuda()
    with torch.inference_mode():
        assert torch.isfinite(ImageEncoder(sam.image_encoder, torch.bfloat16)(torch.zeros(1, 3, 1024, 1024, device="cuda"))).all()
