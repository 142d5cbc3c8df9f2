import math

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from operators.metrics.conventions import CONVENTIONS
from operators.metrics.pixels import compare, l1, mean_psnr_db, psnr_db, resized, resized_mask, rim_of, ssim
from tests.operators.metrics.published import published


def noise(seed=0, height=40, width=50):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def square(height=40, width=50):
    hole = np.zeros((height, width), bool)
    hole[10:20, 15:30] = True
    return hole


def test_identical_images_have_infinite_psnr():
    image = np.full((4, 5, 3), 7, np.uint8)
    assert psnr_db(image, image).value == math.inf
    assert psnr_db(image, image).n == 20


def test_constant_offset_has_the_known_value():
    image = np.full((4, 5, 3), 100, np.uint8)
    assert psnr_db(image, image + 16).value == pytest.approx(20 * math.log10(255 / 16))
    assert l1(image, image + 16).value == pytest.approx(16 / 255)


def test_only_the_asked_pixels_count():
    truth = np.zeros((4, 4, 3), np.uint8)
    image = truth.copy()
    image[0, 0] = 255
    where = np.zeros((4, 4), bool)
    where[0, 0] = True
    assert psnr_db(image, truth, where).value == pytest.approx(0.0)
    assert psnr_db(image, truth, ~where).value == math.inf
    assert math.isnan(psnr_db(image, truth, np.zeros((4, 4), bool)).value)


def test_shapes_must_agree():
    with pytest.raises((ValueError, TypeCheckError)):
        psnr_db(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8))


def test_similarity_of_constants_is_what_the_formula_says():
    a, b = (np.full((30, 30, 3), value, np.uint8) for value in (100, 140))
    c1 = (0.01 * 255) ** 2
    found = ssim(a, b)
    assert found.value == pytest.approx((2 * 100 * 140 + c1) / (100**2 + 140**2 + c1))
    assert found.n == 900
    assert ssim(a, a).value == pytest.approx(1.0)


def test_similarity_in_a_region_sees_the_region_only():
    truth, hole = noise(), square()
    image = np.where(hole[..., None], 255 - truth, truth)
    everywhere = compare(image, truth, {"hole": hole, "far": rim_of(hole, 30.0) & ~rim_of(hole, 8.0), "image": None})
    assert everywhere["hole"].ssim.value < 0 and everywhere["hole"].ssim.n == hole.sum()
    assert everywhere["far"].ssim.value == pytest.approx(1.0)
    assert everywhere["hole"].ssim.value < everywhere["image"].ssim.value < 1
    assert everywhere["hole"].psnr_db == psnr_db(image, truth, hole)
    assert everywhere["far"].psnr_db.value == math.inf and everywhere["far"].l1.value == 0


def test_nothing_to_measure_is_nan_with_a_count_of_zero():
    image = noise()
    nothing = compare(image, image, {"hole": np.zeros(image.shape[:2], bool)})["hole"]
    for measure in (nothing.psnr_db, nothing.ssim, nothing.l1):
        assert math.isnan(measure.value) and measure.n == 0
    small = noise(height=8, width=8)
    assert math.isnan(ssim(small, small).value)


def test_rim_is_what_lies_within_its_width_outside():
    hole = np.zeros((41, 41), bool)
    hole[20, 20] = True
    rim = rim_of(hole, 3.0)
    y, x = np.mgrid[-20:21, -20:21]
    np.testing.assert_array_equal(rim, (np.hypot(x, y) <= 3) & ~hole)
    assert not rim_of(np.zeros((5, 5), bool)).any()


def test_conventions_give_the_papers_numbers():
    known = published()
    a, b, wide_a, wide_b = (known[name] for name in ("a_u8", "b_u8", "big_a_u8", "big_b_u8"))

    def measured(a, b, convention):
        return [measure(a, b, None, convention).value for measure in (psnr_db, ssim, l1)]

    np.testing.assert_allclose(measured(wide_a, wide_b, "edgeconnect"), known["edgeconnect_psnr_ssim_mae"], rtol=1e-6)
    np.testing.assert_allclose(measured(a, b, "tfill"), known["tfill_l1_psnr_ssim"][[1, 2, 0]], rtol=1e-7)
    np.testing.assert_allclose(measured(a, b, "mat"), known["mat_psnr_ssim_l1"], rtol=1e-7)
    assert ssim(a, b, None, "lama").value == pytest.approx(known["lama_ssim"][0], rel=2e-5)  # theirs is float32
    with pytest.raises(ValueError, match="expected one of ours"):
        psnr_db(a, b, None, "theirs")


def test_scikit_images_defaults_are_a_convention():
    import cv2
    from skimage.metrics import structural_similarity

    a, b = published()["a_u8"], published()["b_u8"]
    grey = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (a, b)]
    whole = structural_similarity(*grey, full=True)[1]
    assert ssim(a, b, None, "skimage").value == pytest.approx(whole.mean(), abs=1e-4)
    assert psnr_db(a, b, None, "skimage") == psnr_db(a, b)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_strips_change_nothing(convention, monkeypatch):
    a, b = noise(0, 150, 60), noise(1, 150, 60)
    whole = ssim(a, b, None, convention)
    monkeypatch.setattr("operators.metrics.conventions._STRIP_PIXELS", 60 * 29)
    assert ssim(a, b, None, convention).value == pytest.approx(whole.value, rel=1e-9)


def test_stretching_by_the_extremes_hides_an_offset():
    image = noise() // 2
    assert psnr_db(image, image + 40).value < 17
    assert psnr_db(image, image + 40, None, "facefill3d").value == math.inf


def test_means_over_pictures_say_what_became_of_identical_ones():
    values = [20.0, 30.0, math.inf, math.nan]
    mean = mean_psnr_db(values)
    assert (mean.mean_db, mean.n, mean.identical) == (25.0, 3, 1)
    assert mean.pooled_db == pytest.approx(-10 * math.log10((0.01 + 0.001) / 3))
    assert mean_psnr_db([math.inf]).mean_db == math.inf == mean_psnr_db([math.inf]).pooled_db
    assert math.isnan(mean_psnr_db([]).mean_db) and mean_psnr_db([]).n == 0


def test_resizing_averages_pictures_and_keeps_masks_sharp():
    image = noise(height=64, width=64)
    small = resized(image, 32)
    np.testing.assert_allclose(small, image.reshape(32, 2, 32, 2, 3).mean((1, 3)), atol=1)
    assert resized(image, 64) is image
    hole = np.zeros((64, 64), bool)
    hole[16:32] = True
    np.testing.assert_array_equal(resized_mask(hole, 32), hole[::2, ::2])
