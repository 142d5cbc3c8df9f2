"""How a mask's picture is recoloured and printed on."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.codec import decode_rgb
from operators.image_header import ImageError
from operators.synthesize.base import Outfit
from operators.synthesize.prints import PRINTS, printed
from operators.synthesize.templates import Template

_BRIDGE_TO_CHIN_MM = 105.0  # from the nose's middle to under the chin, along an adult's mask
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_STRAP = 0.05  # of a template's width: what is thinner is a strap


def dressed(template: Template, outfit: Outfit, seed: int) -> Float[np.ndarray, "h w 3"]:
    """The template's colours 0-255 in the outfit's colour and print; folds and seams stay, as the template's own shades.

    Errors: ValueError for a texture that is neither a print's name nor a picture.
    """
    own = template.colour.astype(np.float32)
    if outfit.colour is None and outfit.texture is None:
        return own
    grey = own @ _LUMA
    solid = template.alpha > 200
    usual = float(np.median(grey[solid])) if solid.any() else 1.0
    folds = np.clip(grey / max(usual, 24.0), 0.15, 1.6)[..., None]
    out, body = own, _body(template)
    if outfit.colour is not None:
        flat = np.array(outfit.colour, np.float32)
        out = out + body * outfit.colour_weight * (_lit(flat, folds) - out)
    if outfit.texture is not None:
        cloth = texture_over(template, outfit.texture, seed, outfit.colour)
        out = out + body * outfit.texture_weight * (_lit(cloth, folds) - out)
    return out


def _body(template: Template) -> Float[np.ndarray, "h w 1"]:
    """1 on the mask and 0 on its straps, which keep their colour: what an opening by a disc takes away."""
    solid = (template.alpha > 60).astype(np.uint8)
    across = max(3, 2 * round(_STRAP * template.alpha.shape[1] / 2) + 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
    opened = cv2.morphologyEx(solid, cv2.MORPH_OPEN, disc, borderValue=0)
    # Corners of the mask that the disc does not reach belong to it, the roots of straps do not.
    grown = cv2.dilate(opened, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across // 2 | 1, across // 2 | 1)))
    return cv2.GaussianBlur(grown.astype(np.float32), (0, 0), 1.0)[..., None]


def texture_over(
    template: Template, name: str, seed: int, ground: tuple[int, int, int] | None = None
) -> Float[np.ndarray, "h w 3"]:
    """A print or a picture on the template's own pixels, 0-255, as large as it would be on an adult's mask."""
    h, w = template.alpha.shape
    middle, chin = template.points[1], template.points[4]
    mm = _BRIDGE_TO_CHIN_MM / max(float(np.linalg.norm(chin - middle)), 1.0)
    if name in PRINTS:
        x, y = np.meshgrid((np.arange(w) - middle[0]) * mm, (np.arange(h) - middle[1]) * mm)
        places = np.stack([x, y], -1).astype(np.float32)
        red, green, blue = (float(c) for c in ground or (0, 0, 0))
        colours = printed(name, places, np.random.default_rng(seed), (red, green, blue) if ground else None)
        return colours.astype(np.float32) * 255
    image = picture(name)
    scale = max(w / image.shape[1], h / image.shape[0])
    size = (max(w, round(image.shape[1] * scale)), max(h, round(image.shape[0] * scale)))
    large = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (size[1] - h) // 2, (size[0] - w) // 2
    return large[top : top + h, left : left + w].astype(np.float32)


def stretched(template: Template, name: str, seed: int) -> UInt8[np.ndarray, "h w 3"]:
    """A print, or a picture squeezed or stretched onto the template's own pixels."""
    if name in PRINTS:
        return np.round(texture_over(template, name, seed)).astype(np.uint8)
    return cv2.resize(picture(name), template.colour.shape[1::-1])


@lru_cache(maxsize=32)
def picture(path: str) -> UInt8[np.ndarray, "h w 3"]:
    """A texture's picture. Errors: ValueError that names the file."""
    try:
        return decode_rgb(Path(path).read_bytes())
    except (OSError, ImageError) as error:
        raise ValueError(f"texture {path!r}: {error}") from None


def _lit(colour: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Colour under light and shade; what is brighter than the cloth goes towards white instead of a stronger colour."""
    shaded = colour * np.minimum(folds, 1)
    return shaded + (250 - shaded) * np.clip(folds - 1, 0, 1) * 0.6
