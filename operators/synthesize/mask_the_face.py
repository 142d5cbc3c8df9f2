"""The composite of MaskTheFace, number for number: for pairs like those that other projects trained on.

Its flaws belong to it: photo and mask are added where the mask is half transparent, brightness is matched to the whole
picture, and saturation by brightness again.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize.base import HOLE_ONLY, Masked, Outfit
from operators.synthesize.template_looks import stretched
from operators.synthesize.templates import Template

_TELEA_RADIUS_PX = 3


def composite(
    image: UInt8[np.ndarray, "h w 3"],
    template: Template,
    to_image: Float[np.ndarray, "3 3"] | None,
    outfit: Outfit,
    seed: int = 0,
) -> Masked:
    """Photo with the template bent by `to_image` (pixel centres at whole numbers); without a map the photo as it is.

    Anwar and Raychowdhury, "Masked face recognition for secure authentication", 2020, and its code. Colour and texture of
    the outfit are mixed in by their weights; a texture's picture is stretched over the template.
    """
    if to_image is None:
        return Masked(image.copy(), np.zeros(image.shape[:2], bool), np.zeros(image.shape[:2], np.float32))
    colour = _overlaid(template, outfit, seed)
    bent = bilinear(np.dstack([colour, template.alpha]), to_image, image.shape[:2])
    alpha = bent[..., 3]
    behind = np.where((alpha < 255)[..., None], image, 0)
    if outfit.type == HOLE_ONLY:
        out = cv2.inpaint(behind, alpha, _TELEA_RADIUS_PX, cv2.INPAINT_TELEA)
    else:
        brighter = (_brightness(image) - _brightness(colour)) / 255
        mask = _scaled(_scaled(bent[..., :3], 2, 1 + brighter), 1, 1 - brighter)
        out = cv2.add(behind, np.where((alpha > 0)[..., None], mask, 0).astype(np.uint8))
    return Masked(out, alpha > 0, alpha.astype(np.float32) / 255)


def bilinear(
    picture: UInt8[np.ndarray, "h w c"], to_image: Float[np.ndarray, "3 3"], shape: tuple[int, int]
) -> UInt8[np.ndarray, "y x c"]:
    """Perspective warp with exact bilinear weights, zero around it, rounded.

    OpenCV 4 rounds the weights to 1/32, which steep edges show as several levels of grey.
    """
    h, w = picture.shape[:2]
    columns, rows = np.meshgrid(np.arange(shape[1], dtype=np.float64), np.arange(shape[0], dtype=np.float64))
    at = np.linalg.inv(to_image) @ np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    with np.errstate(all="ignore"):
        x, y = at[0] / at[2], at[1] / at[2]
    hit = np.flatnonzero((x > -1) & (y > -1) & (x < w) & (y < h))
    x, y = x[hit] + 1, y[hit] + 1
    i, j = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (x - i)[:, None], (y - j)[:, None]
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0))).astype(np.float64)
    above = padded[j, i] * (1 - fx) + padded[j, i + 1] * fx
    below = padded[j + 1, i] * (1 - fx) + padded[j + 1, i + 1] * fx
    out = np.zeros((shape[0] * shape[1], picture.shape[2]), np.uint8)
    out[hit] = np.round(above * (1 - fy) + below * fy).astype(np.uint8)
    return out.reshape(*shape, -1)


def _overlaid(template: Template, outfit: Outfit, seed: int) -> np.ndarray:
    out, opaque = template.colour, (template.alpha > 0)[..., None]
    if outfit.texture is not None:
        cloth = stretched(template, outfit.texture, seed)
        out = _mixed(out, np.where(opaque, cloth, 0), outfit.texture_weight)
    if outfit.colour is not None:
        out = _mixed(out, np.where(opaque, np.array(outfit.colour), 0), outfit.colour_weight)
    return out


def _mixed(base: np.ndarray, overlay: np.ndarray, weight: float) -> np.ndarray:
    return cv2.addWeighted(base, 1 - weight, np.ascontiguousarray(overlay, np.uint8), weight, 0)


def _brightness(image: np.ndarray) -> int:
    return int(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 2].mean())


def _scaled(image: np.ndarray, channel: int, factor: float) -> np.ndarray:
    """One channel of hue, saturation, value multiplied, cut at 255 and truncated."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    hsv[..., channel] = np.minimum(hsv[..., channel] * factor, 255).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
