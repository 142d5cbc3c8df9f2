"""What masks are made of: colour, relief and shade of the cloth, laid out flat from edge to edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from operators.synthesize.base import Outfit
from operators.synthesize.prints import PRINTS, printed
from operators.synthesize.worn.flat import Flat, Map
from operators.synthesize.worn.relief import bell, dashes, folds, hills, pleats, step

RGB = tuple[float, float, float]

COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "surgical": ((164, 204, 222), (150, 194, 218), (178, 212, 226)),
    "surgical_white": ((240, 241, 240), (234, 236, 238)),
    "surgical_green": ((152, 198, 180), (138, 184, 164)),
    "surgical_blue": ((92, 158, 208), (70, 140, 200), (110, 172, 216)),
    "n95": ((240, 238, 232), (236, 236, 234)),
    "kn95": ((242, 242, 240), (242, 242, 240), (238, 238, 240), (60, 62, 66), (170, 176, 182)),
    "cloth": (
        (34, 34, 37), (30, 30, 33), (38, 38, 42), (58, 60, 66), (34, 44, 78), (228, 226, 220), (146, 148, 150), (132, 30, 42),
        (86, 96, 70), (196, 178, 152), (226, 178, 184), (120, 160, 190),
    ),
    "gas": ((56, 58, 62), (42, 43, 46), (112, 116, 122)),
}  # fmt: skip
"""What a type is made of when the outfit does not say, RGB."""
_UNDYED = (232, 230, 226)
_TRIMS: tuple[RGB, ...] = ((0.11, 0.11, 0.12), (0.11, 0.11, 0.12), (0.88, 0.87, 0.85), (0.55, 0.12, 0.15))
_STAMPS = (("KN95", "GB2626-2019"), ("FFP2 NR", "EN 149:2001"), ("N95", "TC-84A"), ("MODEL 02", "FILTER"))
_FOLDS = {
    "surgical": (18, 1.5), "cloth_pleated": (16, 1.5), "cloth_fitted": (16, 1.4), "kn95": (10, 0.9), "n95": (2, 0.5),
    "gas": (2, 0.5),
}  # fmt: skip
"""How many, and how deep in mm."""
_FIBRE = {"surgical": 0.012, "cloth_pleated": 0.022, "cloth_fitted": 0.022, "kn95": 0.012, "n95": 0.022, "gas": 0.004}


@dataclass(frozen=True)
class Fabric:
    """Maps over the flat cloth: `albedo` 0-1, `relief_mm` outwards, `shade` by which folds darken themselves, `gloss` 0-1;
    `inside` is the colour of its other side."""

    albedo: Float[np.ndarray, "h w 3"]
    relief_mm: Map
    shade: Map
    gloss: Map
    inside: Float[np.ndarray, "3"]


class _Sewing:
    """A fabric in the making."""

    def __init__(self, flat: Flat, albedo: np.ndarray):
        self.flat, self.albedo = flat, albedo
        shape = flat.x.shape
        self.relief, self.shade, self.gloss = np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.float32)

    def emboss(self, by_mm: Map) -> None:
        self.relief = self.relief + by_mm

    def darken(self, share: Map) -> None:
        self.shade = self.shade * (1 - share)

    def dye(self, share: Map, colour: RGB) -> None:
        self.albedo = self.albedo + share[..., None] * (np.array(colour, np.float32) - self.albedo)

    def polish(self, share: Map, gloss: float) -> None:
        self.gloss = self.gloss + share * (gloss - self.gloss)

    def along_edges(self, inset_mm: float) -> tuple[tuple[Map, Map], ...]:
        """Places along, and distances from, lines that follow the upper edge, the lower edge and the sides."""
        flat = self.flat
        return (flat.x, flat.y - inset_mm), (flat.x, flat.to_bottom - inset_mm), (flat.y, flat.to_side - inset_mm)


def weave(cut: str, outfit: Outfit, flat: Flat, seed: int, wrinkles: float) -> Fabric:
    """The cloth of one mask; `cut` is one of `cuts.CUTS`, `wrinkles` scales its folds.

    Errors: ValueError for a texture that is neither a built-in print nor a picture file.
    """
    rng = np.random.default_rng([seed, 1])
    shape = flat.x.shape
    cloth = _Sewing(flat, _dyed(outfit, flat, rng))
    tint = cloth.albedo.mean((0, 1))
    if cut in ("surgical", "cloth_pleated"):
        relief, shade = pleats(flat, rng, rng.uniform(1.2, 2.6))
        cloth.emboss(relief)
        cloth.darken(1 - shade)
    count, depth = _FOLDS[cut]
    cloth.emboss(wrinkles * folds(flat, rng, count, depth))
    cloth.emboss(wrinkles * (0.35 * hills(rng, shape, 9, 7) + 0.10 * hills(rng, shape, 22, 16)))
    if cut == "surgical":
        _surgical(cloth, rng)
    elif cut == "kn95":
        _kn95(cloth, rng)
    elif cut == "n95":
        _n95(cloth, rng)
    elif cut == "gas":
        _gas(cloth, tint)
    else:
        _sewn(cloth, rng, seam=cut == "cloth_fitted")
    fibre = np.random.default_rng([seed, 2]).normal(0, _FIBRE[cut], (240, 320)).astype(np.float32)
    albedo = cloth.albedo * (1 + cv2.resize(fibre, shape[::-1], interpolation=cv2.INTER_LINEAR))[..., None]
    cloth.darken(0.16 * np.clip(1 - np.minimum(flat.y, flat.to_bottom) / 1.2, 0, 1))
    raised = cv2.blur(np.minimum(cloth.relief, 1.5).astype(np.float32), (5, 5))
    shade = cloth.shade * np.clip(1 - 0.05 * flat.hollow, 0.84, 1.06) * np.clip(0.95 + 0.10 * raised, 0.8, 1.1)
    maps = (np.clip(albedo, 0.02, 0.98), cloth.relief, shade, cloth.gloss, np.clip(0.5 * tint + 0.45, 0, 1))
    return Fabric(*(a.astype(np.float32) for a in maps))


def _dyed(outfit: Outfit, flat: Flat, rng: np.random.Generator) -> np.ndarray:
    """The cloth's colour with its print, 0-1. Cloth masks that nobody chose a colour for may have a print of their own."""
    choices = COLOURS[outfit.type]
    tint = np.array(choices[int(rng.integers(len(choices)))], np.float32) + rng.normal(0, 3, 3).astype(np.float32)
    if outfit.colour is not None:
        base = np.array(_UNDYED, np.float32) if outfit.type == "cloth" else tint
        tint = base + outfit.colour_weight * (np.array(outfit.colour, np.float32) - base)
    albedo = np.broadcast_to(np.clip(tint, 8, 250) / np.float32(255), (*flat.x.shape, 3)).astype(np.float32)
    own_print = outfit.type == "cloth" and outfit.colour is None and outfit.texture is None and rng.random() < 0.35
    name = PRINTS[int(rng.integers(len(PRINTS)))] if own_print else outfit.texture
    if name is None:
        return albedo
    red, green, blue = (float(c) for c in 255 * albedo[0, 0])
    ground = (red, green, blue) if outfit.colour is not None else None
    pattern = printed(name, np.stack((flat.x, flat.straight), -1), rng, ground)
    return albedo + (1.0 if own_print else outfit.texture_weight) * (pattern - albedo)


def _surgical(cloth: _Sewing, rng: np.random.Generator) -> None:
    """Welded bands on all edges, dashed lines, a wire over the nose; often with paler bands."""
    flat, band = cloth.flat, float(rng.uniform(6.5, 9.0))
    for off in (flat.y - band, flat.to_bottom - 5.5):
        cloth.emboss(-0.35 * bell(off, 0.8))
        for row in (1.6, 4.0):
            dash = dashes(flat.x, off + row, 2.8)
            cloth.emboss(-0.2 * dash)
            cloth.darken(0.10 * dash)
    cloth.emboss(0.55 * bell(flat.y - 0.45 * band, 2.0) * step(51 - np.abs(flat.x), 2.0))
    cloth.emboss(-0.3 * bell(flat.to_side - 8, 0.8) - 0.12 * dashes(flat.y, flat.to_side - 4, 3.0, 1.2))
    cloth.emboss(0.5 * np.sin(flat.y * np.float32(2 * np.pi / 9)) * np.exp(-flat.to_side / 7))
    paler = float(rng.uniform(0.3, 0.75)) if rng.random() < 0.5 else 0.08
    cloth.dye(paler * np.maximum(step(band + 1 - flat.y, 0.8), step(8 - flat.to_side, 0.8)), (0.95, 0.95, 0.95))


def _sewn(cloth: _Sewing, rng: np.random.Generator, seam: bool) -> None:
    """Hems with stitches, sometimes a trim of another colour; with a `seam` down the middle."""
    flat, hem, thread = cloth.flat, float(rng.uniform(5, 7.5)), float(rng.uniform(0, 0.2))
    for along, off in cloth.along_edges(hem):
        cloth.emboss(-0.45 * bell(off, 1.3))
        cloth.dye(thread * dashes(along, off, 3.0), (0.0, 0.0, 0.0))
    if rng.random() < 0.3:
        edge = step(hem - 0.8 - flat.to_edge, 0.6)
        cloth.dye(edge, _TRIMS[int(rng.integers(len(_TRIMS)))])
        cloth.emboss(0.5 * edge)
    if seam:
        cloth.emboss(0.25 * bell(np.abs(flat.x) - 3.0, 1.8) - 0.7 * bell(flat.x, 1.0))
        cloth.darken(0.22 * bell(flat.x, 0.9))


def _kn95(cloth: _Sewing, rng: np.random.Generator) -> None:
    """A welded ridge down the middle, dotted welds along the edges, embossed lines, a wire, often small print."""
    flat = cloth.flat
    cloth.emboss(0.7 * bell(flat.x, 1.2) - 0.5 * bell(np.abs(flat.x) - 2.6, 0.9))
    for along, off in cloth.along_edges(4.5):
        cloth.emboss(-0.35 * dashes(along, off, 2.4, 1.0) - 0.2 * bell(off, 2.2))
    for level, lean in ((0.30, 0.22), (0.62, -0.12)):
        cloth.emboss(-0.45 * bell((flat.v - level - lean * np.abs(flat.u)) * 140, 1.2))
    cloth.emboss(0.7 * bell(flat.y - 8, 2.6) * step(43 - np.abs(flat.x), 2.0))
    if rng.random() < 0.5:
        cloth.dye(0.55 * _stamp(flat.x.shape, rng, -1.0 if rng.random() < 0.5 else 1.0), (0.0, 0.0, 0.0))


def _n95(cloth: _Sewing, rng: np.random.Generator) -> None:
    """A pressed rim, two ridges across the cup, a metal clip over the nose, sometimes a valve."""
    flat, rim = cloth.flat, cloth.flat.to_edge
    cloth.emboss(-0.8 * bell(rim - 6.5, 1.5) - 0.5 * bell(rim - 10, 2.5) - 0.25 * dashes(flat.x + flat.y, rim - 3, 2.5, 1.3))
    level = float(rng.uniform(0.34, 0.46))
    for at in (level, level + 0.28):
        cloth.emboss(0.5 * bell((flat.v - at - 0.03 * flat.u**2) * 150, 2.2) * np.clip((0.82 - np.abs(flat.u)) * 8, 0, 1))
    clip = step(2.3 - np.abs(flat.y - 8), 0.6) * step(41.5 - np.abs(flat.x), 1.0)
    cloth.emboss(0.7 * clip)
    cloth.dye(clip, (0.66, 0.67, 0.69))
    cloth.polish(clip, 0.35)
    if rng.random() < 0.4:
        _valve(cloth, 16.0, (0.92, 0.92, 0.91))


def _gas(cloth: _Sewing, tint: np.ndarray) -> None:
    """Rubber with a rolled rim and a stiff middle piece that holds the outlet."""
    flat, rim = cloth.flat, cloth.flat.to_edge
    cloth.emboss(1.2 * bell(rim - 3, 3.0) - 1.0 * bell(rim - 9, 2.0))
    cloth.emboss(1.4 * step(16.5 - np.abs(flat.x), 3.0) * np.clip((flat.v - 0.12) * 20, 0, 1))
    cloth.polish(np.ones_like(rim), 0.22)
    red, green, blue = (float(0.75 * c) for c in tint)
    _valve(cloth, 19.0, (red, green, blue))


def _valve(cloth: _Sewing, radius: float, colour: RGB) -> None:
    """A round outlet below the mouth, with slots."""
    flat = cloth.flat
    y = (flat.v - 0.6) * flat.y[-1, flat.y.shape[1] // 2]
    ring = np.hypot(flat.x, y) - np.float32(radius)
    inside, inner = step(-ring, 1.2), step(-ring - np.float32(0.28 * radius), 1.2)
    slots = np.clip(np.sin(y * np.float32(2 * np.pi / 5)) * 2 - 0.6, 0, 1) * inner
    cloth.relief = cloth.relief * (1 - inside)
    cloth.emboss(3.5 * inside + 0.8 * (inside - inner) - 1.2 * slots)
    cloth.dye(inside, colour)
    cloth.polish(inside, 0.3)
    cloth.darken(0.45 * slots)
    cloth.darken(0.3 * bell(np.maximum(ring, 0), 2.5) * (1 - inside))


def _stamp(shape: tuple[int, int], rng: np.random.Generator, side: float) -> Map:
    """Two lines of small print on one half."""
    ink = np.zeros((480, 640), np.uint8)
    name, norm = _STAMPS[int(rng.integers(len(_STAMPS)))]
    x, y = int(320 + side * 130 - 55), int(rng.uniform(200, 320))
    cv2.putText(ink, name, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 255, 2, cv2.LINE_AA)
    cv2.putText(ink, norm, (x, y + 26), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 255, 1, cv2.LINE_AA)
    return cv2.resize(ink, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
