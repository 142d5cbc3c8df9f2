import dataclasses

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.utils.amg import calculate_stability_score

from operators.segment.sam_predict import Prompt, SamBatch, scaled, stability_score
from tests.fake_gpu import DEVICE, fake_gpu, move
from tests.official import sam as official

SIZES = ((96, 160), (200, 90), (128, 128), (37, 61))


def pictures():
    random = np.random.default_rng(5)
    small = (random.integers(0, 255, (6, 6, 3)) for _ in SIZES)
    return [np.kron(s, np.ones((40, 40, 1)))[:h, :w].astype(np.uint8) for s, (h, w) in zip(small, SIZES, strict=True)]


def prompts():
    """Every combination of parts, with one to five points, several per image, images in mixed order."""
    random, found = np.random.default_rng(9), []
    for k in range(24):
        image = (3 * k + k // 5) % len(SIZES)
        height, width = SIZES[image]
        parts = (7, 3, 1, 2, 6, 5, 4, 3)[k % 8]
        count = 1 + k % 5
        box = random.random((2, 2)) * (width, height)
        found.append(
            Prompt(
                image,
                random.random((count, 2)) * (width, height) if parts & 1 else None,
                random.integers(0, 2, count) if parts & 1 else None,
                np.concatenate([box.min(0), box.max(0)]) if parts & 2 else None,
                (8 * random.random((32, 32)) - 4).astype(np.float32) if parts & 4 else None,
            )
        )
    return found


def one_by_one(model, given, multimask):
    """What the package's predictor says: logits at full size, predicted IoU, low-resolution logits."""
    predictor, images = SamPredictor(model), pictures()
    for prompt in given:
        predictor.set_image(images[prompt.image])
        mask = None if prompt.mask_logits is None else np.asarray(prompt.mask_logits)[None]
        yield predictor.predict(
            prompt.points_px, prompt.labels, prompt.box_xyxy_px, mask, multimask_output=multimask, return_logits=True
        )


class AsOnDevice(SamBatch):
    """Batches of fixed sizes, filled up, as on a GPU."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.by_ones = False


def largest(ours, theirs):
    """Difference as a share of the largest value."""
    return float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", [SamBatch, AsOnDevice])
def test_many_images_and_prompts_are_what_the_predictor_says_one_by_one(kind, multimask):
    model, given = official.network(), prompts()
    predictor = kind(model, images=3, prompts=5)
    embedded = predictor.embed(pictures())
    found = predictor.decode(embedded, given, multimask)
    full = predictor.full_size(embedded, given, found)
    for prompt, one, logits, theirs in zip(given, found, full, one_by_one(model, given, multimask), strict=True):
        masks, iou, low_res = theirs
        assert logits.shape == masks.shape == (3 if multimask else 1, *SIZES[prompt.image])
        assert masks.std() > 1e-2
        assert max(largest(logits, masks), largest(one.low_res, low_res)) < 1e-5
        assert np.abs(one.iou.numpy() - iou).max() < 1e-5
        assert int(one.iou.argmax()) == int(iou.argmax())
        assert torch.equal(one.best().low_res[0], one.low_res[int(iou.argmax())])


def test_a_prompt_has_the_same_bits_in_any_company():
    predictor, given, images = SamBatch(official.network(), images=3, prompts=5), prompts(), pictures()
    embedded = predictor.embed(images)
    together = predictor.decode(embedded, given)
    full = predictor.full_size(embedded, given, together)
    for prompt, one, logits in zip(given, together, full, strict=True):
        alone = predictor.embed([images[prompt.image]])
        moved = [dataclasses.replace(prompt, image=0)]
        again = predictor.decode(alone, moved)
        assert torch.equal(again[0].low_res, one.low_res) and torch.equal(again[0].iou, one.iou)
        assert torch.equal(predictor.full_size(alone, moved, again)[0], logits)


def test_refinement_is_the_predictor_with_its_best_mask_as_prompt():
    model, given = official.network(), [prompt for prompt in prompts() if prompt.mask_logits is None]
    predictor = SamBatch(model)
    embedded = predictor.embed(pictures())
    first = predictor.decode(embedded, given)
    refined = predictor.refine(embedded, given, predictor.refine(embedded, given, first))
    best = [low_res[iou.argmax()] for _, iou, low_res in one_by_one(model, given, True)]
    for _ in range(2):
        again = [dataclasses.replace(prompt, mask_logits=mask) for prompt, mask in zip(given, best, strict=True)]
        best = [low_res[0] for _, _, low_res in one_by_one(model, again, False)]
    for one, theirs, before in zip(refined, best, first, strict=True):
        assert one.low_res.shape[0] == 1 and largest(one.low_res[0], theirs) < 2e-5
        assert (one.low_res - before.best().low_res).abs().max() > 1e-3


def test_pictures_are_scaled_as_the_predictor_scales_them(monkeypatch):
    model, seen = official.network(), []
    monkeypatch.setattr(SamPredictor, "set_torch_image", lambda self, image, size: seen.append(image[0]))
    for picture in pictures():
        SamPredictor(model).set_image(picture)
    for ours, theirs in zip(scaled(pictures(), 128), seen, strict=True):
        assert torch.equal(torch.as_tensor(ours).permute(2, 0, 1), theirs)


def test_an_image_that_half_precision_cannot_hold_is_done_again_in_float32():
    model = official.network()
    white, grey = (np.full((128, 128, 3), level, np.uint8) for level in (255, 120))
    grey[:40] = 90
    with torch.no_grad():
        model.image_encoder.patch_embed.proj.weight[0] = 50.0  # white patches sum up to more than float16 can hold
    exact, guarded = SamBatch(model).embed([grey, white, grey[::-1]]).features, SamBatch(model, "float16")
    unguarded = guarded.encoder(guarded.sam.preprocess(torch.tensor(np.stack([grey, white])).permute(0, 3, 1, 2)))
    assert torch.isfinite(unguarded).flatten(1).all(1).tolist() == [True, False]
    for predictor in (guarded, AsOnDevice(model, "float16")):
        found = predictor.embed([grey, white, grey[::-1]]).features
        assert torch.isfinite(found).all()
        assert torch.allclose(found[1], exact[1], atol=1e-5)
        assert not torch.equal(found[0], exact[0]) and not torch.equal(found[2], exact[2])


def test_stability_is_the_packages_score():
    logits = torch.randn(5, 40, 30, generator=torch.Generator().manual_seed(1)) * 2
    assert torch.allclose(stability_score(logits), calculate_stability_score(logits, 0.0, 1.0))
    assert float(stability_score(torch.full((4, 4), -9.0))) == 0.0


@pytest.mark.parametrize(
    "parts",
    [{}, {"points_px": np.zeros((2, 2))}, {"labels": np.ones(2, np.int64)}],
)
def test_half_a_prompt_is_refused(parts):
    with pytest.raises(ValueError, match="prompt: expected points"):
        Prompt(**parts)


def test_everything_lies_where_the_network_is():
    predictor, images = AsOnDevice(official.network(), images=3, prompts=5), pictures()
    # Points are embedded by the package, which picks them by their labels' values: tests/gpu.
    given = [prompt for prompt in prompts() if prompt.points_px is None]
    with fake_gpu():
        move(predictor.sam)
        move(predictor.exact)
        embedded = predictor.embed(images)
        found = predictor.refine(embedded, given, predictor.decode(embedded, given))
        assert {one.device.type for one in predictor.full_size(embedded, given, found)} == {DEVICE}
        points, *_ = predictor.tokens_of(embedded, [Prompt(1, np.ones((2, 2)), np.ones(2, np.int64))])
        assert {one.device.type for one in points} == {DEVICE}
