"""Mask algebra on batches of bool masks: discs, holes, components, boundaries, soft edges.

Every function takes `faces h w` bool and returns the same shape; radii are in pixels, one for all or one per face.
Discs are exact: a pixel belongs to the disc of radius r when its centre is at most r away (Euclidean distance
transform, Felzenszwalb & Huttenlocher 2012, as in OpenCV), so the cost does not grow with the radius.
Outside the picture lies nothing: it neither dilates into the picture nor erodes it.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Num

Masks = Bool[np.ndarray, "faces h w"]
Radius = float | Num[np.ndarray, " faces"]


def _distance(mask: np.ndarray) -> np.ndarray:
    """(h, w) distance of each pixel's centre to the nearest True centre; infinite when there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _each(masks: np.ndarray, radius: Radius, change: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
    radii = np.broadcast_to(np.asarray(radius, np.float64), (len(masks),))
    out = np.empty(masks.shape, bool)
    for i, mask in enumerate(masks):
        out[i] = change(mask, float(radii[i]))
    return out


def dilate(masks: Masks, radius: Radius) -> Masks:
    """All pixels at most `radius` away from a True one; radius 0 changes nothing."""
    return _each(masks, radius, lambda mask, r: _distance(mask) <= r + 1e-4)


def erode(masks: Masks, radius: Radius) -> Masks:
    """Pixels whose disc of that radius holds no False pixel."""
    return ~dilate(~masks, radius)


def opening(masks: Masks, radius: Radius) -> Masks:
    """Erode, then dilate: drops everything thinner than the disc."""
    return dilate(erode(masks, radius), radius)


def closing(masks: Masks, radius: Radius) -> Masks:
    """Dilate, then erode: fills gaps and notches narrower than the disc."""
    return erode(dilate(masks, radius), radius)


def fill_holes(masks: Masks) -> Masks:
    """Add every False region (4-connected) that does not reach the picture's edge."""
    out = np.empty(masks.shape, bool)
    for i, mask in enumerate(masks):
        _, labels = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
        edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        out[i] = mask | ~np.isin(labels, edge)
    return out


def largest_component(masks: Masks) -> Masks:
    """The largest 8-connected component; of equals, the first from the top left."""
    return components_touching(masks, masks, most=True)


def components_touching(masks: Masks, anchors: Masks, most: bool = False) -> Masks:
    """8-connected components that share a pixel with `anchors`; with `most`, only the one that shares most."""
    out = np.zeros(masks.shape, bool)
    for i, (mask, anchor) in enumerate(zip(masks, anchors, strict=True)):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        shared = np.bincount(labels[anchor & mask], minlength=count)
        shared[0] = 0
        if most:
            shared = shared * (np.arange(count) == shared.argmax())
        out[i] = (shared > 0)[labels]
    return out


def boundary(masks: Masks) -> Masks:
    """True pixels with a False neighbour among their four; the picture's edge is no boundary."""
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode="edge")
    inside = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return masks & ~inside


def feather(masks: Masks, width: Radius) -> Float[np.ndarray, "faces h w"]:
    """Soft mask in [0, 1], float32: 0 outside, rising linearly to 1 at `width` pixels inside the mask."""
    radii = np.broadcast_to(np.asarray(width, np.float64), (len(masks),))
    out = np.empty(masks.shape, np.float32)
    for i, mask in enumerate(masks):
        out[i] = np.clip(_distance(~mask) / max(float(radii[i]), 1e-6), 0, 1)
    return out


def iou(a: Masks, b: Masks) -> Float[np.ndarray, " faces"]:
    """Intersection over union, float32; NaN when both are empty."""
    union = (a | b).sum((1, 2))
    return np.where(union > 0, (a & b).sum((1, 2)) / np.maximum(union, 1), np.nan).astype(np.float32)
