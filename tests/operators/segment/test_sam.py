import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.amg import calculate_stability_score

from operators.segment import sam as subject
from operators.segment.prompts import face_prompts, occluder_prompts
from operators.segment.sam import SamSegmenter, SamSegmenterConfig, load_sam, segment
from tests.operators.segment.drawn_faces import SIZE, batch_of, draw, landmarks


def tiny_sam(side: int = 128) -> Sam:
    """A SAM of the real architecture, 32 channels wide, random weights that make masks of all kinds."""
    torch.manual_seed(3)
    grid = side // 16
    encoder = ImageEncoderViT(
        *(side, 16, 3, 32, 2, 2, 2.0, 32),
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(1,),
        norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
    )
    prompts = PromptEncoder(32, (grid, grid), (side, side), 16)
    decoder = MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(2, 32, 2, 64), iou_head_hidden_dim=32)
    model = Sam(encoder, prompts, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    with torch.no_grad():
        for parameter in model.mask_decoder.parameters():
            parameter.mul_(1.7)
    return model.eval()


def scenes(count: int = 3):
    points = [landmarks(angle_deg=angle) for angle in (0.0, 12.0, -18.0)[:count]]
    colours = ((120, 190, 225), (30, 30, 32), (235, 235, 235))
    return [draw(p, mask=colour, seed=i)[0] for i, (p, colour) in enumerate(zip(points, colours, strict=False))], points


def one_by_one(model: Sam, picture: np.ndarray, prompts, i: int):
    """What the package's own predictor says to one prompt; it counts from pixel centres."""
    predictor = SamPredictor(model)
    predictor.set_image(picture)
    shift = 0.5 * SIZE / model.image_encoder.img_size
    return predictor.predict(
        prompts.points_px[i] - shift, prompts.labels[i], box=prompts.box_xyxy_px[i] - shift, return_logits=True
    )


def test_one_decoder_pass_equals_the_predictor_one_by_one(monkeypatch):
    model = tiny_sam()
    pictures, points = scenes()
    kinds = occluder_prompts(np.stack(points), SIZE), face_prompts(np.stack(points), SIZE)
    seen, choose = [], subject.choose
    monkeypatch.setattr(subject, "choose", lambda *arguments: seen.append(arguments[1:]) or choose(*arguments))
    found, iou, stability = segment(model, np.stack(pictures), kinds)
    [(logits, ious, *sizes)] = seen
    full = model.postprocess_masks(logits, *sizes)
    assert full.std() > 1e-2
    for k, prompts in enumerate(kinds):
        for i, picture in enumerate(pictures):
            expected, expected_iou, _ = one_by_one(model, picture, prompts, i)
            at = k * len(pictures) + i
            assert np.abs(full[at].numpy() - expected).max() < 2e-5
            assert np.abs(ious[at].numpy() - expected_iou).max() < 1e-5
            best = int(expected_iou.argmax())
            assert float(iou[k, i]) == pytest.approx(float(expected_iou[best]), abs=1e-5)
            assert (found[k, i].numpy() != (expected[best] > 0)).mean() < 1e-3
            score = calculate_stability_score(torch.as_tensor(expected[best])[None], 0.0, 1.0)
            assert float(stability[k, i]) == pytest.approx(float(score.nan_to_num()), abs=2e-3)


def test_predictions_depend_on_the_crop_and_on_the_prompt():
    model = tiny_sam()
    pictures, points = scenes(2)
    same = np.stack([points[0], points[0]])
    _, pixels = subject.preprocess(model, np.stack(pictures))
    prompts = occluder_prompts(same, SIZE)
    arguments = (torch.as_tensor(v) for v in (prompts.points_px, prompts.labels, prompts.box_xyxy_px))
    with torch.inference_mode():
        logits, _ = subject.decode(model, model.image_encoder(pixels), *arguments)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_batches_do_not_change_a_face():
    pictures, points = scenes()
    model = tiny_sam()
    together = SamSegmenter(SamSegmenterConfig(batch_size=3), sam=model)(batch_of(pictures, points)).faces
    apart = SamSegmenter(SamSegmenterConfig(batch_size=1), sam=model)(batch_of(pictures, points)).faces
    for name in SamSegmenter.info.writes:
        assert np.allclose(together[name], apart[name], atol=1e-4)
    assert np.isfinite(together["occluder_iou"]).all() and np.isfinite(together["visible_face_stability"]).all()
    assert not np.any(together["occluder"] & together["visible_face"])


def test_a_bare_face_has_no_occluder_whatever_the_model_says():
    points = landmarks()
    faces = SamSegmenter(sam=tiny_sam())(batch_of([draw(points)[0]], [points])).faces
    assert not faces["occluder"].any()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_checkpoints_of_both_formats_load(tmp_path, monkeypatch, suffix):
    model, path = tiny_sam(), tmp_path / f"tiny{suffix}"
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)

    def other_weights(checkpoint=None):
        model = tiny_sam()
        torch.nn.init.zeros_(model.mask_decoder.iou_token.weight)
        return model

    monkeypatch.setitem(subject.sam_model_registry, "vit_b", other_weights)
    loaded = load_sam("vit_b", str(path)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_the_registered_architecture_has_the_official_keys():
    state = subject.sam_model_registry["vit_b"](checkpoint=None).state_dict()
    assert len(state) == 314 and sum(value.numel() for value in state.values()) > 93_000_000


def test_a_missing_checkpoint_says_what_to_do():
    with pytest.raises(FileNotFoundError, match="set `checkpoint`"):
        SamSegmenter(SamSegmenterConfig(model="vit_b"))
