"""Segment Anything, prompted by landmarks: one encoder pass over the crops, one decoder pass over all their prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from segment_anything.modeling import Sam
from torch import Tensor

from operators import masks
from operators.assets import AssetStore
from operators.batch import Batch
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.open import open_network
from operators.networks.sam import sizes_in
from operators.networks.sam_encoder import at_side
from operators.segment.base import READS, WRITES
from operators.segment.given import given_occluders
from operators.segment.presence import EVIDENCE_THRESHOLD, is_covered, occluder_evidence
from operators.segment.prompts import Prompts, eye_line_and_scale, face_prompts, landmarks_in_crop, occluder_prompts
from operators.segment.regions import LEFT_EYE, OVAL, RIGHT_EYE, polygons
from operators.segment.sam_predict import Precision, Prompt, SamBatch, stability_score
from operators.types import OperatorConfig, OperatorInfo, option


@dataclass(frozen=True)
class SamSegmenterConfig(OperatorConfig):
    """Settings of `SamSegmenter`."""

    kind: Literal["sam"] = option("sam", "Segment Anything with an official checkpoint")
    checkpoint: str = option(
        "", "official file (.pth or .safetensors, see docs/networks.md), or the name of a network that `jobs.assets convert` made"
    )
    model: Literal["auto", "vit_b", "vit_l", "vit_h"] = option(
        "auto", "image encoder that the checkpoint must have; auto takes what is in the file, of any size"
    )
    batch_size: int = option(4, "crops per encoder and decoder pass on a GPU; on a CPU they go one by one")
    precision: Precision = option(
        "float32", "arithmetic of the image encoder; an image that half precision gives no numbers is done again in float32"
    )
    input_side: int = option(0, "longest side that crops are scaled to, a multiple of 16; 0 = the model's own (1024)")
    refine_passes: Literal[0, 1, 2] = option(0, "decoder passes more, each with the mask so far as one more prompt")
    evidence_threshold: float = option(EVIDENCE_THRESHOLD, "evidence of a covered lower face below which there is no occluder")

    @property
    def checkpoints(self) -> dict[str, str]:
        """Field -> system of every official checkpoint that the config names."""
        return {"checkpoint": "sam"}


class SamSegmenter:
    """Occluder and visible face of every live face from a promptable segmenter.

    Kirillov et al., "Segment Anything", ICCV 2023. `sam` takes an already built model instead of the checkpoint.
    Errors: CheckpointError; ValueError when the model cannot take the input side.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("SamSegmenter", "2", READS, WRITES, wants_gpu=True)

    def __init__(
        self,
        config: SamSegmenterConfig = SamSegmenterConfig(),
        assets: AssetStore | None = None,
        device: str = "cpu",
        sam: Sam | None = None,
    ):
        self.config = config
        network = load_sam(config.model, config.checkpoint, assets) if sam is None else sam
        network = at_side(network, config.input_side).to(device)
        self.predictor = SamBatch(network, config.precision, config.batch_size, 2 * config.batch_size)

    def __call__(self, batch: Batch) -> Batch:
        faces = batch.live_faces()
        if not len(faces):
            return batch
        crops, valid = batch.faces["crop"][faces], batch.faces["crop_valid"][faces]
        landmarks = landmarks_in_crop(batch, faces)
        size = crops.shape[1]
        parts = []
        for start in range(0, len(faces), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            prompts = occluder_prompts(landmarks[part], size), face_prompts(landmarks[part], size)
            parts.append(segment(self.predictor, crops[part], prompts, self.config.refine_passes))
        found, iou, stability = (torch.cat([part[k] for part in parts], 1).cpu().numpy() for k in range(3))

        given, is_given = given_occluders(batch, faces, size)
        occluder = np.where(is_given[:, None, None], given, found[0])
        covered = is_covered(occluder_evidence(crops, landmarks), crops, landmarks, occluder, self.config.evidence_threshold)
        occluder &= (covered | is_given)[:, None, None]
        unit = np.linalg.norm(eye_line_and_scale(landmarks)[1], axis=1)
        eyes = polygons(landmarks[:, LEFT_EYE], size) | polygons(landmarks[:, RIGHT_EYE], size)
        oval = masks.erode(polygons(landmarks[:, OVAL], size), 0.03 * unit)
        visible = found[1] & oval & ~masks.dilate(occluder, 0.04 * unit) & ~masks.dilate(eyes, 0.05 * unit)
        batch.put("occluder", occluder & valid, faces)
        batch.put("occluder_iou", np.where(is_given, 1.0, iou[0]), faces)
        batch.put("occluder_stability", np.where(is_given, 1.0, stability[0]), faces)
        batch.put("visible_face", visible & valid, faces)
        batch.put("visible_face_iou", iou[1], faces)
        batch.put("visible_face_stability", stability[1], faces)
        return batch


def load_sam(model: str, checkpoint: str, store: AssetStore | None = None) -> Sam:
    """A checkpoint's SAM, which must be of the named kind unless that is `auto`. Errors: CheckpointError."""
    sam = open_network("sam", checkpoint, store)
    assert isinstance(sam, Sam)
    found = sizes_in(sam).name
    if model not in ("auto", found):
        raise CheckpointError(checkpoint, f"a SAM {model}", found, f"give a {model} file, or set model to auto")
    return sam


@torch.inference_mode()
def segment(
    predictor: SamBatch, crops: UInt8[np.ndarray, "faces h w 3"], kinds: tuple[Prompts, ...], refine_passes: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (kinds, faces, h, w), predicted IoUs and stability scores (kinds, faces) of several kinds of prompts.

    Of each prompt's three masks the one with the highest predicted IoU; after refinement, the single one.
    """
    count, height, width = crops.shape[:3]
    embedded = predictor.embed(list(crops))
    new_height, new_width = embedded.scaled[0]
    # SAM counts from pixel centres and adds the half pixel itself, at its own scale.
    half = 0.5 * np.array([width / new_width, height / new_height])
    prompts = [
        Prompt(i, kind.points_px[i] - half, kind.labels[i], kind.box_xyxy_px[i] - np.tile(half, 2))
        for kind in kinds
        for i in range(count)
    ]
    found = [one.best() for one in predictor.decode(embedded, prompts)]
    for _ in range(refine_passes):
        found = predictor.refine(embedded, prompts, found)
    logits = torch.cat(predictor.full_size(embedded, prompts, found))
    parts = logits > predictor.sam.mask_threshold, torch.cat([one.iou for one in found]), stability_score(logits)
    return tuple(part.unflatten(0, (len(kinds), count)) for part in parts)  # type: ignore[return-value]
