import json

import cv2
import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from torch.utils.flop_counter import FlopCounterMode

from jobs.benchmarks import sam as speed
from jobs.benchmarks import sam_quality as subject
from operators.assets import AssetStore
from operators.checkpoints.open import open_network
from tests.official import sam as official


@pytest.fixture
def folder(tmp_path):
    """Five samples as `unmask synthesize` lays them out, one of them without anything masked."""
    random = np.random.default_rng(2)
    for i in range(5):
        mask = np.zeros((90, 120), np.uint8)
        cv2.ellipse(mask, (60 + 4 * i, 50), (30, 18 + i), 0, 0, 360, 255, -1) if i < 4 else None
        picture = random.integers(0, 90, (90, 120, 3), dtype=np.uint8)
        picture[mask > 0] += 120
        stem = tmp_path / "samples" / "0000" / f"face{i}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f"{stem}.png", picture[..., ::-1])
        cv2.imwrite(f"{stem}.mask.png", cv2.dilate(mask, np.ones((5, 5), np.uint8)))
        cv2.imwrite(f"{stem}.alpha.png", mask)
        stem.with_suffix(".json").write_text(json.dumps({"subject": f"person{i // 2}"}))
    return tmp_path / "samples"


def test_samples_are_read_with_the_occluders_own_outline(folder):
    found = subject.samples_in(folder, 9)
    assert [sample.name for sample in found] == ["face0", "face1", "face2", "face3"]
    assert [sample.subject for sample in found] == ["person0", "person0", "person1", "person1"]
    assert found[1].mask[50].sum() == pytest.approx(61, abs=1) and found[1].picture[50, 64].min() >= 120
    assert len(subject.samples_in(folder, 2)) == 2
    with pytest.raises(FileNotFoundError, match="unmask synthesize"):
        subject.samples_in(folder / "0000" / "none", 9)


def test_figures_are_those_of_the_official_predictor(folder):
    sam, samples = official.network(), subject.samples_in(folder, 9)
    [row] = subject.measure(sam, samples, [0], ["float32"], [0])
    expected = []
    predictor = SamPredictor(sam)
    for i, sample in enumerate(samples):
        prompt = subject.prompt_for(sample, i, "both")
        assert prompt.points_px is not None and sample.mask[tuple(prompt.points_px[0, ::-1].astype(int))]
        predictor.set_image(sample.picture)
        masks, scores, _ = predictor.predict(prompt.points_px, prompt.labels, prompt.box_xyxy_px)
        best = masks[scores.argmax()]
        expected.append((best & sample.mask).sum() / (best | sample.mask).sum())
    assert row["iou"] == pytest.approx(np.mean(expected), abs=2e-3) and row["change"] == 0.0 and row["n"] == 4


def test_every_setting_is_compared_with_the_first(folder, tmp_path, capsys):
    samples = subject.samples_in(folder, 9)
    rows = subject.measure(official.network(), samples, [0, 64], ["float32"], [0, 1], "box")
    assert [(row["side"], row["refine"]) for row in rows] == [(128, 0), (128, 1), (64, 0), (64, 1)]
    for row in rows:
        assert row["change"] == pytest.approx(row["iou"] - rows[0]["iou"], abs=1e-6)
    assert len({round(row["iou"], 6) for row in rows}) > 2


def test_the_command_takes_any_checkpoint(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(subject, "open_network", lambda name, given: open_network(name, given, AssetStore(tmp_path / "cache")))
    assert subject.main([official.write(tmp_path), str(folder), "--sides", "0", "64", "--most", "2"]) == 0
    assert "change_low" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["vit_b", "vit_h"])
def test_the_arithmetic_is_what_the_package_does_but_for_filled_up_windows(name):
    with torch.device("meta"):
        encoder = sam_model_registry[name](checkpoint=None).image_encoder
        with FlopCounterMode(display=False) as counter:
            encoder(torch.zeros(1, 3, 1024, 1024))
    assert 1.0 < counter.get_total_flops() / speed.flops(speed.MODELS[name]) < 1.15


def test_the_benchmark_measures_the_loop_and_the_batch():
    loop, batch = speed.run(["tiny"], [0], ["float32"], 1, 1)
    assert loop["how"].startswith("SamPredictor") and loop["times_loop"] == 1.0
    assert batch["n"] == loop["n"] == 8 and batch["encoder_s"] > 0 and batch["decoder_s"] > 0
