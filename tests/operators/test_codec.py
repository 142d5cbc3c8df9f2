"""Every stored layout becomes the right RGB pixels, and nothing else is decoded."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from operators.codec import DecodeLimits, decode_alpha, decode_rgb, encode, icc_profile
from operators.image_header import (
    AnimatedImageError,
    CorruptImageError,
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
    probe,
)
from tests.operators.encoded import animated, gradient, huge_png, png, png_chunk, saved

RGB = gradient()
# How the picture must be stored for each Exif orientation so that it is upright when shown (Exif 3.0, tag 0x0112).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(np.ascontiguousarray(STORED[orientation](RGB)), format, quality=100, exif=exif.tobytes())
    decoded = decode_rgb(data)
    header = probe(data)
    assert decoded.shape == RGB.shape and (header.height_px, header.width_px) == RGB.shape[:2]
    assert header.orientation == orientation
    assert np.abs(decoded.astype(int) - RGB).max() <= (4 if format == "JPEG" else 0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_focal_length_in_film_equivalents(format):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 27
    data = encode(RGB, format, exif=exif.tobytes())
    header = probe(data)
    assert (header.focal_35mm, header.orientation) == (27, 6)
    assert probe(encode(RGB, format)).focal_35mm == 0


def test_a_damaged_exif_block_counts_as_upright():
    assert np.array_equal(decode_rgb(encode(RGB, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")), RGB)


@pytest.mark.parametrize(
    ("format", "mode"),
    [("PNG", mode) for mode in ("1", "L", "P", "LA", "RGB", "RGBA")]
    + [("JPEG", mode) for mode in ("1", "L", "RGB", "CMYK")]
    + [("WEBP", mode) for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK")],
)
def test_every_mode_in_every_format(format, mode):
    image = Image.fromarray(RGB).convert(mode)
    data = saved(image, format, **({"lossless": True} if format == "WEBP" else {}))
    decoded = decode_rgb(data)
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    assert np.abs(decoded.astype(int) - np.asarray(image.convert("RGB"))).mean() < (12 if format == "JPEG" else 0.01)
    alpha = decode_alpha(data)
    assert alpha is None or (alpha == 255).all()


def test_sixteen_bit_grey_is_scaled_not_clipped():
    grey = np.linspace(0, 65535, 256 * 4).astype(np.uint16).reshape(4, 256)
    data = png(256, 4, 16, 0, grey.astype(">u2").tobytes())
    assert probe(data).bits == 16
    decoded = decode_rgb(data)
    assert np.array_equal(decoded[..., 0], decoded[..., 2])
    assert np.abs(decoded[..., 0] - grey / 257).max() <= 0.5


@pytest.mark.parametrize(("color", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colour_and_alpha_are_scaled_not_clipped(color, channels):
    values = np.linspace(0, 65535, 8 * 16 * channels).astype(np.uint16).reshape(8, 16, channels)
    data = png(16, 8, 16, color, values.astype(">u2").tobytes())
    want = values / 257
    decoded = decode_rgb(data)
    assert np.abs(decoded - (want[..., :3] if channels >= 3 else want[..., :1])).max() < 1
    if channels in (2, 4):
        assert np.abs(decode_alpha(data) - want[..., -1]).max() < 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_per_pixel(bits):
    raw = bytes([0b00011011]) * 4
    width, top = 8 // bits, 2**bits - 1
    want = [int(f"{raw[0]:08b}"[i : i + bits], 2) * 255 // top for i in range(0, 8, bits)]
    assert np.array_equal(decode_rgb(png(width, 4, bits, 0, raw))[2, :, 1], want)


def test_palette_with_transparency():
    palette, transparency = png_chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255])), png_chunk(b"tRNS", bytes([0, 128]))
    data = png(2, 1, 8, 3, bytes([0, 1]), palette, transparency)
    assert decode_rgb(data).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode_alpha(data).tolist() == [[0, 128]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_grey_value(bits):
    raw = bytes([0, 255]) if bits == 8 else bytes([0, 0, 255, 255])
    data = png(2, 1, bits, 0, raw, png_chunk(b"tRNS", bytes([0, 0])))
    assert decode_rgb(data)[0, :, 0].tolist() == [0, 255]
    assert decode_alpha(data).tolist() == [[0, 255]]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_alpha_is_kept_and_colours_stay_as_stored(format):
    alpha = RGB[..., 0]
    data = encode(RGB, format, alpha=alpha, quality=100)
    assert np.array_equal(decode_alpha(data), alpha)
    assert np.array_equal(decode_rgb(data), RGB)


def test_alpha_follows_the_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(np.rot90(RGB).copy(), alpha=np.rot90(RGB[..., 0]).copy(), exif=exif.tobytes())
    assert np.array_equal(decode_alpha(data), RGB[..., 0])


def test_adobe_inverted_cmyk():
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    data = saved(white, "JPEG", quality=95)
    assert b"Adobe" in data[:200] and probe(data).mode == "CMYK"
    assert decode_rgb(data).min() > 250


def test_jpeg_that_stores_rgb_instead_of_ycc():
    data = saved(Image.fromarray(RGB), "JPEG", quality=100, keep_rgb=True)
    assert np.abs(decode_rgb(data).astype(int) - RGB).max() <= 2


def test_a_truncated_jpeg_with_a_whole_thumbnail_fails():
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + encode(RGB, "JPEG")
    data = encode(gradient(200, 300), "JPEG", exif=exif)
    assert decode_rgb(data).shape == (200, 300, 3)
    with pytest.raises(CorruptImageError, match="truncated"):
        decode_rgb(data[:-100])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
def test_a_truncated_progressive_jpeg_fails(share):
    data = saved(Image.fromarray(gradient(200, 300)), "JPEG", progressive=True)
    assert decode_rgb(data).shape == (200, 300, 3)
    with pytest.raises(CorruptImageError):
        decode_rgb(data[: int(len(data) * share)])


def test_bytes_after_the_end_of_a_jpeg_do_not_matter():
    assert np.array_equal(decode_rgb(encode(RGB, "JPEG") + bytes(99)), decode_rgb(encode(RGB, "JPEG")))


def test_colour_profile_is_offered_for_rgb_only():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert icc_profile(encode(RGB, "JPEG", icc=profile)) == profile
    assert icc_profile(encode(RGB, "JPEG")) is None
    assert icc_profile(saved(Image.fromarray(RGB).convert("CMYK"), "JPEG", icc_profile=profile)) is None
    assert icc_profile(encode(RGB[..., 0], "PNG", icc=profile)) is None


def test_thirty_thousand_squared_is_refused_without_allocating():
    data = huge_png()
    assert len(data) < 200_000
    tracemalloc.start()
    with pytest.raises(ImageTooLargeError, match=r"30000 x 30000 = 900000000 pixels.*max_pixels") as caught:
        decode_rgb(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 and caught.value.status == "rejected"


def test_a_webp_that_claims_a_huge_canvas_is_refused_before_it_is_opened():
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    with pytest.raises(ImageTooLargeError):
        decode_rgb(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body)


def test_a_second_header_does_not_get_past_the_limit():
    liar = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0))
    with pytest.raises(CorruptImageError, match="two sizes"):
        decode_rgb(png(4, 4, 8, 2, bytes(48), liar))


def test_more_bytes_than_allowed():
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        decode_rgb(encode(RGB), DecodeLimits(max_bytes=100))


def test_the_limit_can_be_raised_above_that_of_the_library(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode_rgb(encode(RGB)).shape == RGB.shape


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_animation_is_rejected_unless_the_first_frame_is_wanted(format):
    data = animated(format)
    assert probe(data).n_frames == 2
    with pytest.raises(AnimatedImageError, match="2 frames") as caught:
        decode_rgb(data)
    assert caught.value.status == "rejected"
    assert np.array_equal(decode_rgb(data, DecodeLimits(first_frame=True)), RGB)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "BMP", "ICO", "JPEG2000", "AVIF"])
def test_other_formats_are_refused_by_name(format):
    data = saved(Image.fromarray(RGB), format)
    with pytest.raises(UnsupportedImageError, match="is not supported: convert it"):
        decode_rgb(data)


@pytest.mark.parametrize("data", [b'<?xml version="1.0"?><SVG/>', b"\0\0\0\x18ftypheic\0\0", b"%PDF-1.7", b"\xff\x0a\0\0"])
def test_other_formats_that_cannot_be_written_here(data):
    with pytest.raises(UnsupportedImageError) as caught:
        decode_rgb(data)
    assert caught.value.status == "rejected"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.6, 0.98])
def test_truncated_files_fail(format, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(noise, format)
    with pytest.raises(CorruptImageError) as caught:
        decode_rgb(data[: max(int(len(data) * share), 1)])
    assert caught.value.status == "failed" and str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_any_prefix_or_flipped_byte_fails_cleanly_or_decodes(format):
    data = encode(RGB, format)
    rng = np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(data[: rng.integers(1, len(data) + 1)])
        broken[rng.integers(len(broken))] ^= int(rng.integers(1, 256))
        try:
            assert decode_rgb(bytes(broken), DecodeLimits(max_pixels=10**6)).shape[2] == 3
        except ImageError as error:
            assert str(error)


@pytest.mark.parametrize("data", [b"", None])
def test_nothing_at_all(data):
    with pytest.raises(EmptyImageError, match="zero bytes"):
        decode_rgb(data)


def test_garbage_says_what_it_begins_with():
    with pytest.raises(CorruptImageError, match=r"12 bytes that begin with 68 65 6c 6c 6f"):
        decode_rgb(b"hello, world")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_encoding_is_deterministic_and_decodes_again(format):
    data = encode(RGB, format)
    assert data == encode(RGB.copy(), format.lower())
    assert np.abs(decode_rgb(data).astype(int) - RGB).max() <= (0 if format == "PNG" else 12)


def test_lossless_webp_and_masks():
    assert np.array_equal(decode_rgb(encode(RGB, "WEBP", quality=100)), RGB)
    mask = RGB[..., 0] > 100
    assert np.array_equal(decode_rgb(encode(mask))[..., 0] == 255, mask)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_xmp_is_embedded(format):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    assert packet in encode(RGB, format, xmp=packet)


def test_text_is_embedded():
    png_text = Image.open(io.BytesIO(encode(RGB, text={"b": "ü", "a": "1"}))).text
    assert png_text == {"a": "1", "b": "ü"}
    assert b"a: 1" in encode(RGB, "JPEG", text={"a": "1"})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode(RGB.astype(np.float32)), "expected uint8"),
        (lambda: encode(RGB, "JPEG", alpha=RGB[..., 0]), "JPEG has no alpha"),
        (lambda: encode(RGB, "WEBP", text={"a": "b"}), "WebP has no text"),
        (lambda: encode(RGB, "TIFF"), "use PNG, JPEG or WEBP"),
    ],
)
def test_encode_says_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_text_bomb_in_a_png_is_no_crash():
    info = PngInfo()
    info.add_text("k", "x" * 5_000_000, zip=True)
    data = saved(Image.fromarray(RGB), "PNG", pnginfo=info)
    with pytest.raises(CorruptImageError):
        decode_rgb(data)
