"""What a segmented occluder leaves over at its rim: nose clips, folds, shine, the beginnings of ear loops."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from operators import masks
from operators.segment.prompts import eye_line_and_scale
from operators.segment.regions import LEFT_BROW, LEFT_EYE, OVAL, RIGHT_BROW, RIGHT_EYE, hulls, polygons

# Spreads of one face's skin under one light, in logarithms: brightness, red against green, both against blue.
_SPREADS = np.array([0.35, 0.12, 0.16], np.float32)
_UNLIKE, _ALIKE = 1.4, 1.5
_WORKING = 128
_ENOUGH = 40
_GLASSES = 0.3
_THIN = np.ones((3, 3), np.uint8)


def rim_remnants(
    crops: UInt8[np.ndarray, "faces size size 3"],
    occluder: Bool[np.ndarray, "faces size size"],
    skin: Bool[np.ndarray, "faces size size"],
    landmarks: Float[np.ndarray, "faces 468 2"],
    reach: float = 0.12,
) -> Bool[np.ndarray, "faces size size"]:
    """Pixels of the face beside each occluder that have its colour rather than the skin's, and hang together with it.

    A pixel counts when it is far from the median of the nearest `skin` and nearer to the occluder's colour around there. It has
    to lie in the face's oval but not on an open eye or a brow, at most `reach` of the crop's side away from the occluder, and
    to be joined to it by such pixels, in a patch that is not as thin as a mixed edge. Faces without an occluder or with hardly
    any skin get none, nor do those whose eyelids look like the occluder: they wear sunglasses.
    """
    size = crops.shape[1]
    out = np.zeros(occluder.shape, bool)
    unit = np.linalg.norm(eye_line_and_scale(landmarks)[1], axis=1)
    features = np.zeros(occluder.shape, bool)
    for part in (LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW):
        features |= polygons(landmarks[:, part], size)
    features = masks.dilate(features, 0.02 * unit)
    face = masks.dilate(polygons(landmarks[:, OVAL], size), 0.02 * unit) & ~features
    eyelids = [
        hulls(landmarks[:, (*eye, *brow)], size) & ~features for eye, brow in ((LEFT_EYE, LEFT_BROW), (RIGHT_EYE, RIGHT_BROW))
    ]
    for i in range(len(crops)):
        image = cv2.resize(crops[i], (_WORKING, _WORKING), interpolation=cv2.INTER_AREA)
        small = [_small(mask[i]) for mask in (occluder, skin, face, *eyelids)]
        found = _remnants(image, *small, reach=reach * _WORKING)
        if found is not None:
            out[i] = cv2.resize(found.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR) > 0.3
    return out & ~occluder & face


def _small(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8), (_WORKING, _WORKING), interpolation=cv2.INTER_NEAREST) > 0


def _remnants(
    image: np.ndarray, occluder: np.ndarray, skin: np.ndarray, face: np.ndarray, *eyelids: np.ndarray, reach: float
) -> np.ndarray | None:
    inside = cv2.erode(occluder.astype(np.uint8), _THIN)
    if skin.sum() < _ENOUGH or inside.sum() < _ENOUGH:
        return None
    away = cv2.distanceTransform((~occluder).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    log = np.log(image.astype(np.float32) + 12)
    red, green, blue = log[..., 0], log[..., 1], log[..., 2]
    opponent = np.stack([log.mean(-1), red - green, (red + green) / 2 - blue], -1) / _SPREADS
    nearest = skin & (away <= np.median(away[skin]))
    unlike = np.linalg.norm(opponent - np.median(opponent[nearest], 0), axis=-1)
    weight = inside.astype(np.float32)[..., None]
    around = cv2.blur(cv2.blur(np.concatenate((opponent * weight, weight), -1), (15, 15)), (15, 15))
    like = np.linalg.norm(opponent - around[..., :3] / np.maximum(around[..., 3:], 1e-4), axis=-1)
    alike = (unlike > _UNLIKE) & (like < np.minimum(unlike, _ALIKE)) & (around[..., 3] > 1e-4)
    if any((alike & lid).sum() > _GLASSES * max(lid.sum(), 1) for lid in eyelids):
        return None
    band = (away > 0) & (away <= reach) & face
    found = band & alike
    _, labels = cv2.connectedComponents((found | occluder).astype(np.uint8), connectivity=8)
    joined = np.zeros(labels.max() + 1, bool)
    joined[labels[occluder]] = True
    broad = cv2.morphologyEx((found & joined[labels]).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return cv2.dilate(broad, _THIN).astype(bool) & band
