from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.utils.amg import calculate_stability_score

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.networks.sam import VIT_B, sizes_in
from operators.segment.prompts import face_prompts, occluder_prompts
from operators.segment.sam import SamSegmenter, SamSegmenterConfig, load_sam, segment
from operators.segment.sam_predict import SamBatch
from tests.official import sam as official
from tests.operators.segment.drawn_faces import SIZE, batch_of, draw, landmarks


def scenes(count: int = 3):
    points = [landmarks(angle_deg=angle) for angle in (0.0, 12.0, -18.0)[:count]]
    colours = ((120, 190, 225), (30, 30, 32), (235, 235, 235))
    return [draw(p, mask=colour, seed=i)[0] for i, (p, colour) in enumerate(zip(points, colours, strict=False))], points


def one_by_one(model, picture, prompts, i, mask=None):
    """What the package's own predictor says to one prompt; it counts from pixel centres."""
    predictor = SamPredictor(model)
    predictor.set_image(picture)
    shift = 0.5 * SIZE / model.image_encoder.img_size
    return predictor.predict(
        prompts.points_px[i] - shift,
        prompts.labels[i],
        box=prompts.box_xyxy_px[i] - shift,
        mask_input=mask,
        multimask_output=mask is None,
        return_logits=True,
    )


@pytest.mark.parametrize("passes", [0, 1])
def test_a_crops_masks_are_the_predictors_best(passes):
    model = official.network()
    pictures, points = scenes()
    kinds = occluder_prompts(np.stack(points), SIZE), face_prompts(np.stack(points), SIZE)
    found, iou, stability = segment(SamBatch(model), np.stack(pictures), kinds, passes)
    for k, prompts in enumerate(kinds):
        for i, picture in enumerate(pictures):
            logits, scores, low_res = one_by_one(model, picture, prompts, i)
            best = int(scores.argmax())
            if passes:
                logits, scores, _ = one_by_one(model, picture, prompts, i, low_res[best][None])
                best = 0
            assert float(iou[k, i]) == pytest.approx(float(scores[best]), abs=1e-4)
            assert (found[k, i].numpy() != (logits[best] > 0)).mean() < 1e-3
            score = calculate_stability_score(torch.as_tensor(logits[best])[None], 0.0, 1.0)
            assert float(stability[k, i]) == pytest.approx(float(score.nan_to_num()), abs=2e-3)
    assert 0.02 < found.float().mean() < 0.98


def test_batches_do_not_change_a_face():
    pictures, points = scenes()
    model = official.network()
    together = SamSegmenter(SamSegmenterConfig(batch_size=3), sam=model)(batch_of(pictures, points)).faces
    apart = SamSegmenter(SamSegmenterConfig(batch_size=1), sam=model)(batch_of(pictures[::-1], points[::-1])).faces
    for name in SamSegmenter.info.writes:
        assert np.array_equal(together[name], apart[name][::-1])
    assert np.isfinite(together["occluder_iou"]).all() and np.isfinite(together["visible_face_stability"]).all()
    assert not np.any(together["occluder"] & together["visible_face"])


def test_a_bare_face_has_no_occluder_whatever_the_model_says():
    points = landmarks()
    faces = SamSegmenter(sam=official.network())(batch_of([draw(points)[0]], [points])).faces
    assert not faces["occluder"].any()


def test_settings_reach_the_network(tmp_path):
    checkpoint, store = official.write(tmp_path), AssetStore(tmp_path / "cache")
    config = SamSegmenterConfig(checkpoint=checkpoint, precision="bfloat16", input_side=64, batch_size=2)
    segmenter = SamSegmenter(config, store)
    assert segmenter.predictor.sam.image_encoder.img_size == 64
    assert segmenter.predictor.encoder.dtype == torch.bfloat16 and segmenter.predictor.exact.dtype == torch.float32
    pictures, points = scenes(2)
    faces = segmenter(batch_of(pictures, points)).faces
    assert faces["visible_face"].shape == (2, SIZE, SIZE) and np.isfinite(faces["occluder_iou"]).all()
    assert config.checkpoints == {"checkpoint": "sam"}


def test_refinement_changes_masks_and_their_scores():
    pictures, points = scenes()
    plain, refined = (
        SamSegmenter(SamSegmenterConfig(refine_passes=passes), sam=official.network())(batch_of(pictures, points)).faces
        for passes in (0, 1)
    )
    assert not np.allclose(plain["visible_face_iou"], refined["visible_face_iou"], atol=1e-3)


def test_a_named_model_must_be_in_the_file(tmp_path):
    checkpoint, store = official.write(tmp_path), AssetStore(tmp_path / "cache")
    assert sizes_in(load_sam("auto", checkpoint, store)) == official.TINY
    with pytest.raises(CheckpointError, match=r"expected a SAM vit_h, found a ViT of 3 blocks, 32 wide.*set model to auto"):
        load_sam("vit_h", checkpoint, store)
    assert replace(official.TINY, width=768, depth=12).name == VIT_B.name == "vit_b"


def test_a_missing_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"set checkpoint to one of sam_vit_h_4b8939\.pth"):
        SamSegmenter(SamSegmenterConfig(), AssetStore(tmp_path))
