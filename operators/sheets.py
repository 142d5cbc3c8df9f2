"""Operators of synthesis and evaluation that make small pictures for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from operators.artifacts import shrink, tint
from operators.batch import Batch
from operators.images import ImageError, decode_rgb, encode
from operators.provenance import xmp_packet
from operators.types import FAILED, OperatorConfig, OperatorInfo, option


@dataclass(frozen=True)
class SampleSheetConfig(OperatorConfig):
    """The picture of a training sample in the report."""

    sheet: bool = option(True, "sheet.jpg: truth, masked picture and hole side by side, for the report")
    longest_px: int = option(256, "longest side of each of the three")
    quality: int = option(85, "quality of the JPEG files, 1 to 100")


class SampleSheet:
    """`sheet.jpg` of every row with a sample."""

    info: ClassVar[OperatorInfo] = OperatorInfo("SampleSheet", "1", ("sample_bytes",), ("artifact_bytes",))

    def __init__(self, config: SampleSheetConfig = SampleSheetConfig(), assets: object | None = None, device: str = "cpu"):
        self.config = config
        self._mark = xmp_packet("compositeSynthetic")

    def __call__(self, batch: Batch) -> Batch:
        artifacts = list(batch.rows["artifact_bytes"])
        for i, sample in enumerate(batch.rows["sample_bytes"]):
            if sample and self.config.sheet:
                artifacts[i] = {**(artifacts[i] or {}), "sheet.jpg": self._sheet(sample)}
        batch.rows["artifact_bytes"] = artifacts
        return batch

    def _sheet(self, sample: dict[str, bytes]) -> bytes:
        def picture(role: str) -> np.ndarray | None:
            names = [name for name in sample if name.rpartition(".")[0] == role and name != "json"]
            return shrink(decode_rgb(sample[names[0]]), self.config.longest_px) if names else None

        truth, masked, hole = picture("truth"), picture(""), picture("mask")
        parts = [part for part in (truth, masked) if part is not None]
        if masked is not None and hole is not None:
            parts.append(tint(masked, hole.max(-1) >= 128))
        return encode(np.concatenate(parts, axis=1), "JPEG", quality=self.config.quality, xmp=self._mark)


@dataclass(frozen=True)
class ResultSheetConfig(OperatorConfig):
    """Small pictures beside an evaluation's rows, for its report."""

    pictures: bool = option(True, "keep result.jpg of every row, and of the truth's rows masked.jpg, truth.jpg")
    longest_px: int = option(256, "longest side of each")
    quality: int = option(88, "quality of the JPEG files, 1 to 100")


class ResultSheet:
    """`result.jpg` of every row; `masked.jpg` and `truth.jpg` too in rows whose baseline is the truth itself."""

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "ResultSheet", "1", ("baseline", "image_bytes", "input_bytes", "truth_bytes"), ("artifact_bytes",)
    )

    def __init__(self, config: ResultSheetConfig = ResultSheetConfig(), assets: object | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        if not self.config.pictures:
            return batch
        artifacts = list(batch.rows["artifact_bytes"])
        for i, status in enumerate(batch.rows["status"]):
            if status == FAILED:
                continue
            wanted = {"result.jpg": batch.rows["image_bytes"][i]}
            if batch.rows["baseline"][i] == "truth":
                wanted = {"masked.jpg": batch.rows["input_bytes"][i], "truth.jpg": batch.rows["truth_bytes"][i]}
            artifacts[i] = {
                **(artifacts[i] or {}),
                **{name: small for name, data in wanted.items() if (small := self._small(data))},
            }
        batch.rows["artifact_bytes"] = artifacts
        return batch

    def _small(self, data: bytes | None) -> bytes:
        try:
            picture = decode_rgb(data) if data else None
        except ImageError:
            picture = None
        return b"" if picture is None else encode(shrink(picture, self.config.longest_px), "JPEG", quality=self.config.quality)
