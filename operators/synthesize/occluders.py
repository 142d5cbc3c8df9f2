"""What can be in front of a face besides masks, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize.base import Layer, Outfit
from operators.synthesize.hand import hand
from operators.synthesize.scarf import scarf
from operators.synthesize.strokes import rectangle, strokes
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


def occluder_layer(
    image: Image, landmarks468_px: Mesh, outfit: Outfit, seed: int, coverage: tuple[float, float] | None = None
) -> Layer:
    """Paint of one of `OCCLUDER_TYPES` in front of one face; `coverage` is the share of the face that it shall cover.

    A target that cannot be reached (sunglasses cover no half of a face) gives the nearest; `coverage_of` tells.
    Errors: ValueError for an unknown type.
    """
    if outfit.type not in OCCLUDERS:
        raise ValueError(f"occluder: expected one of {', '.join(OCCLUDERS)}, got {outfit.type!r}")
    return OCCLUDERS[outfit.type](image, landmarks468_px, outfit, seed, coverage)
