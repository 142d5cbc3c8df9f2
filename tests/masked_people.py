"""People who do not exist, with a mask's picture on: input for tests of whole jobs."""

from operators.faces.ibug68 import ibug68_from_mesh
from operators.portrait import Portrait
from operators.synthesize.base import Masked, Outfit, lay
from operators.synthesize.template_masks import template_layer
from operators.synthesize.templates import template_set

TYPES = ("surgical_blue", "surgical_white", "kn95", "cloth", "surgical_green")


def masked(portrait: Portrait, seed: int = 0) -> Masked:
    """The portrait with a mask over nose, mouth and chin; every seed has its own of five types."""
    landmarks68_px = ibug68_from_mesh(portrait.landmarks_px[None])[0]
    outfit = Outfit(TYPES[seed % len(TYPES)])
    return lay(portrait.image, template_layer(portrait.image, landmarks68_px, outfit, template_set(""), seed).layer)
