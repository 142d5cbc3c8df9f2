"""Encoded pictures for tests, healthy and not."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def gradient(height: int = 24, width: int = 36) -> np.ndarray:
    """Smooth RGB picture whose four corners differ."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 2], axis=2).astype(np.uint8)


def saved(image: Image.Image, format: str, **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format, **options)
    return sink.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bits: int, color: int, raw: bytes, *between: bytes) -> bytes:
    """A PNG from raw scan lines without filter bytes; `between` are chunks that stand before the pixels."""
    stride = len(raw) // height if height and raw else 0
    lines = b"".join(b"\0" + raw[i * stride : (i + 1) * stride] for i in range(height)) if stride else b""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    chunks = [header, *between, png_chunk(b"IDAT", zlib.compress(lines)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def huge_png() -> bytes:
    """30,000 x 30,000 grey pixels in a few kilobytes."""
    body = zlib.compressobj(9)
    packed = b"".join(body.compress(bytes(3751)) for _ in range(30000)) + body.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def animated(format: str) -> bytes:
    frames = [Image.fromarray(gradient()), Image.fromarray(255 - gradient())]
    return saved(frames[0], format, save_all=True, append_images=frames[1:], **({"lossless": True} if format == "WEBP" else {}))
