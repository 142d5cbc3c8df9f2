"""Find every face of every image of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.blazeface import INPUT_PX, box_iou, decode, weighted_nms
from operators.faces.chunks import run_in_chunks
from operators.faces.geometry import invert_similarity, square_to_crop, transform_points, warp
from operators.faces.tflite_network import TfliteNetwork
from operators.types import NO_FACE, OperatorConfig, OperatorInfo, option

_WINDOWS_AT_ONCE = 64  # crops held in memory together


@dataclass(frozen=True)
class FaceDetectorConfig(OperatorConfig):
    """What counts as a face, and which faces are kept."""

    score_threshold: float = option(0.5, "detections below this confidence are dropped")
    tile_score_threshold: float = option(0.6, "the same for detections in tiles, which see less context")
    iou_threshold: float = option(0.3, "detections that overlap more than this are one face")
    min_face_px: int = option(24, "faces with a smaller box side are dropped")
    max_faces: int = option(32, "keep at most so many faces per image, the most confident ones")
    keep: Literal["all", "largest", "most_confident", "central"] = option("all", "which faces of an image to keep")
    tiles: Literal["auto", "always", "never"] = option(
        "auto", "look again in overlapping tiles for small faces; auto does so when no face fills a good part of the image"
    )
    tile_overlap: float = option(0.5, "overlap of neighbouring tiles, as a share of their side")
    auto_tile_below: float = option(0.25, "auto: look in tiles when the largest face is smaller than this share of the long side")
    tile_levels: int = option(2, "how often the tile side is halved, from half the long side down")
    min_tile_px: int = option(160, "tiles are never smaller than this")
    batch_size: int = option(8, "windows per forward pass; fewer are filled up, so that results never depend on company")


@dataclass(frozen=True)
class _Window:
    row: int
    matrix: Float[np.ndarray, "2 3"]
    """Full-image pixels to network input."""
    inside: Float[np.ndarray, "4"]
    """Detections must end within these borders of the window, -inf/inf where the window ends with the photo."""


def _whole(row: int, width: int, height: int) -> _Window:
    side = float(max(width, height))
    centre = np.array([[width / 2, height / 2]])
    free = np.array([-np.inf, -np.inf, np.inf, np.inf])
    return _Window(row, square_to_crop(centre, np.array([side]), np.zeros(1), INPUT_PX)[0], free)


def tile_corners(width: int, height: int, side: float, overlap: float) -> Float[np.ndarray, "tiles 2"]:
    """Upper left corners of square tiles that cover the image, in row order."""

    def along(length: int) -> np.ndarray:
        if length <= side:
            return np.array([(length - side) / 2])
        count = int(np.ceil((length - side) / (side * (1 - overlap)))) + 1
        return np.linspace(0, length - side, count)

    ys, xs = np.meshgrid(along(height), along(width), indexing="ij")
    return np.stack((xs.ravel(), ys.ravel()), -1)


def _tiles(row: int, size: tuple[int, int], config: FaceDetectorConfig) -> list[_Window]:
    windows = []
    width, height = size
    for level in range(1, config.tile_levels + 1):
        side = max(width, height) / 2**level
        if side < config.min_tile_px:
            break
        for x, y in tile_corners(width, height, side, config.tile_overlap):
            matrix = square_to_crop(np.array([[x + side / 2, y + side / 2]]), np.array([side]), np.zeros(1), INPUT_PX)[0]
            inside = np.array(
                [
                    x if x > 0 else -np.inf,
                    y if y > 0 else -np.inf,
                    x + side if x + side < width else np.inf,
                    y + side if y + side < height else np.inf,
                ]
            )
            windows.append(_Window(row, matrix, inside))
    return windows


class FaceDetector:
    """BlazeFace on whole images and, for small faces, on tiles; one weighted suppression over all of them."""

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FaceDetector",
        version="1",
        reads=("image_bytes",),
        writes=("face_index", "face_status", "face_message", "box_xyxy_px", "detection_score", "detection_keypoints_px"),
        assets=("blazeface_short_range",),
        wants_gpu=True,
    )

    def __init__(self, config: FaceDetectorConfig = FaceDetectorConfig(), assets: AssetStore | None = None, device: str = "cpu"):
        self.config = config
        self.device = torch.device(device)
        network = TfliteNetwork(*(assets or AssetStore()).network("blazeface_short_range")).eval()
        self._network = network.to(device=self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def __call__(self, batch: Batch) -> Batch:
        frames = {int(i): batch.frame(i) for i in batch.live_rows()}
        sizes = {i: (frame.shape[1], frame.shape[0]) for i, frame in frames.items()}
        found = self._detect(batch, [_whole(i, w, h) for i, (w, h) in sizes.items()], self.config.score_threshold)
        small = [i for i in sizes if self._wants_tiles(found.get(i), max(sizes[i]))]
        if small:
            windows = [window for i in small for window in _tiles(i, sizes[i], self.config)]
            for i, more in self._detect(batch, windows, self.config.tile_score_threshold).items():
                found[i] = np.concatenate([found[i], more]) if i in found else more
        chosen = {i: self._choose(found[i], sizes[i]) for i in sizes if i in found}
        batch.set_faces(np.repeat(list(chosen), [len(v) for v in chosen.values()]) if chosen else np.zeros(0, np.int64))
        faces = np.concatenate([*chosen.values(), np.zeros((0, 17), np.float32)])
        batch.put("detection_score", faces[:, 0])
        batch.put("box_xyxy_px", faces[:, 1:5])
        batch.put("detection_keypoints_px", faces[:, 5:].reshape(-1, 6, 2))
        for i in sizes:
            if not len(chosen.get(i, ())):
                batch.mark_row(i, NO_FACE, self.info.name, "NoFace", "no face was found in the image")
        return batch

    def _wants_tiles(self, faces: np.ndarray | None, long_side: int) -> bool:
        if self.config.tiles != "auto":
            return self.config.tiles == "always"
        if faces is None:
            return True
        return float(np.max(faces[:, 3:5] - faces[:, 1:3])) < self.config.auto_tile_below * long_side

    def _detect(self, batch: Batch, windows: list[_Window], threshold: float) -> dict[int, np.ndarray]:
        """Per row an array of score, box and keypoints in full-image pixels, not yet suppressed across windows."""
        found: dict[int, list[np.ndarray]] = {}
        step = _WINDOWS_AT_ONCE
        for start in range(0, len(windows), step):
            group = windows[start : start + step]
            pixels = np.stack([warp(batch.frame(w.row), w.matrix, INPUT_PX, "zero") for w in group])
            images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            out = run_in_chunks(self._network, images, self.config.batch_size)
            scores, shapes = decode(out["regressors"], out["classificators"])
            for window, window_scores, window_shapes in zip(group, scores, shapes, strict=True):
                good = window_scores >= threshold
                if not good.any():
                    continue
                kept_scores, kept = weighted_nms(window_scores[good], window_shapes[good], self.config.iou_threshold)
                points = transform_points(invert_similarity(window.matrix), kept.reshape(-1, 2)).reshape(-1, 16)
                ends = (points[:, :2] > window.inside[:2]).all(1) & (points[:, 2:4] < window.inside[2:]).all(1)
                rows = np.concatenate((kept_scores[:, None], points), 1)[ends]
                if len(rows):
                    found.setdefault(window.row, []).append(rows.astype(np.float32))
        return {row: np.concatenate(parts) for row, parts in found.items()}

    def _choose(self, faces: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        scores, shapes = weighted_nms(faces[:, 0], faces[:, 1:], self.config.iou_threshold)
        keep = np.min(shapes[:, 2:4] - shapes[:, :2], axis=1) >= self.config.min_face_px
        keep &= ~_inside_a_better_one(shapes)
        faces = np.concatenate((scores[:, None], shapes), 1)[keep]
        if self.config.keep != "all" and len(faces):
            middle = (faces[:, 1:3] + faces[:, 3:5]) / 2
            rank = {
                "largest": -np.prod(faces[:, 3:5] - faces[:, 1:3], axis=1),
                "most_confident": -faces[:, 0],
                "central": np.linalg.norm(middle - np.array(size) / 2, axis=1),
            }[self.config.keep]
            faces = faces[[int(np.argmin(rank))]]
        return faces[: self.config.max_faces]


def _inside_a_better_one(shapes: Float[np.ndarray, "n 16"]) -> np.ndarray:
    """Boxes that lie mostly inside one of higher score and are much smaller or much larger: parts of the same face."""
    out = np.zeros(len(shapes), bool)
    areas = np.prod(shapes[:, 2:4] - shapes[:, :2], axis=1)
    for i in range(1, len(shapes)):
        iou = box_iou(shapes[i], shapes[:i])
        overlap = iou * (areas[i] + areas[:i]) / (1 + iou)
        out[i] = bool(np.any((overlap > 0.6 * np.minimum(areas[i], areas[:i])) & ~out[:i]))
    return out
