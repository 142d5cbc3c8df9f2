from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from operators.inpaint.prior import PriorInpainter, PriorInpainterConfig, match_colours
from operators.inpaint.telea import TeleaInpainter
from operators.pipeline import apply
from operators.types import FAILED
from tests.operators.inpaint.faces import batch_of, drawn, given, hole_psnr_db


def test_comes_close_to_the_truth_and_beats_telea():
    face = drawn()
    prior = PriorInpainter()(batch_of(face)).faces["inpainted"][0]
    telea = TeleaInpainter()(batch_of(face)).faces["inpainted"][0]
    assert hole_psnr_db(prior, face) > 24
    assert hole_psnr_db(prior, face) > hole_psnr_db(telea, face) + 3
    assert np.array_equal(prior[~face["hole"]], face["crop"][~face["hole"]])


def test_mask_rim_outside_the_hole_does_not_bleed_into_the_skin():
    face = drawn()
    y = (np.arange(128) + 0.5) / 128
    rim = (y > 0.51)[:, None] & (y < 0.53)[:, None] & face["render_mask"] & (np.abs(np.arange(128) - 64) < 12)[None]
    clean = PriorInpainter(PriorInpainterConfig(grain=0.0))(batch_of(face)).faces["inpainted"][0].astype(float)
    face["crop"] = np.where(rim[..., None], np.uint8([50, 100, 230]), face["crop"])
    dirty = PriorInpainter(PriorInpainterConfig(grain=0.0))(batch_of(face)).faces["inpainted"][0].astype(float)
    middle = face["hole"] & face["render_mask"]
    assert np.abs(clean - dirty)[middle].mean() < 3
    assert np.abs(clean - dirty)[middle].max() < 25


def test_any_gain_and_offset_of_the_render_gives_the_same_fill():
    face = drawn()
    one, two = given(face), given(face)
    two = dataclasses.replace(two, prior=0.85 * two.prior + 0.06)
    operator = PriorInpainter(PriorInpainterConfig(grain=0.0))
    difference = (operator.fill(one) - operator.fill(two)).abs()
    assert difference.mean() < 0.01 and difference.max() < 0.06


def test_colours_are_recovered_despite_outliers():
    generator = torch.Generator().manual_seed(0)
    prior = torch.rand((1, 3, 64, 64), generator=generator)
    image = 0.9 * prior + 0.05
    image[..., :6] = 1.0
    skin = torch.ones((1, 64, 64), dtype=torch.bool)
    matched = match_colours(prior, image, skin, torch.zeros_like(skin))
    assert (matched - (0.9 * prior + 0.05)).abs().max() < 0.05


def test_one_face_equals_the_same_face_among_others():
    faces = [drawn(96, seed) for seed in range(4)]
    together = PriorInpainter(PriorInpainterConfig(batch_size=4))(batch_of(*faces)).faces["inpainted"]
    alone = PriorInpainter(PriorInpainterConfig(batch_size=4))(batch_of(*faces).take([2])).faces["inpainted"]
    assert np.array_equal(together[2], alone[0])


def test_the_pixels_under_the_mask_do_not_matter():
    face = drawn()
    first = PriorInpainter()(batch_of(face)).faces["inpainted"][0]
    face["crop"] = np.where(face["hole"][..., None], np.uint8(0), face["crop"])
    assert np.array_equal(first, PriorInpainter()(batch_of(face)).faces["inpainted"][0])


def test_grain_matches_the_photo():
    face = drawn()
    inner = face["hole"] & face["render_mask"]
    inner[80:] = False  # the mouth has an edge

    def roughness(picture: np.ndarray, where: np.ndarray) -> float:
        return float(np.mean(np.abs(np.diff(picture.astype(float), axis=1)[where[:, 1:] & where[:, :-1]])))

    plain, grainy = (PriorInpainter(PriorInpainterConfig(grain=g))(batch_of(face)).faces["inpainted"][0] for g in (0.0, 1.0))
    photo = roughness(face["crop"], face["visible_face"])
    assert roughness(plain, inner) < 0.5 * photo
    assert roughness(grainy, inner) == pytest.approx(photo, rel=0.35)


@pytest.mark.parametrize("case", ["no_visible_skin", "hole_covers_all", "empty_hole", "no_render", "outside_photo"])
def test_extreme_inputs_stay_finite(case):
    face = drawn(64)
    if case == "no_visible_skin":
        face["visible_face"][:] = False
    elif case == "hole_covers_all":
        face["hole"][:], face["visible_face"][:] = True, False
    elif case == "empty_hole":
        face["hole"][:] = False
    elif case == "no_render":
        face["render_mask"][:], face["render"][:] = False, 0
    else:
        face["crop_valid"][:] = False
    result = PriorInpainter()(batch_of(face)).faces["inpainted"][0]
    assert np.array_equal(result[~face["hole"]], face["crop"][~face["hole"]])


def test_without_a_render_the_error_says_what_to_do():
    batch = batch_of(drawn(64))
    del batch.faces["render"]
    result = apply(PriorInpainter(), batch)
    assert result.rows["status"] == [FAILED] and "renderer" in result.rows["error_message"][0]
