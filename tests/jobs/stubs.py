"""Cheap operators that stand in for the real ones: what is tested is the plan that moves them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from jobs.plan import Stage, with_drops
from operators.batch import Batch
from operators.codec import encode
from operators.images import ImageDecoder, ImageDecoderConfig
from operators.types import OperatorConfig, OperatorInfo, option


@dataclass(frozen=True)
class FindConfig(OperatorConfig):
    """Faces per image."""

    faces: int = option(2, "faces in every image")


_NOTHING, _TWO = OperatorConfig(), FindConfig()


class Finder:
    """Every image has `faces` faces, an image whose first pixel is (255, 0, 0) raises, one of (0, 0, 255) has none."""

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "finder", "1", ("image_bytes",), ("box_xyxy_px", "detection_score", "crop", "crop_valid")
    )

    def __init__(self, config: FindConfig = _TWO, assets: Any = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        rows, crops = [], []
        for i in batch.live_rows():
            pixel = tuple(batch.frame(i)[0, 0])
            if pixel == (255, 0, 0):
                raise ValueError("the photo is poison")
            if pixel == (0, 0, 255):
                batch.mark_row(i, "no_face", self.info.name, "NoFace", "no face")
                continue
            rows += [i] * self.config.faces
            crops += [batch.frame(i)[:8, :8]] * self.config.faces
        batch.set_faces(np.array(rows, np.int64))
        n = len(rows)
        batch.put("box_xyxy_px", np.tile(np.array([0, 0, 8, 8], np.float32), (n, 1)))
        batch.put("detection_score", np.full(n, 0.5, np.float32))
        batch.put("crop", np.stack(crops) if n else np.zeros((0, 8, 8, 3), np.uint8))
        batch.put("crop_valid", np.ones((n, 8, 8), bool))
        return batch


class Inverter:
    """The crops, inverted."""

    info: ClassVar[OperatorInfo] = OperatorInfo("inverter", "1", ("crop",), ("inpainted",))

    def __init__(self, config: OperatorConfig = _NOTHING, assets: Any = None, device: str = "cpu"):
        pass

    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        if len(live):
            batch.put("inpainted", 255 - batch.faces["crop"][live], live)
        return batch


class Writer:
    """Pastes the first face back and keeps its crop as an artifact."""

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "writer", "1", ("image_bytes", "inpainted", "face_index"), ("restored_bytes", "artifact_bytes")
    )

    def __init__(self, config: OperatorConfig = _NOTHING, assets: Any = None, device: str = "cpu"):
        pass

    def __call__(self, batch: Batch) -> Batch:
        restored, files = list(batch.rows["restored_bytes"]), list(batch.rows["artifact_bytes"])
        for j in batch.live_faces():
            i = int(batch.face_row[j])
            image = batch.frame(i).copy()
            image[:8, :8] = batch.faces["inpainted"][j]
            restored[i], files[i] = encode(image), {"face0_crop.png": encode(batch.faces["inpainted"][j])}
        batch.rows.update(restored_bytes=restored, artifact_bytes=files)
        return batch


def stub_stages(faces: int = 2) -> tuple[Stage, ...]:
    """decode -> detect -> inpaint -> paste with stubs."""
    return with_drops(
        [
            Stage("decode", ImageDecoder, ImageDecoderConfig()),
            Stage("detect", Finder, FindConfig(faces)),
            Stage("inpaint", Inverter, OperatorConfig()),
            Stage("paste", Writer, OperatorConfig()),
        ]
    )


def write_photos(folder: Path, count: int, poison: tuple[int, ...] = (), faceless: tuple[int, ...] = ()) -> None:
    """`count` small PNGs of noise, some of them special to `Finder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 200, (24, 32, 3), dtype=np.uint8)
        pixels[0, 0] = (255, 0, 0) if i in poison else (0, 0, 255) if i in faceless else (1, 2, 3)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "PNG")
        (folder / f"photo{i:03d}.png").write_bytes(sink.getvalue())
