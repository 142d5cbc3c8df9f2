"""What can be in front of a face besides masks, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize.base import Layer, Outfit
from operators.synthesize.hand import hand
from operators.synthesize.prints import PRINTS
from operators.synthesize.scarf import WEAVES, scarf
from operators.synthesize.setting import Scene
from operators.synthesize.strokes import FILLS, rectangle, strokes
from operators.synthesize.sunglasses import sunglasses

Image = UInt8[np.ndarray, "h w 3"]
Mesh = Float[np.ndarray, "468 k"]
Occluder = Callable[[np.ndarray, np.ndarray, Outfit, int, "tuple[float, float] | None"], Layer]

OCCLUDERS: dict[str, Occluder] = {
    "hand": hand,
    "rectangle": rectangle,
    "scarf": scarf,
    "strokes": strokes,
    "sunglasses": sunglasses,
}


OWN_TEXTURES: dict[str, tuple[str, ...]] = {"rectangle": FILLS, "strokes": FILLS, "scarf": WEAVES}
"""Textures that only one type has; a scarf can be printed, too."""
_FLAT = ("rectangle", "strokes")
_LARGEST_PX = 640
"""Faces taller than this are dressed at this height, and the layer is enlarged: relief and skin take time by the pixel."""


def occluder_layer(
    image: Image, landmarks468_px: Mesh, outfit: Outfit, seed: int, coverage: tuple[float, float] | None = None
) -> Layer:
    """Paint of one of `OCCLUDER_TYPES` in front of one face; `coverage` is the share of the face that it shall cover.

    A target that cannot be reached (sunglasses cover no half of a face) gives the nearest; `coverage_of` tells.
    Errors: ValueError for an unknown type.
    """
    if outfit.type not in OCCLUDERS:
        raise ValueError(f"occluder: expected one of {', '.join(OCCLUDERS)}, got {outfit.type!r}")
    draw = OCCLUDERS[outfit.type]
    tall = float(np.ptp(landmarks468_px[:, 1]))
    if outfit.type in _FLAT or tall <= _LARGEST_PX:
        return draw(image, landmarks468_px, outfit, seed, coverage)
    h, w = image.shape[:2]
    small = (max(1, round(w * _LARGEST_PX / tall)), max(1, round(h * _LARGEST_PX / tall)))
    shrink = np.array([small[0] / w, small[1] / h, _LARGEST_PX / tall], np.float32)
    tiny = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return _enlarged(draw(tiny, landmarks468_px * shrink, outfit, seed, coverage), image, landmarks468_px, seed)


def check_occluder(outfit: Outfit) -> None:
    """ValueError for a texture that this type of occluder cannot have; outfits of other types pass."""
    if outfit.type not in OCCLUDERS or outfit.texture is None:
        return
    known = OWN_TEXTURES.get(outfit.type, ()) + (PRINTS if outfit.type == "scarf" else ())
    if outfit.texture not in known:
        choice = f"one of {', '.join(known)}" if known else "none"
        raise ValueError(f"texture of {outfit.type}: expected {choice}, got {outfit.texture!r}")


def _enlarged(layer: Layer, image: np.ndarray, landmarks468_px: np.ndarray, seed: int) -> Layer:
    """The layer at the picture's size, with the grain that a smaller one cannot have."""
    size = (image.shape[1], image.shape[0])
    alpha = cv2.resize(layer.alpha, size, interpolation=cv2.INTER_LINEAR)
    paint = cv2.resize(layer.colour * layer.alpha[..., None], size, interpolation=cv2.INTER_LINEAR)
    light = None if layer.light is None else cv2.resize(layer.light, size, interpolation=cv2.INTER_LINEAR)
    whole = Layer(paint / np.maximum(alpha, 1e-4)[..., None], alpha, light)
    return replace(Scene.of(image, landmarks468_px), blur_px=0.0).finish(whole, seed)
