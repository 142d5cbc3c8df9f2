"""Pairs of picture and mask: what they become, and why others are left out."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from operators import pipeline
from operators.batch import Batch
from operators.codec import decode_rgb, encode
from operators.preprocess import PairPreparer, PairPreparerConfig, scaled_hole, square_within
from operators.provenance import read_provenance, xmp_packet
from operators.types import Operator
from tests.operators.encoded import gradient


def photo(height: int = 96, width: int = 160) -> bytes:
    return encode(gradient(height, width))


def mask(height: int = 96, width: int = 160, box=(60, 30, 100, 70), dtype=bool) -> bytes:
    hole = np.zeros((height, width), dtype)
    hole[box[1] : box[3], box[0] : box[2]] = True
    return encode(hole)


def batch(images, masks, **columns) -> Batch:
    return Batch.from_images(images, given_mask_bytes=list(masks), **columns)


def run(config: PairPreparerConfig, *args, **columns) -> Batch:
    return pipeline.apply(PairPreparer(config), batch(*args, **columns))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_is_an_operator():
    assert isinstance(PairPreparer(), Operator)


def test_a_pair_becomes_a_square_picture_and_a_black_and_white_mask():
    sample = run(PairPreparerConfig(size_px=48), [photo()], [mask()]).rows["sample_bytes"][0]
    assert set(sample) == {"png", "mask.png", "json"}
    picture, hole = pixels(sample["png"]), pixels(sample["mask.png"])
    assert picture.shape == (48, 48, 3)
    expected = np.zeros((48, 48), np.uint8)
    expected[15:35, 14:34] = 255  # the middle square starts at column 32 and shrinks by 2
    assert np.array_equal(hole, expected)
    by_hand = gradient(96, 160)[:, 32:128].reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(picture - by_hand).max() <= 0.5
    assert json.loads(sample["json"]) == {
        "crop_xyxy_px": [32, 0, 128, 96],
        "height_px": 96,
        "hole_fraction": round(400 / 48**2, 6),
        "width_px": 160,
    }


def test_every_row_that_is_no_pair_says_why_and_the_others_do_not_notice():
    images = [photo(), photo(), photo(), photo(), photo(40, 40), photo(), photo()]
    masks = [mask(), None, mask(box=(0, 0, 0, 0)), mask(box=(0, 0, 160, 96)), mask(40, 40, (9, 9, 20, 20)), mask(96, 96), b"?"]
    result = run(PairPreparerConfig(size_px=48), images, masks)
    assert list(zip(result.rows["status"], result.rows["error_type"], strict=True)) == [
        ("ok", ""),
        ("rejected", "NoPartnerError"),
        ("rejected", "EmptyMaskError"),
        ("rejected", "FullMaskError"),
        ("rejected", "PairTooSmallError"),
        ("rejected", "PairShapeError"),
        ("failed", "CorruptImageError"),
    ]
    assert [bool(sample) for sample in result.rows["sample_bytes"]] == [True] + [False] * 6
    assert all(result.rows["error_message"][1:])
    alone = run(PairPreparerConfig(size_px=48), images[:1], masks[:1])
    assert result.rows["sample_bytes"][0] == alone.rows["sample_bytes"][0]


def test_rows_that_failed_before_are_left_alone():
    rows = batch([photo()], [mask()])
    rows.mark_row(0, "failed", "Other", "OtherError", "before")
    result = pipeline.apply(PairPreparer(), rows)
    assert (result.rows["error_type"][0], result.rows["sample_bytes"][0]) == ("OtherError", None)


def test_polarity_of_masks_that_are_read_and_written():
    inverse = encode(~(pixels(mask()) > 0))
    same = PairPreparerConfig(size_px=0, crop="none")
    turned = PairPreparerConfig(size_px=0, crop="none", hole_in="black", hole_out="black")
    expected = run(same, [photo()], [mask()]).rows["sample_bytes"][0]["mask.png"]
    got = run(turned, [photo()], [inverse]).rows["sample_bytes"][0]["mask.png"]
    assert np.array_equal(pixels(expected), ~pixels(got))


def test_without_a_crop_the_shape_stays_and_without_a_size_the_pixels():
    kept = run(PairPreparerConfig(size_px=0, crop="none"), [photo()], [mask()]).rows["sample_bytes"][0]
    assert np.array_equal(pixels(kept["png"]), gradient(96, 160))
    half = run(PairPreparerConfig(size_px=48, crop="none"), [photo()], [mask()]).rows["sample_bytes"][0]
    assert pixels(half["png"]).shape == (48, 80, 3) and pixels(half["mask.png"]).shape == (48, 80)


def test_a_crop_around_the_mask_has_its_margin_and_stays_in_the_picture():
    about = run(PairPreparerConfig(crop="mask", margin=0.25, min_side_px=8), [photo()], [mask()]).rows["sample_bytes"][0]["json"]
    assert json.loads(about)["crop_xyxy_px"] == [50, 20, 110, 80]
    about = run(PairPreparerConfig(crop="mask", margin=0.25, min_side_px=8), [photo()], [mask(box=(0, 0, 40, 40))])
    assert json.loads(about.rows["sample_bytes"][0]["json"])["crop_xyxy_px"] == [0, 0, 60, 60]


def test_a_crop_around_the_face_takes_the_first_face_that_is_ok():
    rows = batch([photo(), photo()], [mask(), mask()])
    rows.set_faces(np.array([0, 0]))
    rows.put("box_xyxy_px", np.array([[0, 0, 9, 9], [60, 20, 100, 60]], np.float32))
    rows.mark_face(0, "low_confidence", "")
    result = pipeline.apply(PairPreparer(PairPreparerConfig(crop="face", margin=0.2, min_side_px=8)), rows)
    assert json.loads(result.rows["sample_bytes"][0]["json"])["crop_xyxy_px"] == [52, 12, 108, 68]
    assert result.rows["error_type"] == ["", "NoFaceBoxError"]


def test_truth_is_cut_like_the_picture_and_masks_of_another_size_are_scaled():
    config = PairPreparerConfig(size_px=48)
    sample = run(config, [photo()], [mask(48, 80, (30, 15, 50, 35))], truth_bytes=[photo()]).rows["sample_bytes"][0]
    assert sample["truth.png"] == sample["png"]
    assert sample["mask.png"] == run(config, [photo()], [mask()]).rows["sample_bytes"][0]["mask.png"]


def test_jpeg_pictures_keep_lossless_masks():
    sample = run(PairPreparerConfig(size_px=48, format="jpeg"), [photo()], [mask()]).rows["sample_bytes"][0]
    assert set(sample) == {"jpg", "mask.png", "json"} and sample["jpg"][:2] == b"\xff\xd8"
    assert set(np.unique(decode_rgb(sample["mask.png"]))) == {0, 255}


def test_what_was_generated_stays_marked():
    marked = encode(gradient(96, 160), xmp=xmp_packet("compositeSynthetic"))
    rows = run(PairPreparerConfig(format="jpeg"), [marked, photo()], [mask(), mask()]).rows["sample_bytes"]
    assert read_provenance(rows[0]["jpg"])["digital_source_type"] == "compositeSynthetic"
    assert read_provenance(rows[1]["jpg"]) == {}


def test_half_covered_pixels_are_hole():
    hole = np.zeros((4, 4), bool)
    hole[:2, 0] = hole[2, 2] = True
    assert scaled_hole(hole, (2, 2)).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("centre, side", [((5.0, 5.0), 400.0), ((-50.0, 300.0), 20.0), ((79.5, 40.0), 96.0), ((0.0, 0.0), 0.1)])
def test_squares_stay_whole_and_inside(centre, side):
    x0, y0, x1, y1 = square_within(centre, side, 160, 96)
    assert 0 <= x0 < x1 <= 160 and 0 <= y0 < y1 <= 96 and x1 - x0 == y1 - y0


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="min_hole"):
        PairPreparerConfig(min_hole=0.5, max_hole=0.4)
