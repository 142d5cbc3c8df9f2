"""The decoding operator: bad input costs its own row and nothing else."""

import numpy as np
import pytest

from operators import pipeline
from operators.batch import Batch
from operators.images import ImageDecoder, ImageDecoderConfig, encode
from operators.types import Operator
from tests.operators.encoded import animated, gradient, huge_png, saved

RGB = gradient()


def test_is_an_operator():
    assert isinstance(ImageDecoder(), Operator)


def test_bad_rows_say_why_and_good_rows_do_not_notice():
    from PIL import Image

    good = encode(RGB, "JPEG")
    images = [
        good,
        b"",
        b"not an image",
        good[:-40],
        huge_png(),
        animated("WEBP"),
        saved(Image.fromarray(RGB), "GIF"),
        encode(RGB[:4, :4]),
        encode(RGB),
    ]
    result = pipeline.apply(ImageDecoder(), Batch.from_images(images))
    got = list(zip(result.rows["status"], result.rows["error_type"], result.rows["format"], strict=True))
    assert got == [
        ("ok", "", "JPEG"),
        ("failed", "EmptyImageError", ""),
        ("failed", "CorruptImageError", ""),
        ("failed", "CorruptImageError", "JPEG"),
        ("rejected", "ImageTooLargeError", "PNG"),
        ("rejected", "AnimatedImageError", "WEBP"),
        ("rejected", "UnsupportedImageError", ""),
        ("rejected", "RejectedImageError", "PNG"),
        ("ok", "", "PNG"),
    ]
    assert result.rows["width_px"].tolist() == [36, 0, 0, 36, 30000, 36, 0, 4, 36]
    assert all(m for m, s in zip(result.rows["error_message"], result.rows["status"], strict=True) if s != "ok")
    assert set(result.rows["error_operator"]) == {"", "ImageDecoder"}
    assert np.array_equal(result.frame(8), RGB)


def test_rows_that_already_failed_are_left_alone():
    batch = Batch.from_images([encode(RGB)])
    batch.mark_row(0, "failed", "source", "X", "gone")
    result = ImageDecoder()(batch)
    assert result.rows["error_message"] == ["gone"] and result.rows["format"] == [""]


def test_a_batch_is_not_written_into():
    batch = Batch.from_images([encode(RGB)])
    widths = batch.rows["width_px"]
    ImageDecoder()(batch)
    assert widths.tolist() == [0]


@pytest.mark.parametrize("operation", [lambda b: b.copy(), lambda b: b.take([0]), lambda b: Batch.concat([b, b])])
def test_limits_travel_with_the_batch(operation):
    decoder = ImageDecoder(ImageDecoderConfig(max_pixels=RGB.shape[0] * RGB.shape[1], animated="first_frame"))
    batch = operation(decoder(Batch.from_images([animated("WEBP")])))
    batch._frames.clear()
    assert np.array_equal(batch.frame(0), RGB)
    assert batch.limits.max_pixels == RGB.shape[0] * RGB.shape[1]


def test_frames_are_kept_within_the_cache_and_are_read_only(monkeypatch):
    monkeypatch.setattr("operators.batch._FRAME_CACHE_BYTES", 2 * RGB.nbytes)
    batch = Batch.from_images([encode(RGB)] * 5)
    first = batch.frame(0)
    for i in range(5):
        assert np.array_equal(batch.frame(i), RGB)
    assert batch.frame(0) is first and batch.frame(4) is batch.frame(4)
    assert len(batch._frames) == 2 and not first.flags.writeable
