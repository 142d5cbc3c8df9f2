"""Put every face's filled hole back into the full-resolution photo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from operators.batch import Batch
from operators.faces.geometry import invert_similarity, transform_points
from operators.grain import bands, noise, spread
from operators.images import decode_alpha, encode, icc_profile
from operators.provenance import SourceType, xmp_packet
from operators.types import FAILED, OK, OperatorConfig, OperatorInfo, option, row_seed


@dataclass(frozen=True)
class FacePasterConfig(OperatorConfig):
    """PNG and lossless WebP keep the promise that pixels outside the holes are the input's; JPEG is smaller and does not."""

    format: Literal["png", "webp_lossless", "jpeg"] = option(
        "png",
        "png and webp_lossless keep all pixels outside the holes bit for bit (2 to 5 times the size of jpeg); jpeg changes them",
    )
    quality: int = option(95, "quality of jpeg, 1 to 100")
    feather: float = option(0.008, "soft inner border of the hole, share of the crop's side; nothing outside the hole changes")
    grain: float = option(0.7, "share of the photo's grain put into fills that had to be enlarged; 0 = none")
    write_unchanged: bool = option(False, "also write photos in which nothing was filled")
    source_type: SourceType = option(
        "compositeWithTrainedAlgorithmicMedia", "IPTC digital source type written into restored photos"
    )


class FacePaster:
    """Composes `inpainted` of all live faces into the photo, most confident face on top, and encodes it upright.

    Alpha and an RGB colour profile of the input are kept (alpha not in JPEG). Rows without a filled face get no
    `restored_bytes` unless `write_unchanged`.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "FacePaster", "1", ("image_bytes", "crop_from_image", "inpainted", "hole", "visible_face"), ("restored_bytes",)
    )

    def __init__(self, config: FacePasterConfig = FacePasterConfig(), assets: object | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        restored = list(batch.rows["restored_bytes"])
        live = batch.live_faces()
        filled = live[batch.faces["hole"][live].any(axis=(1, 2))] if len(live) else live
        for i, status in enumerate(batch.rows["status"]):
            mine = filled[batch.face_row[filled] == i]
            if status != FAILED and (len(mine) or (self.config.write_unchanged and batch.rows["image_bytes"][i])):
                restored[i] = self._row(batch, i, mine if status == OK else mine[:0])
        batch.rows["restored_bytes"] = restored
        return batch

    def _row(self, batch: Batch, i: int, faces: np.ndarray) -> bytes:
        image = batch.frame(i).copy()
        for j in sorted(faces.tolist(), key=lambda j: -int(batch.faces["face_index"][j])):
            seed = row_seed(batch.rows["image_id"][i], int(batch.faces["face_index"][j]), self.info, self.config)
            column = {name: batch.faces[name][j] for name in ("inpainted", "hole", "crop_from_image")}
            visible = batch.faces["visible_face"][j] if "visible_face" in batch.faces else None
            paste_face(image, column["inpainted"], column["hole"], column["crop_from_image"], visible, self.config, seed)
        data, format = batch.rows["image_bytes"][i], self.config.format
        return encode(
            image,
            {"png": "PNG", "webp_lossless": "WEBP", "jpeg": "JPEG"}[format],
            quality=self.config.quality if format == "jpeg" else 100,
            alpha=None if format == "jpeg" else decode_alpha(data),
            icc=icc_profile(data),
            xmp=xmp_packet(self.config.source_type) if len(faces) else None,
        )


def paste_face(
    image: UInt8[np.ndarray, "height width 3"],
    inpainted: UInt8[np.ndarray, "h w 3"],
    hole: Bool[np.ndarray, "h w"],
    crop_from_image: Float[np.ndarray, "2 3"],
    visible_face: Bool[np.ndarray, "h w"] | None = None,
    config: FacePasterConfig = FacePasterConfig(),
    seed: int = 0,
) -> None:
    """Compose one filled crop into `image` in place. Only pixels whose centre falls into the hole can change.

    A crop smaller than its place in the photo is enlarged with Lanczos and given the photo's grain; a larger one is
    low-passed before it is sampled.
    """
    scale = math.hypot(crop_from_image[0, 0], crop_from_image[1, 0])  # crop pixels per photo pixel
    place = _place(hole, crop_from_image, image.shape[:2])
    if place is None or not scale > 0:
        return
    x0, y0, x1, y1 = place
    size = (x1 - x0, y1 - y0)
    # photo pixel index -> crop pixel index: both count from the first pixel's centre
    to_crop = np.array(crop_from_image, np.float64)
    to_crop[:, 2] += to_crop[:, :2] @ (np.array([x0, y0]) + 0.5) - 0.5

    def sample(picture: np.ndarray, flags: int, border: int) -> np.ndarray:
        return cv2.warpAffine(picture, to_crop, size, flags=flags | cv2.WARP_INVERSE_MAP, borderMode=border)

    inside = sample(hole.astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT) >= 0.5
    if not inside.any():
        return
    # the picture's own border is no border of the hole
    reach = np.pad(inside.astype(np.uint8), 1)
    for edge, at in (
        (np.s_[0, :], y0 == 0),
        (np.s_[-1, :], y1 == image.shape[0]),
        (np.s_[:, 0], x0 == 0),
        (np.s_[:, -1], x1 == image.shape[1]),
    ):
        if at:
            reach[edge] = 1
    distance = cv2.distanceTransform(reach, cv2.DIST_L2, 5)[1:-1, 1:-1]
    feather_px = max(config.feather * max(hole.shape) / scale, 1e-3)
    alpha = np.clip(distance / (feather_px + 1.0), 0, 1)[..., None] * inside[..., None]

    source = inpainted
    if scale > 1:  # the crop is finer than the photo
        source = cv2.GaussianBlur(inpainted, (0, 0), 0.5 * math.sqrt(scale**2 - 1) + 1e-3)
    fill = sample(source, cv2.INTER_LANCZOS4 if scale < 1 else cv2.INTER_LINEAR, cv2.BORDER_REPLICATE).astype(np.float32)
    window = image[y0:y1, x0:x1]
    if scale < 0.8 and config.grain > 0 and visible_face is not None:
        skin = sample(visible_face.astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT) >= 0.5
        fill += config.grain * _missing_grain(window, fill, skin & ~inside, inside, scale, seed)
    mixed = np.clip(np.rint(alpha * fill + (1 - alpha) * window), 0, 255).astype(np.uint8)
    image[y0:y1, x0:x1] = np.where(inside[..., None], mixed, window)


def _place(hole: np.ndarray, crop_from_image: np.ndarray, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Window of the photo around the hole (a margin for skin to measure included), clipped; None when outside."""
    ys, xs = np.nonzero(hole)
    if not len(ys):
        return None
    margin = 0.06 * max(hole.shape)
    corners = np.array(
        [[x, y] for x in (xs.min() - margin, xs.max() + 1 + margin) for y in (ys.min() - margin, ys.max() + 1 + margin)]
    )
    points = transform_points(invert_similarity(np.asarray(crop_from_image, np.float64)), corners)
    x0, y0 = np.maximum(np.floor(points.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(points.max(0)).astype(int), (shape[1], shape[0]))
    return (int(x0), int(y0), int(x1), int(y1)) if x1 > x0 and y1 > y0 else None


def _missing_grain(
    photo: np.ndarray, fill: np.ndarray, skin: np.ndarray, inside: np.ndarray, scale: float, seed: int
) -> Float[np.ndarray, "h w 3"]:
    """Noise in the bands finer than the crop could hold, with the spread of the photo's skin, mostly grey."""

    def tensor(picture: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32))[None]

    count = 1 + max(0, round(math.log2(1 / scale)))
    known, region = torch.from_numpy(skin)[None], torch.from_numpy(inside)[None]
    theirs, ours = bands(tensor(photo), known, count), bands(tensor(fill), region, count)
    seeds, (height, width) = torch.tensor([seed]), inside.shape
    own, shared = noise(seeds, 3, height, width, count), noise(seeds ^ 0x5EED, 1, height, width, count)
    result = torch.zeros((1, 3, *inside.shape))
    for i in range(count):
        lacking = (spread(theirs[i], known) ** 2 - spread(ours[i], region) ** 2).clamp_min(0).sqrt().clamp_max(5.0)
        result = result + lacking[..., None, None] * (0.9 * shared[i] + 0.436 * own[i])
    return result[0].permute(1, 2, 0).numpy()
