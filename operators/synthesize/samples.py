"""The files of one training sample: masked picture, hole, opacity, truth, and a JSON that says what was done."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from operators.codec import encode
from operators.provenance import xmp_packet
from operators.synthesize.base import Masked

SampleFormat = Literal["png", "webp", "jpeg"]
_SUFFIX = {"png": "png", "webp": "webp", "jpeg": "jpg"}


def sample_files(
    truth: UInt8[np.ndarray, "h w 3"],
    masked: Masked,
    about: Mapping[str, Any],
    format: SampleFormat = "png",
    quality: int = 95,
    icc: bytes | None = None,
) -> dict[str, bytes]:
    """Suffix -> bytes: `png` (or `webp`, `jpg`), `mask.png`, `alpha.png`, `truth.png` (…), `json`.

    The hole is 0 or 255 (white = hole), the opacity 0 to 255. PNG and WebP are lossless; `quality` is for JPEG only.
    A picture in which anything was put on a face carries the IPTC source type `compositeSynthetic`.
    """
    suffix = _SUFFIX[format]
    level = quality if format == "jpeg" else 100
    mark = xmp_packet("compositeSynthetic") if masked.hole.any() else None
    return {
        suffix: encode(masked.image, format, quality=level, icc=icc, xmp=mark),
        "mask.png": encode(masked.hole, "PNG"),
        "alpha.png": encode(np.round(np.clip(masked.alpha, 0, 1) * 255).astype(np.uint8), "PNG"),
        f"truth.{suffix}": encode(truth, format, quality=level, icc=icc),
        "json": (json.dumps(plain(about), ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode(
            "utf-8",
            "backslashreplace",  # a lone surrogate becomes the JSON escape that it came as
        ),
    }


def plain(value: Any) -> Any:
    """Arrays as lists, numbers as Python's, NaN and infinity as null: what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        kind, value = value.dtype.kind, value.tolist()
        if kind == "f" and not isinstance(value, list):
            return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value
