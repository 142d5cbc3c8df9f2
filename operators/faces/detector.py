"""Find every face of every image of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.blazeface import INPUT_PX, box_iou, decode, weighted_nms
from operators.faces.geometry import invert_similarity, shrink, square_to_crop, transform_points, warp
from operators.faces.tflite_network import TfliteNetwork
from operators.types import NO_FACE, OperatorConfig, OperatorInfo, option


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
        "auto",
        "look again in overlapping tiles for small faces; auto does so when no face fills a good part of the image, or when "
        "there is a hint of one more",
    )
    tile_overlap: float = option(0.5, "overlap of neighbouring tiles, as a share of their side")
    auto_tile_below: float = option(0.25, "auto: look in tiles when the largest face is smaller than this share of the long side")
    hint_threshold: float = option(0.2, "auto: a candidate apart from all faces that is at least so confident is a hint")
    part_overlap: float = option(0.4, "of two boxes that share this much of the smaller one, the less confident is dropped")
    tile_levels: int = option(2, "how often the tile side is halved, from half the long side down")
    min_tile_px: int = option(160, "tiles are never smaller than this")
    batch_size: int = option(8, "windows per forward pass; up to 8 give the same bits on a CPU however they are grouped")


@dataclass(frozen=True)
class _Window:
    row: int
    matrix: Float[np.ndarray, "2 3"]
    """Full-image pixels to network input."""
    inside: Float[np.ndarray, "4"]
    """Detections must end within these borders of the window, -inf/inf where the window ends with the photo."""


@dataclass(frozen=True)
class _Picture:
    image: UInt8[np.ndarray, "h w 3"]
    """The photo averaged down by `factor`."""
    factor: int
    size: tuple[int, int]
    """Width and height of the photo itself."""

    def crop(self, matrix: Float[np.ndarray, "2 3"]) -> UInt8[np.ndarray, "128 128 3"]:
        """Network input of a window given in pixels of the photo; black beyond the photo."""
        return warp(self.image, matrix * np.array([self.factor, self.factor, 1]), INPUT_PX, "zero")


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


def _tiles(row: int, width: int, height: int, config: FaceDetectorConfig) -> list[_Window]:
    windows = []
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
        self._network = TfliteNetwork(*(assets or AssetStore()).network("blazeface_short_range")).to(self.device).eval()

    def __call__(self, batch: Batch) -> Batch:
        pictures = {int(i): self._reduce(batch.frame(int(i))) for i in batch.live_rows()}
        sizes = {i: picture.size for i, picture in pictures.items()}
        found, hints = self._detect(pictures, [_whole(i, w, h) for i, (w, h) in sizes.items()], self.config.score_threshold)
        small = [i for i in sizes if self._wants_tiles(found.get(i), max(sizes[i]), i in hints)]
        if small:
            windows = [window for i in small for window in _tiles(i, *sizes[i], self.config)]
            for i, more in self._detect(pictures, windows, self.config.tile_score_threshold)[0].items():
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

    def _reduce(self, image: np.ndarray) -> _Picture:
        """As small as the smallest tile allows, so that a large photo is read once and not once per window."""
        height, width = image.shape[:2]
        factor = max(int(max(height, width) / 2**self.config.tile_levels / INPUT_PX), 1)
        return _Picture(shrink(image, factor) if factor > 1 else image, factor, (width, height))

    def _wants_tiles(self, faces: np.ndarray | None, long_side: int, hint: bool) -> bool:
        if self.config.tiles != "auto":
            return self.config.tiles == "always"
        if faces is None or hint:
            return True
        return float(np.max(faces[:, 3:5] - faces[:, 1:3])) < self.config.auto_tile_below * long_side

    def _detect(
        self, pictures: dict[int, _Picture], windows: list[_Window], threshold: float
    ) -> tuple[dict[int, np.ndarray], set[int]]:
        """Per row an array of score, box and keypoints in full-image pixels, not suppressed across windows; rows with hints."""
        found: dict[int, list[np.ndarray]] = {}
        hints: set[int] = set()
        step = self.config.batch_size
        for start in range(0, len(windows), step):
            group = windows[start : start + step]
            pixels = np.stack([pictures[w.row].crop(w.matrix) for w in group])
            images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            out = self._network(images)
            scores, shapes = decode(out["regressors"], out["classificators"])
            for window, window_scores, window_shapes in zip(group, scores, shapes, strict=True):
                good = window_scores >= threshold
                weak = (window_scores >= self.config.hint_threshold) & ~good
                if _any_apart(window_shapes[weak], window_shapes[good]):
                    hints.add(window.row)
                if not good.any():
                    continue
                kept_scores, kept = weighted_nms(window_scores[good], window_shapes[good], self.config.iou_threshold)
                points = transform_points(invert_similarity(window.matrix), kept.reshape(-1, 2)).reshape(-1, 16)
                ends = (points[:, :2] > window.inside[:2]).all(1) & (points[:, 2:4] < window.inside[2:]).all(1)
                rows = np.concatenate((kept_scores[:, None], points), 1)[ends]
                if len(rows):
                    found.setdefault(window.row, []).append(rows.astype(np.float32))
        return {row: np.concatenate(parts) for row, parts in found.items()}, hints

    def _choose(self, faces: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        scores, shapes = weighted_nms(faces[:, 0], faces[:, 1:], self.config.iou_threshold)
        keep = np.min(shapes[:, 2:4] - shapes[:, :2], axis=1) >= self.config.min_face_px
        keep &= ~_part_of_a_better_one(shapes, self.config.part_overlap)
        faces = np.concatenate((scores[:, None], shapes), 1)[keep]
        if self.config.keep != "all" and len(faces):
            middle = (faces[:, 1:3] + faces[:, 3:5]) / 2
            offset = middle - np.array(size) / 2
            rank = {
                "largest": -np.prod(faces[:, 3:5] - faces[:, 1:3], axis=1),
                "most_confident": -faces[:, 0],
                "central": np.hypot(offset[:, 0], offset[:, 1]),
            }[self.config.keep]
            faces = faces[[int(np.argmin(rank))]]
        return faces[: self.config.max_faces]


def _any_apart(weak: Float[np.ndarray, "m 16"], good: Float[np.ndarray, "n 16"]) -> bool:
    """Whether the middle of any weak box lies well outside all good ones."""
    middle, half = (good[:, :2] + good[:, 2:4]) / 2, (good[:, 2:4] - good[:, :2]) / 2
    offset = np.abs((weak[:, None, :2] + weak[:, None, 2:4]) / 2 - middle)
    outside = np.any(offset > 1.5 * half, axis=2)
    return bool(np.any(np.all(outside, axis=1)))


def _part_of_a_better_one(shapes: Float[np.ndarray, "n 16"], share: float) -> np.ndarray:
    """Boxes that have a good share of the smaller box in common with one of higher score: parts of the same head, or a hand."""
    out = np.zeros(len(shapes), bool)
    areas = np.prod(shapes[:, 2:4] - shapes[:, :2], axis=1)
    for i in range(1, len(shapes)):
        iou = box_iou(shapes[i], shapes[:i])
        overlap = iou * (areas[i] + areas[:i]) / (1 + iou)
        out[i] = bool(np.any((overlap > share * np.minimum(areas[i], areas[:i])) & ~out[:i]))
    return out
