"""Segment Anything, prompted by landmarks: one encoder pass over the crops, one decoder pass over all their prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from operators import masks
from operators.assets import AssetStore
from operators.batch import Batch
from operators.segment.base import READS, WRITES
from operators.segment.given import given_occluders
from operators.segment.presence import EVIDENCE_THRESHOLD, is_covered, occluder_evidence
from operators.segment.prompts import Prompts, eye_line_and_scale, face_prompts, landmarks_in_crop, occluder_prompts
from operators.segment.regions import LEFT_EYE, OVAL, RIGHT_EYE, polygons
from operators.types import OperatorConfig, OperatorInfo, option

_STABILITY_OFFSET = 1.0


@dataclass(frozen=True)
class SamSegmenterConfig(OperatorConfig):
    """Settings of `SamSegmenter`."""

    kind: Literal["sam"] = option("sam", "Segment Anything with an official checkpoint")
    model: Literal["vit_b", "vit_l", "vit_h"] = option("vit_b", "image encoder that the checkpoint belongs to")
    checkpoint: str = option("", "path of the checkpoint, .pth or .safetensors")
    batch_size: int = option(4, "crops per encoder and decoder pass")
    evidence_threshold: float = option(EVIDENCE_THRESHOLD, "evidence of a covered lower face below which there is no occluder")


class Masks(NamedTuple):
    """The best of each prompt's three masks, with SAM's predicted IoU and the stability score."""

    masks: Bool[Tensor, "prompts h w"]
    iou: Float[Tensor, " prompts"]
    stability: Float[Tensor, " prompts"]


class SamSegmenter:
    """Occluder and visible face of every live face from a promptable segmenter.

    Kirillov et al., "Segment Anything", ICCV 2023. `sam` takes an already built model instead of the checkpoint.
    Errors: FileNotFoundError when there is no checkpoint; RuntimeError when it does not fit the model.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("SamSegmenter", "1", READS, WRITES, wants_gpu=True)

    def __init__(
        self,
        config: SamSegmenterConfig = SamSegmenterConfig(),
        assets: AssetStore | None = None,
        device: str = "cpu",
        sam: Sam | None = None,
    ):
        self.config = config
        self.sam = (sam if sam is not None else load_sam(config.model, config.checkpoint)).to(device).eval()

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
            parts.append(segment(self.sam, crops[part], prompts))
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


def load_sam(model: str, checkpoint: str) -> Sam:
    """The registered SAM of that name with an official checkpoint's weights; nothing but tensors is read from the file."""
    path = Path(checkpoint)
    if not checkpoint or not path.is_file():
        raise FileNotFoundError(
            f"SAM checkpoint {checkpoint!r} not found: set `checkpoint` to a {model} .pth or .safetensors file"
        )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(path)
    else:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    sam = sam_model_registry[model](checkpoint=None)
    sam.load_state_dict(weights)
    return sam


@torch.inference_mode()
def segment(sam: Sam, crops: UInt8[np.ndarray, "faces h w 3"], prompts: tuple[Prompts, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (kinds, faces, h, w), predicted IoUs and stability scores (kinds, faces) of several kinds of prompts.

    Every kind holds one prompt per crop, and all kinds the same number of points, so that they decode together.
    """
    count, height, width = crops.shape[:3]
    input_size, pixels = preprocess(sam, crops)
    embeddings = sam.image_encoder(pixels)
    scale = torch.tensor([input_size[1] / width, input_size[0] / height], device=sam.device)
    points = torch.as_tensor(np.concatenate([kind.points_px for kind in prompts]), device=sam.device)
    labels = torch.as_tensor(np.concatenate([kind.labels for kind in prompts]), device=sam.device)
    boxes = torch.as_tensor(np.concatenate([kind.box_xyxy_px for kind in prompts]), device=sam.device)
    # SAM counts from pixel centres and adds the half pixel itself.
    points = points * scale - 0.5
    boxes = boxes.reshape(-1, 2, 2) * scale - 0.5
    of_crop = torch.arange(count, device=sam.device).repeat(len(prompts))
    logits, iou = decode(sam, embeddings[of_crop], points, labels, boxes.reshape(-1, 4))
    best = choose(sam, logits, iou, input_size, (height, width))
    return tuple(value.unflatten(0, (len(prompts), count)) for value in best)  # type: ignore[return-value]


def preprocess(sam: Sam, crops: UInt8[np.ndarray, "faces h w 3"]) -> tuple[tuple[int, int], Float[Tensor, "faces 3 side side"]]:
    """Size after scaling the longest side to the encoder's (antialiased bilinear on uint8), and the normalised, padded input."""
    resize = ResizeLongestSide(sam.image_encoder.img_size)
    pixels = torch.as_tensor(np.stack([resize.apply_image(crop) for crop in crops]), device=sam.device)
    pixels = pixels.permute(0, 3, 1, 2).contiguous()
    return (pixels.shape[2], pixels.shape[3]), sam.preprocess(pixels)


def decode(
    sam: Sam,
    embeddings: Float[Tensor, "prompts channels y x"],
    points: Float[Tensor, "prompts n 2"],
    labels: Int[Tensor, "prompts n"],
    boxes: Float[Tensor, "prompts 4"],
) -> tuple[Float[Tensor, "prompts 3 h w"], Float[Tensor, "prompts 3"]]:
    """Low-resolution logits and predicted IoUs of the three multimask outputs, one image embedding per prompt.

    The package's decoder repeats a single embedding for all prompts; here each prompt brings its own.
    """
    encoder, decoder = sam.prompt_encoder, sam.mask_decoder
    sparse, dense = encoder(points=(points, labels), boxes=boxes, masks=None)
    count, channels, rows, columns = embeddings.shape
    queries = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(count, -1, -1)
    positions = encoder.get_dense_pe().expand(count, -1, -1, -1)
    queries, keys = decoder.transformer(embeddings + dense, positions, torch.cat([queries, sparse], 1))
    features = decoder.output_upscaling(keys.transpose(1, 2).reshape(count, channels, rows, columns))
    filters = [mlp(queries[:, 1 + k]) for k, mlp in enumerate(decoder.output_hypernetworks_mlps) if k > 0]
    logits = torch.einsum("pkc,pcyx->pkyx", torch.stack(filters, 1), features)
    return logits, decoder.iou_prediction_head(queries[:, 0])[:, 1:]


def choose(
    sam: Sam,
    logits: Float[Tensor, "prompts 3 h w"],
    iou: Float[Tensor, "prompts 3"],
    input_size: tuple[int, int],
    size: tuple[int, int],
) -> Masks:
    """The mask with the highest predicted IoU at crop size; stability is its IoU between logits above +1 and above -1."""
    at = torch.arange(len(iou), device=iou.device), iou.argmax(1)
    full = sam.postprocess_masks(logits[at][:, None], input_size, size)[:, 0]
    inner = (full > sam.mask_threshold + _STABILITY_OFFSET).sum((1, 2))
    outer = (full > sam.mask_threshold - _STABILITY_OFFSET).sum((1, 2))
    return Masks(full > sam.mask_threshold, iou[at], inner / outer.clamp(min=1))
