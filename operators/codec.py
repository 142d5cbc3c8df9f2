"""Decode and encode pictures: safe limits, EXIF orientation applied, alpha kept.

Every path decodes through `decode_rgb`, so the same pixels reach every operator: OpenCV for grey and RGB JPEG (the
faster one), Pillow for everything else. What becomes of the pixels:
  grey, palette, 1-bit   repeated or looked up into RGB
  16 bit                 scaled to 8 bit, never clipped
  CMYK (JPEG)            Adobe's inverted convention, converted without a profile
  alpha                  `decode_rgb` gives the colours as stored; `decode_alpha` gives the alpha, so that it can be restored
  ICC profile            pixels stay as stored; `icc_profile` gives an RGB profile to embed in the output again
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from operators.image_header import AnimatedImageError, CorruptImageError, ImageHeader, ImageTooLargeError, probe

# The plug-ins are used directly: `Image.open` would apply Pillow's process-wide pixel limit instead of `DecodeLimits`.
_READERS = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


@dataclass(frozen=True)
class DecodeLimits:
    """What is refused before a pixel is decoded. `first_frame` decodes the first frame of an animation."""

    max_pixels: int = 100_000_000
    max_bytes: int = 256 * 1024 * 1024
    first_frame: bool = False


DEFAULT_LIMITS = DecodeLimits()


def check(data: bytes | None, limits: DecodeLimits = DEFAULT_LIMITS) -> ImageHeader:
    """Header of an encoded image that may be decoded.

    Errors: those of `probe`, `ImageTooLargeError`, `AnimatedImageError`.
    """
    if data is not None and len(data) > limits.max_bytes:
        raise ImageTooLargeError(f"{len(data)} bytes, the limit is {limits.max_bytes}: shrink the file or raise max_bytes")
    header = probe(data)
    if header.n_pixels > limits.max_pixels:
        size = f"{header.width_px} x {header.height_px} = {header.n_pixels} pixels"
        raise ImageTooLargeError(f"{size}, the limit is {limits.max_pixels}: shrink the image or raise max_pixels")
    if header.n_frames > 1 and not limits.first_frame:
        raise AnimatedImageError(f"{header.n_frames} frames: extract one, or choose to use the first frame")
    return header


def decode_rgb(data: bytes | None, limits: DecodeLimits = DEFAULT_LIMITS) -> np.ndarray:
    """Encoded image -> RGB uint8 HWC, EXIF orientation applied.

    Errors: those of `check`; `CorruptImageError` when the pixels cannot be decoded completely.
    """
    header = check(data, limits)
    if header.format == "JPEG" and header.mode != "CMYK":
        return _upright(_jpeg(data or b"", header), header.orientation)
    image = _load(data or b"", header)
    if image.mode.startswith("I"):  # 16-bit grey
        pixels = np.asarray(image).astype(np.uint32)
        pixels = ((pixels + 128) // 257).astype(np.uint8)[..., None].repeat(3, axis=2)
    else:
        image.info.pop("transparency", None)
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return _upright(pixels, header.orientation)


def decode_alpha(data: bytes | None, limits: DecodeLimits = DEFAULT_LIMITS) -> np.ndarray | None:
    """Encoded image -> alpha uint8 HW (255 = opaque), EXIF orientation applied; None when it has none.

    Errors: those of `decode_rgb`.
    """
    header = check(data, limits)
    if header.mode not in ("P", "LA", "RGBA"):
        return None
    image = _load(data or b"", header)
    if image.mode.startswith("I"):
        value = image.info.get("transparency")
        return (
            None if value is None else _upright(np.where(np.asarray(image) == value, 0, 255).astype(np.uint8), header.orientation)
        )
    if "A" not in image.mode and "transparency" not in image.info:
        return None
    return _upright(np.asarray(image.convert("RGBA"))[..., 3], header.orientation)


def icc_profile(data: bytes | None) -> bytes | None:
    """The RGB colour profile of an encoded image, to embed in an output with the same pixels; else None.

    Errors: those of `probe`, `CorruptImageError`.
    """
    header = probe(data)
    profile = _open(data or b"", header).info.get("icc_profile") if header.n_frames == 1 else None
    return profile if profile and profile[16:20] == b"RGB " and "RGB" in header.mode else None


def encode(
    image: np.ndarray,
    format: str = "PNG",
    *,
    quality: int = 95,
    alpha: np.ndarray | None = None,
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    text: Mapping[str, str] | None = None,
) -> bytes:
    """RGB uint8 HWC, grey uint8 HW or bool HW -> the same bytes every time, for PNG, JPEG or WEBP (lossless at quality 100).

    `alpha` is uint8 HW and refused for JPEG. `text` becomes PNG iTXt chunks or one JPEG comment; WebP carries `xmp` and
    `exif` only. Errors: ValueError that names what does not fit.
    """
    format = {"JPG": "JPEG"}.get(format.upper(), format.upper())
    pixels = np.asarray(image)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"expected uint8 height width 3 or height width, got {pixels.dtype} {pixels.shape}")
    if alpha is not None:
        if format == "JPEG":
            raise ValueError("JPEG has no alpha: write PNG or WEBP")
        rgb = pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, axis=2)
        pixels = np.concatenate([rgb, np.asarray(alpha, np.uint8)[..., None]], axis=2)
    options: dict = {name: value for name, value in (("icc_profile", icc), ("exif", exif), ("xmp", xmp)) if value}
    if format == "PNG":
        options["compress_level"] = 1
        info = PngImagePlugin.PngInfo()
        for key, value in sorted((text or {}).items()):
            info.add_itxt(key, value)
        if xmp:
            info.add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode())
        options["pnginfo"] = info
    elif format == "JPEG":
        options.update(quality=quality, subsampling=0)
        if text:
            options["comment"] = "\n".join(f"{key}: {value}" for key, value in sorted(text.items())).encode()
    elif format == "WEBP":
        if text:
            raise ValueError("WebP has no text chunks: pass xmp")
        options.update(quality=quality, lossless=quality >= 100, exact=alpha is not None, method=2)
    else:
        raise ValueError(f"cannot write {format!r}: use PNG, JPEG or WEBP")
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(sink, format, **options)
    return sink.getvalue()


def _open(data: bytes, header: ImageHeader) -> Image.Image:
    try:
        image = _READERS[header.format](io.BytesIO(data))
    except Exception as error:  # Pillow raises SyntaxError, OSError, ValueError, struct.error, … for damaged files
        raise CorruptImageError(f"the {header.format} of {len(data)} bytes is damaged: {error}") from None
    stored = (header.width_px, header.height_px) if header.orientation < 5 else (header.height_px, header.width_px)
    if image.size != stored:  # a second header would get past the limits
        raise CorruptImageError(f"the {header.format} has two sizes: {stored} and {image.size}")
    return image


def _load(data: bytes, header: ImageHeader) -> Image.Image:
    image = _open(data, header)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise CorruptImageError(f"the {header.format} of {len(data)} bytes is damaged or truncated: {error}") from None
    return image


def _jpeg(data: bytes, header: ImageHeader) -> np.ndarray:
    """Pixels as stored. OpenCV fills what a truncated file lacks with grey, so the end is looked for first."""
    if data.find(b"\xff\xd9", header.scan_offset) < 0:
        raise CorruptImageError(f"the JPEG of {len(data)} bytes is truncated: it has no end marker")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise CorruptImageError(f"the JPEG of {len(data)} bytes cannot be decoded: {error.err}") from None
    if pixels is None or pixels.shape[0] * pixels.shape[1] != header.n_pixels:
        raise CorruptImageError(f"the JPEG of {len(data)} bytes is damaged")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels -> as they are meant to be seen (Exif orientation 1–8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
