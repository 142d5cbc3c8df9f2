"""What everything that is put in front of a face has in common: what to put on, a layer of paint, and how it is laid on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

MASK_TYPES = ("surgical", "surgical_white", "surgical_green", "surgical_blue", "n95", "kn95", "cloth", "gas")
"""Worn over nose and mouth, with the names of MaskTheFace in lower case."""
OCCLUDER_TYPES = ("hand", "scarf", "sunglasses", "rectangle", "strokes")
HOLE_ONLY, NOTHING = "inpaint", "none"
_VISIBLE = 0.5 / 255


@dataclass(frozen=True)
class Outfit:
    """What to put on one face. `colour` is RGB; `texture` a built-in print's name or a picture file; None = the type's own."""

    type: str
    colour: tuple[int, int, int] | None = None
    texture: str | None = None
    colour_weight: float = 0.5
    texture_weight: float = 0.5


@dataclass(frozen=True)
class Layer:
    """Paint in front of a photo: `colour` in 0-255 where `alpha` > 0; `light` multiplies the photo behind it (shadow < 1)."""

    colour: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"]
    light: Float[np.ndarray, "h w"] | None = None


@dataclass(frozen=True)
class Masked:
    """A photo with something in front of it.

    `hole` marks every pixel that may have changed, and nothing outside it has; `alpha` is the occluder's opacity, so that
    `alpha >= 0.5` is the occluder without its shadow and its soft edge.
    """

    image: UInt8[np.ndarray, "h w 3"]
    hole: Bool[np.ndarray, "h w"]
    alpha: Float[np.ndarray, "h w"]


def lay(image: UInt8[np.ndarray, "h w 3"], layer: Layer) -> Masked:
    """Lay paint over a photo: out = photo * light * (1 - alpha) + colour * alpha, rounded.

    Opacity and shadow that could not change a level of grey are dropped, so the hole ends where the change does.
    """
    alpha = np.where(layer.alpha < _VISIBLE, 0.0, np.minimum(layer.alpha, 1.0)).astype(np.float32)
    light = np.ones_like(alpha) if layer.light is None else np.where(np.abs(layer.light - 1) < _VISIBLE, 1.0, layer.light)
    hole = (alpha > 0) | (light != 1)
    out = image.copy()
    a, behind = alpha[hole][:, None], image[hole] * light[hole][:, None]
    out[hole] = np.clip(np.round(behind * (1 - a) + layer.colour[hole] * a), 0, 255).astype(np.uint8)
    return Masked(out, hole, alpha)


def over(front: Layer, back: Layer) -> Layer:
    """Two layers as one (Porter-Duff over); the shadows of both fall on the photo, the front one's also on the back layer."""
    shade = np.ones_like(front.alpha) if front.light is None else front.light
    behind = back.alpha * (1 - front.alpha)
    alpha = front.alpha + behind
    weight = front.alpha[..., None] * front.colour + (behind * shade)[..., None] * back.colour
    colour = weight / np.maximum(alpha, 1e-6)[..., None]
    return Layer(colour.astype(np.float32), alpha, shade if back.light is None else shade * back.light)
