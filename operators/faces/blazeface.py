"""BlazeFace: anchors, decoding and weighted non-maximum suppression (Bazarevsky et al. 2019, MediaPipe's short-range graph)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

INPUT_PX = 128
_STRIDES = (8, 16, 16, 16)
_ANCHORS_PER_LAYER = 2
_LOGIT_LIMIT = 100.0


def anchors() -> Float[np.ndarray, "896 2"]:
    """Anchor centres in [0, 1]: two per cell at stride 8, six per cell at stride 16, row by row."""
    found: list[np.ndarray] = []
    for stride in dict.fromkeys(_STRIDES):
        cells = INPUT_PX // stride
        ys, xs = np.meshgrid((np.arange(cells) + 0.5) / cells, (np.arange(cells) + 0.5) / cells, indexing="ij")
        grid = np.stack((xs, ys), -1).reshape(-1, 1, 2)
        found.append(np.repeat(grid, _ANCHORS_PER_LAYER * _STRIDES.count(stride), axis=1).reshape(-1, 2))
    return np.concatenate(found).astype(np.float32)


def decode(
    regressors: Float[Tensor, "windows 896 16"], logits: Float[Tensor, "windows 896 1"]
) -> tuple[Float[np.ndarray, "windows 896"], Float[np.ndarray, "windows 896 16"]]:
    """Scores in [0, 1] and, in input pixels, x0 y0 x1 y1 followed by six keypoints."""
    raw = regressors.cpu().numpy()
    centre = anchors()[None] * INPUT_PX
    scores = torch.sigmoid(logits[..., 0].clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)).cpu().numpy()
    middle, half = raw[..., :2] + centre, raw[..., 2:4] / 2
    keypoints = raw[..., 4:].reshape(*raw.shape[:2], 6, 2) + centre[:, :, None]
    return scores, np.concatenate((middle - half, middle + half, keypoints.reshape(*raw.shape[:2], 12)), -1)


def box_iou(box: Float[np.ndarray, "k"], boxes: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n"]:
    """Intersection over union of one box with many; the first four numbers of each are x0 y0 x1 y1."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:4], boxes[:, 2:4])
    overlap = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    return overlap / np.maximum(np.prod(box[2:4] - box[:2]) + areas - overlap, 1e-9)


def weighted_nms(
    scores: Float[np.ndarray, "n"], shapes: Float[np.ndarray, "n 16"], iou_threshold: float
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m 16"]]:
    """Best first; each kept face is the score-weighted mean of all candidates that overlap it, and has the best's score."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    kept_scores, kept = [], []
    while len(order):
        best = order[0]
        near = box_iou(shapes[best], shapes[order]) > iou_threshold
        near[0] = True
        group = order[near]
        kept_scores.append(scores[best])
        kept.append(np.average(shapes[group], axis=0, weights=scores[group]))
        order = order[~near]
    return np.array(kept_scores, np.float32), np.array(kept, np.float32).reshape(-1, 16)
