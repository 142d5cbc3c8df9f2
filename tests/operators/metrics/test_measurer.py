import math

import numpy as np
import pytest
from PIL import Image

from operators.batch import Batch
from operators.metrics.measurer import PixelMeasurer, PixelMeasurerConfig
from operators.metrics.pixels import l1, psnr_db, rim_of, ssim
from operators.types import FAILED, OK, REJECTED
from tests.operators.encoded import saved

SIDE = 48


def picture(seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def hole(side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[side // 3 : side // 2, side // 3 : 2 * side // 3] = True
    return mask


def png(pixels: np.ndarray) -> bytes:
    return saved(Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels), "PNG")


def batch(results: list, truths: list, masks: list, **more) -> Batch:
    encoded = {name: [None if v is None else v if isinstance(v, bytes) else png(v) for v in values]
               for name, values in {"truth_bytes": truths, "given_mask_bytes": masks, **more}.items()}  # fmt: skip
    return Batch.from_images([v if isinstance(v, bytes) else png(v) for v in results], **encoded)


def test_regions_are_measured_as_the_functions_do():
    truth, result = picture(0), picture(1)
    out = PixelMeasurer(PixelMeasurerConfig(composite=False))(batch([result], [truth], [hole()]))
    for region, where in (("hole", hole()), ("rim", rim_of(hole())), ("image", None)):
        assert out.rows[f"psnr_{region}_db"][0] == psnr_db(result, truth, where).value
        assert out.rows[f"ssim_{region}"][0] == ssim(result, truth, where).value
        assert out.rows[f"l1_{region}"][0] == l1(result, truth, where).value
    assert out.rows["hole_pixels"][0] == hole().sum() and out.rows["rim_pixels"][0] == rim_of(hole()).sum()
    assert math.isnan(out.rows["segmentation_iou"][0]) and math.isnan(out.rows["boundary_f"][0])


def test_a_composite_has_the_truth_outside_the_hole():
    out = PixelMeasurer(PixelMeasurerConfig(composite=True))(batch([picture(1)], [picture(0)], [hole()]))
    assert out.rows["psnr_rim_db"][0] == math.inf and out.rows["l1_rim"][0] == 0
    assert out.rows["psnr_hole_db"][0] == psnr_db(picture(1), picture(0), hole()).value


def test_the_occluder_found_is_compared_with_its_opacity_else_with_the_hole():
    shifted = np.roll(hole(), 4, axis=1)
    opacity = (shifted * 200).astype(np.uint8)
    out = PixelMeasurer()(
        batch(
            [picture()] * 2,
            [picture()] * 2,
            [hole()] * 2,
            given_alpha_bytes=[opacity, None],
            result_mask_bytes=[shifted, shifted],
        )
    )
    assert out.rows["segmentation_iou"][0] == 1 and out.rows["boundary_f"][0] == 1
    assert out.rows["segmentation_iou"][1] == pytest.approx(12 / 20)
    assert out.rows["boundary_f"][1] < 1


def test_bad_rows_say_why_and_the_others_are_measured():
    fine, small = picture(), picture(2, 32)
    out = PixelMeasurer()(
        batch(
            [fine, fine, fine, small, fine, b"no image", fine],
            [fine, None, b"\x89PNG broken", fine, fine, fine, fine],
            [hole(), hole(), hole(), hole(), hole(32), hole(), None],
        )
    )
    assert out.rows["status"] == [OK, REJECTED, FAILED, REJECTED, REJECTED, FAILED, OK]
    messages = out.rows["error_message"]
    assert "no truth" in messages[1] and "the truth" in messages[2] and "the result:" in messages[5]
    assert messages[3] == "the result has 32 x 32 pixels and the truth 48 x 48 pixels: give both one size, or set resize"
    assert "the mask has 32 x 32 pixels" in messages[4]
    assert set(out.rows["error_operator"]) == {"", "PixelMeasurer"}
    np.testing.assert_array_equal(np.isnan(out.rows["psnr_image_db"]), [False, True, True, True, True, True, False])
    assert out.rows["hole_pixels"].tolist() == [hole().sum(), 0, 0, 0, 0, 0, 0]
    assert math.isnan(out.rows["psnr_hole_db"][6]) and out.rows["psnr_image_db"][6] == math.inf


def test_resize_brings_all_to_one_size():
    big = picture(0, 96)
    config = PixelMeasurerConfig(resize=48)
    out = PixelMeasurer(config)(batch([picture(1, 48)], [big], [hole(96)], result_mask_bytes=[hole(96)]))
    assert out.rows["status"] == [OK]
    assert out.rows["hole_pixels"][0] == hole(96)[::2, ::2].sum() and out.rows["segmentation_iou"][0] == 1


def test_a_row_is_the_same_in_any_company():
    results, truths, masks = [picture(k) for k in range(3)], [picture(k + 5) for k in range(3)], [hole(), None, hole()]
    together = PixelMeasurer()(batch(results, truths, masks))
    for k in range(3):
        alone = PixelMeasurer()(batch(results[k : k + 1], truths[k : k + 1], masks[k : k + 1]))
        for name in PixelMeasurer.info.writes:
            np.testing.assert_array_equal(alone.rows[name], together.rows[name][k : k + 1])


def test_an_empty_batch_and_rows_that_are_not_ok_are_left_alone():
    assert len(PixelMeasurer()(batch([picture()], [picture()], [hole()]).take([])).rows["psnr_hole_db"]) == 0
    out = batch([picture()], [picture()], [hole()])
    out.mark_row(0, FAILED, "before", "Error", "earlier")
    assert math.isnan(PixelMeasurer()(out).rows["psnr_image_db"][0]) and out.rows["error_operator"] == ["before"]
