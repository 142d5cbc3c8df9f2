"""Find all faces of all images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.blazeface import INPUT_PX, BlazeFace, overlap, weighted_suppression
from operators.faces.geometry import invert_similarity, square_to_crop, transform_points, warp_to_crop
from operators.types import NO_FACE, OperatorConfig, OperatorInfo, option

_SAME_FACE = 0.3  # intersection over union above which two detections are one face (MediaPipe's own value)
_SMALLEST_SEEN = 0.12  # share of the network's input that a face must span to be found reliably
_MOST_TILES = 512  # no further halving beyond this many
_PADDING = 1.5  # the second look at an image without a face: the same image with a frame around it


@dataclass(frozen=True)
class FaceDetectorConfig(OperatorConfig):
    """Which faces are found and which of them are kept."""

    score_threshold: float = option(0.5, "least confidence of a face in the whole image")
    tile_score_threshold: float = option(0.75, "least confidence of a face that only a tile of the image shows")
    min_face_px: float = option(32.0, "faces whose box is narrower than this are ignored")
    max_faces: int = option(16, "at most this many faces of one image")
    keep: Literal["all", "largest", "most_confident", "central"] = option("all", "which faces of an image to work on")
    tiling: Literal["auto", "always", "never"] = option("auto", "look for small faces in overlapping tiles of the image")
    tile_below: float = option(0.3, "auto: tile when the largest face spans less than this share of the longer side")
    batch_size: int = option(8, "squares per network call")


class FaceDetector:
    """Writes one face per detection, the most confident first; rows without any get the status no_face.

    The whole image is seen first, letterboxed to 128 px; images without a face again with a frame around them (tight
    crops); images that may hold small faces also in half-overlapping tiles of 1/2, 1/4, … of the longer side.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="face_detector",
        version="1",
        reads=("image_bytes",),
        writes=("face_index", "face_status", "face_message", "box_xyxy_px", "detection_score", "detection_keypoints_px"),
        assets=("blazeface_short_range",),
        wants_gpu=True,
    )

    def __init__(self, config: FaceDetectorConfig = FaceDetectorConfig(), assets: AssetStore | None = None, device: str = "cpu"):
        self.config, self.device = config, device
        self.network = BlazeFace(assets or AssetStore(), device, config.batch_size)

    def __call__(self, batch: Batch) -> Batch:
        rows = batch.live_rows()
        frames = [batch.frame(int(i)) for i in rows]
        found = self.detect(frames)
        counts = np.zeros(len(batch), np.int64)
        counts[rows] = [len(scores) for scores, _ in found]
        batch.set_faces(np.repeat(np.arange(len(batch)), counts))
        scores = np.concatenate([np.zeros(0, np.float32), *(s for s, _ in found)])
        points = np.concatenate([np.zeros((0, 8, 2), np.float32), *(p for _, p in found)])
        batch.put("detection_score", scores)
        batch.put("box_xyxy_px", points[:, :2].reshape(-1, 4))
        batch.put("detection_keypoints_px", points[:, 2:])
        for i in rows[counts[rows] == 0]:
            message = f"no face of at least {self.config.min_face_px:g} px with confidence {self.config.score_threshold:g}"
            batch.mark_row(int(i), NO_FACE, self.info.name, "NoFace", message)
        return batch

    def detect(self, frames: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per image: scores (n,), and points (n, 8, 2) in image pixels: box low and high corner, six key points."""
        config = self.config
        sizes = [np.array([frame.shape[1], frame.shape[0]], np.float64) for frame in frames]
        looks = [(k, np.array([*size / 2, size.max()])) for k, size in enumerate(sizes)]
        found = self._look(frames, looks, config.score_threshold)
        empty = [k for k in range(len(frames)) if not len(found[k][0])]
        padded = [(k, np.array([*sizes[k] / 2, _PADDING * sizes[k].max()])) for k in empty]
        found = _merge(found, self._look(frames, padded, config.score_threshold))
        tiles = [(k, square) for k, size in enumerate(sizes) if self._wants_tiles(size, found[k]) for square in self._tiles(size)]
        found = _merge(found, self._look(frames, tiles, config.tile_score_threshold))
        return [self._select(scores, points, size) for (scores, points), size in zip(found, sizes, strict=True)]

    def _look(
        self, frames: list[np.ndarray], looks: list[tuple[int, np.ndarray]], threshold: float
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Detections per image from squares (image index, [centre x, centre y, side]) of the images."""
        found = [(np.zeros(0, np.float32), np.zeros((0, 8, 2), np.float32)) for _ in frames]
        for start in range(0, len(looks), 8 * self.config.batch_size):
            part = looks[start : start + 8 * self.config.batch_size]
            squares = np.stack([square for _, square in part])
            matrices = square_to_crop(squares[:, :2], squares[:, 2], np.zeros(len(part)), INPUT_PX)
            crops = [warp_to_crop(frames[k], matrix, INPUT_PX) for (k, _), matrix in zip(part, matrices, strict=True)]
            images = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float() / 255
            scores, points = (values.cpu().numpy() for values in self.network(images))
            back = invert_similarity(matrices)
            for n, (k, _) in enumerate(part):
                good = scores[n] >= threshold
                mapped = transform_points(back[n], points[n][good].reshape(-1, 2).astype(np.float64)).reshape(-1, 8, 2)
                size = np.array([frames[k].shape[1], frames[k].shape[0]])
                whole = ~_cut(mapped, squares[n], size)
                kept = weighted_suppression(scores[n][good][whole], mapped[whole], _SAME_FACE)
                found = _merge_one(found, k, kept)
        return found

    def _wants_tiles(self, size: np.ndarray, found: tuple[np.ndarray, np.ndarray]) -> bool:
        if self.config.tiling != "auto":
            return self.config.tiling == "always"
        widths = found[1][:, 1, 0] - found[1][:, 0, 0]
        return not len(widths) or widths.max() < self.config.tile_below * size.max()

    def _tiles(self, size: np.ndarray) -> list[np.ndarray]:
        """Squares of 1/2, 1/4, … of the longer side, half overlapping, while they show faces of the smallest size."""
        squares, side = [], size.max() / 2
        while 2 * side * _SMALLEST_SEEN > self.config.min_face_px and len(squares) < _MOST_TILES:
            counts = np.maximum(np.ceil(size / side * 2 - 1), 1).astype(int)
            x, y = (np.linspace(min(side, n) / 2, n - min(side, n) / 2, c) for n, c in zip(size, counts, strict=True))
            squares += [np.array([cx, cy, side]) for cy in y for cx in x]
            side /= 2
        return squares

    def _select(self, scores: np.ndarray, points: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        extent = points[:, 1] - points[:, 0]
        big = extent.min(1) >= self.config.min_face_px if len(points) else np.zeros(0, bool)
        scores, points, extent = scores[big], points[big], extent[big]
        if not len(scores):
            return scores, points
        off_centre = np.abs(points[:, :2].mean(1) - size / 2).sum(1)
        rank = {"largest": -extent.prod(1), "central": off_centre}.get(self.config.keep, -scores)
        chosen = np.lexsort((points[:, 0, 1], points[:, 0, 0], -scores, rank))
        chosen = chosen[: self.config.max_faces if self.config.keep == "all" else 1]
        return scores[chosen], points[chosen].astype(np.float32)


def _cut(points: Float[np.ndarray, "n 8 2"], square: Float[np.ndarray, "3"], size: np.ndarray) -> np.ndarray:
    """Whether a tile's edge, inside the photo, cuts the box: then a neighbouring tile shows the face whole."""
    low, high = square[:2] - square[2] / 2, square[:2] + square[2] / 2
    slack = 0.01 * square[2]
    return (((points[:, 0] < low + slack) & (low > 0)) | ((points[:, 1] > high - slack) & (high < size))).any(1)


def _merge_one(
    found: list[tuple[np.ndarray, np.ndarray]], k: int, more: tuple[np.ndarray, np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Image k with the detections of `more` that are no face already found (more than `_SAME_FACE`, or inside one)."""
    scores, points = found[k]
    for score, face in zip(*more, strict=True):
        box, boxes = face[:2].reshape(4), points[:, :2].reshape(-1, 4)
        centre = face[:2].mean(0)
        within = ((boxes[:, :2] < centre) & (centre < boxes[:, 2:])).all(1)
        if len(boxes) and (within.any() or (overlap(box, boxes) > _SAME_FACE).any()):
            continue
        scores, points = np.append(scores, score), np.concatenate([points, face[None]])
    return [*found[:k], (scores.astype(np.float32), points), *found[k + 1 :]]


def _merge(found: list, more: list) -> list[tuple[np.ndarray, np.ndarray]]:
    for k, extra in enumerate(more):
        found = _merge_one(found, k, extra)
    return found
