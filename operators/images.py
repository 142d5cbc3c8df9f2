"""Pictures in and out: the codec's public names, and the operator that decodes the images of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from operators.batch import Batch
from operators.codec import DecodeLimits, check, decode_alpha, decode_rgb, encode, icc_profile
from operators.image_header import (
    AnimatedImageError,
    CorruptImageError,
    EmptyImageError,
    ImageError,
    ImageHeader,
    ImageTooLargeError,
    RejectedImageError,
    UnsupportedImageError,
    probe,
)
from operators.types import OperatorConfig, OperatorInfo, option

__all__ = [
    "AnimatedImageError",
    "CorruptImageError",
    "DecodeLimits",
    "EmptyImageError",
    "ImageDecoder",
    "ImageDecoderConfig",
    "ImageError",
    "ImageHeader",
    "ImageTooLargeError",
    "RejectedImageError",
    "UnsupportedImageError",
    "check",
    "decode_alpha",
    "decode_rgb",
    "encode",
    "icc_profile",
    "probe",
]


@dataclass(frozen=True)
class ImageDecoderConfig(OperatorConfig):
    """What is decoded and what is refused."""

    max_pixels: int = option(100_000_000, "images with more pixels are rejected before any is decoded")
    max_bytes: int = option(256 * 1024 * 1024, "encoded images with more bytes are rejected")
    min_side_px: int = option(16, "images with a shorter side are rejected")
    animated: Literal["reject", "first_frame"] = option("reject", "what to do with an image of several frames")


class ImageDecoder:
    """Reads the header, checks the limits and decodes every live row; rows that cannot be used say why.

    Decoded frames stay in the batch (`Batch.frame`) and the limits travel with it, so that whoever decodes again, in
    another process, keeps to them.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="ImageDecoder", version="2", reads=("image_bytes",), writes=("format", "width_px", "height_px", "focal_35mm")
    )

    def __init__(self, config: ImageDecoderConfig = ImageDecoderConfig(), assets: Any = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        config = self.config
        batch.limits = DecodeLimits(config.max_pixels, config.max_bytes, config.animated == "first_frame")
        formats = list(batch.rows["format"])
        widths, heights = batch.rows["width_px"].copy(), batch.rows["height_px"].copy()
        focals = batch.rows["focal_35mm"].copy()
        batch.rows.update(format=formats, width_px=widths, height_px=heights, focal_35mm=focals)
        for i in batch.live_rows():
            try:
                header = probe(batch.rows["image_bytes"][i])
                formats[i], widths[i], heights[i] = header.format, header.width_px, header.height_px
                focals[i] = header.focal_35mm
                if min(header.width_px, header.height_px) < config.min_side_px:
                    size = f"{header.width_px} x {header.height_px} pixels"
                    raise RejectedImageError(f"{size}, the shorter side has fewer than min_side_px = {config.min_side_px}")
                batch.frame(i)
            except ImageError as error:
                batch.mark_row(i, error.status, self.info.name, type(error).__name__, str(error))
        return batch
