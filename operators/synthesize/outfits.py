"""What faces wear, said in short texts: `surgical*3, surgical-#ffffff, cloth-dots*0.5, cloth-prints/check.jpg, none`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from operators.synthesize.base import HOLE_ONLY, MASK_TYPES, NOTHING, OCCLUDER_TYPES, Outfit
from operators.synthesize.occluders import OWN_TEXTURES
from operators.synthesize.prints import PRINTS

TYPES = (*MASK_TYPES, *OCCLUDER_TYPES, HOLE_ONLY, NOTHING)
"""Every type that an outfit may have."""
COLOUR_WEIGHT, TEXTURE_WEIGHT = 0.85, 0.9
"""How much of a colour or print replaces the mask's own look unless said otherwise (MaskTheFace: 0.5)."""
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})(?:-(.+))?$")


class OutfitError(ValueError):
    """An outfit's text that cannot be read; the message names it and what would be right."""


@dataclass(frozen=True)
class OutfitShare:
    """An outfit and how often it is worn, in relation to the others' shares."""

    outfit: Outfit
    share: float = 1.0


def parse_outfits(
    texts: str | Iterable[str], colour_weight: float = COLOUR_WEIGHT, texture_weight: float = TEXTURE_WEIGHT
) -> tuple[OutfitShare, ...]:
    """Outfits of a list of texts, or of one text with commas: `TYPE[-#rrggbb][-TEXTURE][*SHARE]`, a share is 1 if not given.

    A TEXTURE is the name of a built-in print or a picture file. The case of TYPE does not matter, so the strings of
    MaskTheFace's `--code` are outfits, too.
    Errors: OutfitError, one line that names the entry and the nearest valid one.
    """
    parts = [part.strip() for text in ([texts] if isinstance(texts, str) else texts) for part in text.split(",")]
    outfits = tuple(_parse(part, colour_weight, texture_weight) for part in parts if part)
    if not sum(item.share for item in outfits) > 0:
        raise OutfitError(f"outfits: expected one with a share above 0, got {', '.join(parts) or 'none at all'}")
    return outfits


def choose(outfits: Sequence[OutfitShare], seed: int) -> Outfit:
    """The outfit of one face: shares hold over many seeds, the same seed gives the same outfit."""
    reach = np.cumsum([item.share for item in outfits])
    at = np.random.default_rng(seed).random() * reach[-1]
    return outfits[int(np.searchsorted(reach, at, side="right"))].outfit


def colour_text(outfit: Outfit) -> str:
    """The colour as #rrggbb, empty when there is none."""
    return "" if outfit.colour is None else "#{:02x}{:02x}{:02x}".format(*outfit.colour)


def outfit_text(outfit: Outfit) -> str:
    """The text that `parse_outfits` reads as this outfit."""
    return "-".join(part for part in (outfit.type, colour_text(outfit), outfit.texture or "") if part)


def is_file_name(texture: str) -> bool:
    """Whether a texture is a picture file, not the name of a print."""
    return "." in texture or "/" in texture


def _parse(text: str, colour_weight: float, texture_weight: float) -> OutfitShare:
    words, star, amount = text.rpartition("*")
    if not star:
        words, amount = text, "1"
    try:
        share = float(amount)
    except ValueError:
        share = math.nan
    if not 0 <= share < math.inf:
        raise OutfitError(f"outfit {text!r}: expected a number of at least 0 after *, got {amount.strip()!r}")
    kind, _, look = (part.strip() for part in words.partition("-"))
    kind = kind.lower()
    if kind not in TYPES:
        raise OutfitError(f"outfit {text!r}: unknown type {kind!r}{_nearest(kind, TYPES)}")
    colour, texture = _look(look, text, OWN_TEXTURES.get(kind, ()))
    return OutfitShare(Outfit(kind, colour, texture, colour_weight, texture_weight), share)


def _look(look: str, text: str, own: tuple[str, ...]) -> tuple[tuple[int, int, int] | None, str | None]:
    colour = None
    if look.startswith("#"):
        match = _COLOUR.match(look)
        if not match:
            raise OutfitError(f"outfit {text!r}: expected a colour like #0473e2, got {look!r}")
        red, green, blue = bytes.fromhex(match[1])
        colour, look = (red, green, blue), (match[2] or "").strip()
    if look and look not in PRINTS and look not in own and not is_file_name(look):
        raise OutfitError(f"outfit {text!r}: {look!r} is no print and no picture file{_nearest(look, (*own, *PRINTS))}")
    return colour, look or None


def _nearest(word: str, names: Sequence[str]) -> str:
    near = get_close_matches(word, names, 1, 0.5)
    return f": did you mean {near[0]!r}?" if near else f": choose one of {', '.join(names)}"
