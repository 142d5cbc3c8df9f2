"""What a segmented occluder leaves over at its rim: nose clips, folds, shine, the beginnings of ear loops."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from operators import masks
from operators.segment.prompts import eye_line_and_scale
from operators.segment.regions import LEFT_BROW, LEFT_EYE, OVAL, RIGHT_BROW, RIGHT_EYE, hulls, polygons

# Spreads of one face's skin under one light, in logarithms: brightness, red against green, both against blue.
_SPREADS = (0.35, 0.12, 0.16)
_LOG = np.log(np.arange(256, dtype=np.float32) + 12)
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
    points = landmarks * (_WORKING / size)
    unit = np.linalg.norm(eye_line_and_scale(points)[1], axis=1)
    features = np.zeros((len(crops), _WORKING, _WORKING), bool)
    for part in (LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW):
        features |= polygons(points[:, part], _WORKING)
    features = masks.dilate(features, 0.02 * unit + 1)
    face = masks.dilate(polygons(points[:, OVAL], _WORKING), 0.02 * unit) & ~features
    pairs = (LEFT_EYE + LEFT_BROW, RIGHT_EYE + RIGHT_BROW)
    left, right = (hulls(points[:, pair], _WORKING) & ~features for pair in pairs)
    for i in np.flatnonzero(occluder.any((1, 2))).tolist():
        image = cv2.resize(crops[i], (_WORKING, _WORKING), interpolation=cv2.INTER_AREA)
        found = _remnants(image, _small(occluder[i]), _small(skin[i]), face[i], (left[i], right[i]), reach * _WORKING)
        if found is not None:
            out[i] = cv2.resize(found.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR) > 0.3
    return out & ~occluder


def _blurred(plane: np.ndarray) -> np.ndarray:
    return cv2.blur(cv2.blur(plane, (15, 15)), (15, 15))


def _small(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8), (_WORKING, _WORKING), interpolation=cv2.INTER_NEAREST) > 0


def _remnants(
    image: np.ndarray, occluder: np.ndarray, skin: np.ndarray, face: np.ndarray, eyelids: tuple[np.ndarray, ...], reach: float
) -> np.ndarray | None:
    inside = cv2.erode(occluder.astype(np.uint8), _THIN)
    if skin.sum() < _ENOUGH or inside.sum() < _ENOUGH:
        return None
    away = cv2.distanceTransform((~occluder).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    red, green, blue = np.moveaxis(_LOG[image], -1, 0)
    brightness, opponents = (red + green + blue) / 3, (red - green, (red + green) / 2 - blue)
    opponent = [plane / spread for plane, spread in zip((brightness, *opponents), _SPREADS, strict=True)]
    nearest = skin & (away <= np.median(away[skin]))
    unlike = np.sqrt(sum(np.square(plane - np.median(plane[nearest])) for plane in opponent))
    weight = inside.astype(np.float32)
    count = _blurred(weight)
    like = np.sqrt(sum(np.square(plane - _blurred(plane * weight) / np.maximum(count, 1e-4)) for plane in opponent))
    alike = (unlike > _UNLIKE) & (like < np.minimum(unlike, _ALIKE)) & (count > 1e-4)
    if any((alike & lid).sum() > _GLASSES * max(lid.sum(), 1) for lid in eyelids):
        return None
    band = (away > 0) & (away <= reach) & face
    found = band & alike
    _, labels = cv2.connectedComponents((found | occluder).astype(np.uint8), connectivity=8)
    joined = np.zeros(labels.max() + 1, bool)
    joined[labels[occluder]] = True
    broad = cv2.morphologyEx((found & joined[labels]).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return cv2.dilate(broad, _THIN).astype(bool) & band
