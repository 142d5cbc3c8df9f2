"""Read the header of a JPEG, PNG or WebP file without decoding or allocating a pixel.

Sources: ISO/IEC 10918-1 annex B (JPEG markers), PNG third edition, RFC 9649 (WebP), Exif 3.0 (tags 0x0112, 0xA405).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from operators.types import FAILED, REJECTED

_OTHER_FORMATS = (
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"BM", "BMP"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypavif", "AVIF"),
)
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


class ImageError(ValueError):
    """An image that cannot be used; `status` is what its row becomes."""

    status = FAILED


class EmptyImageError(ImageError):
    """Zero bytes, or none at all."""


class CorruptImageError(ImageError):
    """Damaged, truncated or not an image."""


class RejectedImageError(ImageError):
    """A healthy image that the limits or the supported formats exclude."""

    status = REJECTED


class UnsupportedImageError(RejectedImageError):
    """Neither JPEG, PNG nor WebP, or a variant of them that is not supported."""


class ImageTooLargeError(RejectedImageError):
    """More pixels or bytes than the limits allow."""


class AnimatedImageError(RejectedImageError):
    """More than one frame."""


@dataclass(frozen=True)
class ImageHeader:
    """What the header says; width and height are those after EXIF orientation.

    `mode` is the stored layout: L, LA, P, RGB, RGBA or CMYK, and `bits` the depth of one sample. `scan_offset` is where the
    first scan of a JPEG begins.
    """

    format: str
    width_px: int
    height_px: int
    n_frames: int
    mode: str
    bits: int = 8
    orientation: int = 1
    scan_offset: int = 0
    focal_35mm: int = 0
    """Focal length in 35 mm film equivalents, in millimetres, where Exif says; 0 = unknown."""

    @property
    def n_pixels(self) -> int:
        return self.width_px * self.height_px


def probe(data: bytes | None) -> ImageHeader:
    """Header of an encoded image, found by its content.

    Errors: `EmptyImageError`, `CorruptImageError`, `UnsupportedImageError`.
    """
    if not data:
        raise EmptyImageError("zero bytes: the file is empty or was not written completely")
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        raise CorruptImageError(f"the file ends inside its header, after {len(data)} bytes") from None
    for start, magic, name in _OTHER_FORMATS:
        if data[start : start + len(magic)] == magic:
            raise UnsupportedImageError(f"{name} is not supported: convert it to JPEG, PNG or WebP")
    if b"<svg" in bytes(data[:1024]).lower():
        raise UnsupportedImageError("SVG is not supported: convert it to JPEG, PNG or WebP")
    raise CorruptImageError(f"not a JPEG, PNG or WebP: {len(data)} bytes that begin with {bytes(data[:8]).hex(' ')}")


def _header(
    format: str, width: int, height: int, frames: int, mode: str, bits: int, exif: tuple[int, int], scan_offset: int = 0
) -> ImageHeader:
    if width < 1 or height < 1:
        raise CorruptImageError(f"the {format} header says {width} x {height} pixels")
    orientation, focal_35mm = exif
    if orientation >= 5:
        width, height = height, width
    return ImageHeader(format, width, height, frames, mode, bits, orientation, scan_offset, focal_35mm)


def _jpeg(data: bytes) -> ImageHeader:
    at, exif, size = 2, _NO_EXIF, None
    while True:
        if data[at] != 0xFF:
            raise CorruptImageError(f"expected a JPEG marker at byte {at}, got 0x{data[at]:02x}")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        if marker in (0xD9, 0xDA):  # Exif may follow the frame header, but not the first scan
            break
        (length,) = struct.unpack_from(">H", data, at)
        if marker == 0xE1 and data[at + 2 : at + 8] == b"Exif\0\0":
            exif = _exif(data[at + 8 : at + length])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and size is None:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 2)
            if bits != 8 or marker not in (0xC0, 0xC1, 0xC2) or components not in (1, 3, 4):
                what = f"JPEG with {bits} bits, {components} components, process {marker - 0xC0}"
                raise UnsupportedImageError(f"{what} is not supported: save it as 8-bit baseline or progressive")
            size = width, height, {1: "L", 3: "RGB", 4: "CMYK"}[components]
        at += length
    if size is None:
        raise CorruptImageError("the JPEG has no frame header")
    return _header("JPEG", size[0], size[1], 1, size[2], 8, exif, at)


def _png(data: bytes) -> ImageHeader:
    length, kind, width, height, bits, color = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13 or bits not in _PNG_DEPTHS.get(color, ()):
        raise CorruptImageError("the PNG header is damaged")
    at, frames, exif, transparent = 33, 1, _NO_EXIF, False
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            break
        if kind == b"acTL":
            (frames,) = struct.unpack_from(">I", data, at + 8)
        elif kind == b"eXIf":
            exif = _exif(data[at + 8 : at + 8 + length])
        elif kind == b"tRNS":
            transparent = True
        at += 12 + length
    mode = _PNG_MODES[color] + ("A" if transparent and color in (0, 2) else "")
    return _header("PNG", width, height, max(frames, 1), mode, bits, exif)


def _webp(data: bytes) -> ImageHeader:
    at, frames, exif, size, alpha = 12, 0, _NO_EXIF, None, False
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if kind == b"VP8X":
            flags = data[body]
            alpha = bool(flags & 0x10)
            size = tuple(1 + int.from_bytes(data[body + i : body + i + 3], "little") for i in (4, 7))
            if len(data) < body + 10:
                raise IndexError
        elif kind == b"VP8L" and size is None:
            bits = struct.unpack_from("<I", data, body + 1)[0]
            size, alpha = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), bool(bits >> 28 & 1)
        elif kind == b"VP8 " and size is None:
            size = tuple(v & 0x3FFF for v in struct.unpack_from("<HH", data, body + 6))
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF":
            block = data[body : body + length]
            exif = _exif(block[6:] if block[:6] == b"Exif\0\0" else block)
        at = body + length + (length & 1)
    if size is None:
        raise IndexError
    return _header("WEBP", size[0], size[1], max(frames, 1), "RGBA" if alpha else "RGB", 8, exif)


_NO_EXIF = (1, 0)


def _exif(tiff: bytes) -> tuple[int, int]:
    """Orientation 1–8 and focal length in 35 mm equivalents; a damaged Exif block counts as none, as browsers do."""
    orientation, focal_35mm = _NO_EXIF
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(tiff[:2])]
        folders = [struct.unpack_from(order + "I", tiff, 4)[0]]
        for folder in folders:
            (count,) = struct.unpack_from(order + "H", tiff, folder)
            for i in range(count):
                at = folder + 2 + 12 * i
                tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at)
                if tag == 0x0112 and kind == 3 and 1 <= value <= 8:
                    orientation = value
                elif tag == 0x8769 and kind == 4 and len(folders) == 1:  # the Exif folder
                    folders.append(struct.unpack_from(order + "I", tiff, at + 8)[0])
                elif tag == 0xA405 and kind == 3:
                    focal_35mm = value
    except (KeyError, struct.error):
        pass
    return orientation, focal_35mm
