"""BlazeFace, short range: anchors, decoding, and suppression that averages.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from operators.assets import AssetStore
from operators.faces.graph import GraphNetwork

INPUT_PX = 128
_GRIDS = ((16, 2), (8, 6))  # cells per side, anchors per cell
_LOGIT_LIMIT = 100.0


def anchor_centres() -> Float[Tensor, "anchors 2"]:
    """Centres (x, y) of the 896 anchors in the unit square: cell centres in row order, repeated per anchor."""
    parts = []
    for cells, repeats in _GRIDS:
        steps = (torch.arange(cells, dtype=torch.float32) + 0.5) / cells
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        parts.append(torch.stack([x, y], -1).reshape(-1, 2).repeat_interleave(repeats, 0))
    return torch.cat(parts)


class BlazeFace:
    """Boxes, key points and scores of every anchor, for a batch of square images."""

    def __init__(self, assets: AssetStore, device: str, batch_size: int):
        self.network = GraphNetwork.load(assets, "blazeface_short_range", device)
        self.anchors = anchor_centres().to(device)
        self.device, self.batch_size = device, batch_size

    def __call__(
        self, images: Float[Tensor, "images 3 128 128"]
    ) -> tuple[Float[Tensor, "images anchors"], Float[Tensor, "images anchors 8 2"]]:
        """Scores in [0, 1], and points in input pixels: box low and high corner, then the six key points.

        `images` are in [0, 1].
        """
        out = self.network.in_chunks(images * 2 - 1, self.batch_size)
        scores = out["classificators"][..., 0].clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT).sigmoid()
        raw = out["regressors"].reshape(len(images), -1, 8, 2)
        centre = raw[:, :, :1] + self.anchors[:, None] * INPUT_PX
        half = raw[:, :, 1:2] / 2
        points = raw[:, :, 2:] + self.anchors[:, None] * INPUT_PX
        return scores, torch.cat([centre - half, centre + half, points], 2)


def overlap(box: Float[np.ndarray, "4"], boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Intersection over union of one box with many."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    return common / np.maximum((box[2:] - box[:2]).clip(0).prod() + areas - common, 1e-9)


def weighted_suppression(
    scores: Float[np.ndarray, " n"], points: Float[np.ndarray, "n 8 2"], threshold: float
) -> tuple[Float[np.ndarray, " kept"], Float[np.ndarray, "kept 8 2"]]:
    """Non-maximum suppression where a kept detection becomes the score-weighted mean of those it suppresses.

    Order of the result: score downwards, then left to right, then top to bottom.
    """
    order = np.lexsort((points[:, 0, 1], points[:, 0, 0], -scores))
    scores, points = scores[order], points[order]
    boxes = points[:, :2].reshape(-1, 4)
    left = np.arange(len(scores))
    kept_scores, kept_points = [], []
    while len(left):
        near = overlap(boxes[left[0]], boxes[left]) > threshold
        near[0] = True
        group = left[near]
        weight = scores[group] / scores[group].sum()
        kept_scores.append(scores[group[0]])
        kept_points.append(np.einsum("n,nij->ij", weight, points[group]))
        left = left[~near]
    return np.array(kept_scores, np.float32), np.array(kept_points, np.float32).reshape(-1, 8, 2)
