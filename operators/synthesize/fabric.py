"""What masks are made of: colour, relief and shade of the cloth, laid out flat from edge to edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from operators.synthesize.base import Outfit
from operators.synthesize.prints import PRINTS, printed
from operators.synthesize.shell import Shell

Map = Float[np.ndarray, "h w"]
RGB = tuple[float, float, float]

COLOURS: dict[str, tuple[RGB, ...]] = {
    "surgical": ((164.0, 204.0, 222.0), (150.0, 194.0, 218.0), (178.0, 212.0, 226.0)),
    "surgical_white": ((240.0, 241.0, 240.0), (234.0, 236.0, 238.0)),
    "surgical_green": ((150.0, 204.0, 182.0), (134.0, 190.0, 164.0)),
    "surgical_blue": ((92.0, 158.0, 208.0), (70.0, 140.0, 200.0), (110.0, 172.0, 216.0)),
    "n95": ((240.0, 238.0, 232.0), (236.0, 236.0, 234.0)),
    "kn95": ((242.0, 242.0, 240.0), (242.0, 242.0, 240.0), (238.0, 238.0, 240.0), (60.0, 62.0, 66.0), (170.0, 176.0, 182.0)),
    "cloth": (
        (34.0, 34.0, 37.0), (30.0, 30.0, 33.0), (38.0, 38.0, 42.0), (58.0, 60.0, 66.0), (34.0, 44.0, 78.0), (228.0, 226.0, 220.0), (146.0, 148.0, 150.0), (132.0, 30.0, 42.0),
        (86.0, 96.0, 70.0), (196.0, 178.0, 152.0), (226.0, 178.0, 184.0), (120.0, 160.0, 190.0),
    ),
    "gas": ((56.0, 58.0, 62.0), (42.0, 43.0, 46.0), (112.0, 116.0, 122.0)),
}  # fmt: skip
"""What a type is made of when the outfit does not say, RGB 0-255."""


_TRIMS: tuple[RGB, ...] = ((0.11, 0.11, 0.12), (0.11, 0.11, 0.12), (0.88, 0.87, 0.85), (0.55, 0.12, 0.15))
_STAMPS = (("KN95", "GB2626-2019"), ("FFP2 NR", "EN 149:2001"), ("N95", "TC-84A"), ("MODEL 02", "FILTER"))


@dataclass(frozen=True)
class Flat:
    """The cloth laid out: places in mm from the middle column and the upper edge, and distances to the edges."""

    x: Map
    y: Map
    to_side: Map
    to_bottom: Map
    u: Map
    v: Map
    level: Map
    """Height in the face frame, mm."""
    hollow: Map
    """How far the cloth's neighbourhood lies outside of it, mm: positive in hollows."""
    straight: Map
    """Length along the cloth from where it crosses the height of the mouth, downwards, mm."""

    @classmethod
    def of(cls, shell: Shell, height: int, width: int) -> Flat:
        """A shell at `height` x `width` texels that span it from edge to edge."""
        cloth_mm = shell.cloth_mm
        rows, columns = cloth_mm.shape[:2]
        u, v = np.meshgrid(
            np.linspace(0, columns - 1, width, dtype=np.float32), np.linspace(0, rows - 1, height, dtype=np.float32)
        )
        place = cv2.remap(cloth_mm, u, v, cv2.INTER_LINEAR)
        x, y = place[..., 0], place[..., 1]
        to_side = np.minimum(x - x[:, :1], x[:, -1:] - x)
        level = cv2.remap(np.ascontiguousarray(shell.points[..., 1]), u, v, cv2.INTER_LINEAR)
        heights = np.minimum.accumulate(shell.points[..., 1], 0)
        middle = float(heights[rows // 2, columns // 2])
        crossing = [np.interp(-middle, -heights[:, c], cloth_mm[:, c, 1]) for c in range(columns)]
        straight = y - np.interp(u[0], np.arange(columns), crossing).astype(np.float32)
        side, down = u / np.float32(columns - 1) * 2 - 1, v / np.float32(rows - 1)
        hollow = cv2.remap(_hollow(shell), u, v, cv2.INTER_LINEAR)
        return cls(x, y, to_side, y[-1:] - y, side, down, level, hollow, straight)


@dataclass(frozen=True)
class Fabric:
    """Maps over the flat cloth: `albedo` 0-1, `relief_mm` outwards, `shade` by which folds darken themselves, and `gloss` 0-1."""

    albedo: Float[np.ndarray, "h w 3"]
    relief_mm: Map
    shade: Map
    gloss: Map


def _hollow(shell: Shell) -> Map:
    around = cv2.blur(shell.points, (9, 9), borderType=cv2.BORDER_REFLECT_101) - shell.points
    return cv2.blur((around * shell.normals).sum(-1), (3, 3)).astype(np.float32)


def _bell(distance: Map, width: float) -> Map:
    return np.exp(-np.square(distance / np.float32(width)))


def _smooth(rng: np.random.Generator, shape: tuple[int, int], across: int, down: int) -> Map:
    """Smooth noise with so many hills across and down; the same whatever the resolution."""
    grid = rng.normal(0, 1, (down + 3, across + 3)).astype(np.float32)
    large = cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return large


def folds(flat: Flat, rng: np.random.Generator, count: int, depth_mm: float) -> Map:
    """Wrinkles that run from the sides into the cloth, fading."""
    h, w = flat.x.shape
    small = (max(h // 2, 8), max(w // 2, 8))
    x, y = (cv2.resize(a, small[::-1], interpolation=cv2.INTER_AREA) for a in (flat.x, flat.y))
    out = np.zeros(small, np.float32)
    half, tall = float(x.max()), float(y.max())
    for _ in range(count):
        side = rng.choice([-1.0, 1.0])
        y0 = tall * rng.choice([rng.uniform(0.0, 0.25), rng.uniform(0.3, 0.8), rng.uniform(0.75, 1.0)])
        angle = np.arctan2(tall * rng.uniform(0.3, 0.7) - y0, half) + rng.normal(0, 0.18)
        reach, width = rng.uniform(0.35, 0.85) * half, rng.choice([rng.uniform(1.2, 2.2), rng.uniform(2.2, 4.8)])
        along = (half * rng.uniform(0.86, 1.02) - side * x) * np.cos(angle) + (y - y0) * np.sin(angle)
        off = -(half - side * x) * np.sin(angle) + (y - y0) * np.cos(angle)
        off = off + rng.normal(0, 0.0025) * np.square(along)
        t = along / np.float32(reach)
        fade = np.where(t > 0, np.exp(-2.2 * t * t), np.exp(-20 * t * t))
        if rng.random() < 0.5:  # a crease: the cloth has been folded there
            profile = np.exp(-np.abs(off) / np.float32(width)) - 0.5 * _bell(off - 2.5 * width, 1.5 * width)
        else:
            profile = _bell(off, width) - 0.6 * _bell(off - 1.8 * width, width)
        out += np.float32(depth_mm * rng.uniform(0.35, 1.0) * width / 3.2) * fade * profile
    return cv2.resize(out, (w, h), interpolation=cv2.INTER_LINEAR)


def _pleats(flat: Flat, rng: np.random.Generator, depth_mm: float) -> tuple[Map, Map]:
    """Three folds that open downwards: relief and shade."""
    relief, shade = np.zeros_like(flat.x), np.ones_like(flat.x)
    tall = flat.y[-1:]
    first, step = rng.uniform(0.26, 0.34), rng.uniform(0.155, 0.19)
    smile, slant = rng.uniform(-3, 5), rng.normal(0, 1.2)
    h, w = flat.x.shape
    top, low = float(flat.level[0, w // 2]), float(flat.level[-1, w // 2])
    side = np.clip((np.abs(flat.u[:1]) - 0.35) / 0.65, 0, 1)
    side = side * side * (3 - 2 * side)
    uneven = _smooth(rng, flat.x.shape, 4, 2)
    for k in range(3):
        wave = 0.9 * _smooth(rng, (1, w), 6, 1)
        middle = top + (first + k * step) * (low - top) - smile * (1 - flat.u[:1] ** 2)
        line = (1 - side) * middle + side * flat.level[int((0.30 + 0.19 * k) * (h - 1))] + slant * flat.u[:1] + wave
        below = line - flat.level
        deep = depth_mm * (0.7 + 0.6 * np.abs(flat.u) ** 2) * np.clip(1 + 0.4 * uneven, 0.2, 2)
        relief += deep * np.where(below < 0, np.clip(1 + below / 13, 0, 1) ** 1.5, np.clip(1 - below / 1.6, 0, 1))
        shade *= 1 - 0.34 * np.where(below > 0, np.exp(-np.maximum(below, 0) / 2.2), np.exp(np.minimum(below, 0) / 0.5)) * (
            0.75 + 0.25 * np.abs(flat.u)
        )
    return relief, shade


def _stitches(along: Map, off: Map, step_mm: float, width_mm: float = 0.55) -> Map:
    """A dashed line: 1 on its dashes."""
    return _bell(off, width_mm) * np.clip(1.5 * np.sin(2 * np.pi * along / np.float32(step_mm)) + 0.6, 0, 1)


def _tint(outfit: Outfit, rng: np.random.Generator) -> np.ndarray:
    """The cloth's one colour, 0-1."""
    choices = COLOURS[outfit.type]
    own = np.array(choices[int(rng.integers(len(choices)))], np.float32) + rng.normal(0, 3, 3).astype(np.float32)
    if outfit.colour is not None:
        base = np.array((232, 230, 226), np.float32) if outfit.type == "cloth" else own
        own = (1 - outfit.colour_weight) * base + outfit.colour_weight * np.array(outfit.colour, np.float32)
    return np.clip(own, 8, 250) / np.float32(255)


def weave(cut: str, outfit: Outfit, flat: Flat, seed: int, wrinkles: float) -> Fabric:
    """The cloth of one mask; `cut` is one of `shell.CUTS`.

    Errors: ValueError for a texture that is neither a built-in print nor a picture file.
    """
    rng = np.random.default_rng([seed, 1])
    shape = flat.x.shape
    tint = _tint(outfit, rng)
    albedo = np.broadcast_to(tint, (*shape, 3)).astype(np.float32)
    own_print = outfit.type == "cloth" and outfit.colour is None and outfit.texture is None and rng.random() < 0.35
    name = PRINTS[int(rng.integers(len(PRINTS)))] if own_print else outfit.texture
    if name is not None:
        weight = 1.0 if own_print else outfit.texture_weight
        albedo = albedo + weight * (printed(name, np.stack((flat.x, flat.straight), -1), rng) - albedo)
    relief, shade, gloss = np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.float32)

    if cut == "surgical" or cut == "cloth_pleated":
        more, darker = _pleats(flat, rng, rng.uniform(1.2, 2.6))
        relief, shade = relief + more, shade * darker
    relief += wrinkles * folds(flat, rng, {"surgical": 18, "cloth_pleated": 16, "cloth_fitted": 16, "kn95": 10}.get(cut, 2),
                               {"surgical": 1.5, "cloth_pleated": 1.5, "cloth_fitted": 1.4, "kn95": 0.9}.get(cut, 0.5))  # fmt: skip
    relief += wrinkles * (0.35 * _smooth(rng, shape, 9, 7) + 0.10 * _smooth(rng, shape, 22, 16))

    if cut == "surgical":
        band = rng.uniform(6.5, 9.0)
        for off in (flat.y - band, flat.to_bottom - 5.5):
            relief -= 0.35 * _bell(off, 0.8)
            for row in (0.0, 2.4):
                dash = _stitches(flat.x, off + 1.6 + row, 2.8)
                relief, shade = relief - 0.2 * dash, shade * (1 - 0.10 * dash)
        relief += 0.55 * _bell((flat.y - band * 0.45) / 1.0, 2.0) * np.clip((52 - np.abs(flat.x)) / 2, 0, 1)
        relief -= 0.3 * _bell(flat.to_side - 8, 0.8) + 0.12 * _stitches(flat.y, flat.to_side - 4, 3.0, 1.2)
        relief += 0.5 * np.sin(flat.y * np.float32(2 * np.pi / 9)) * np.exp(-flat.to_side / 7)
        paler = rng.uniform(0.3, 0.75) if rng.random() < 0.5 else 0.08
        border = np.clip((band + 1.5 - flat.y) / 0.8, 0, 1) + np.clip((8.5 - flat.to_side) / 0.8, 0, 1)
        albedo = albedo + (paler * np.minimum(border, 1))[..., None] * (0.95 - albedo)
    elif cut.startswith("cloth"):
        hem = rng.uniform(5, 7.5)
        thread = rng.uniform(0.75, 1.1)
        for off, along in ((flat.y - hem, flat.x), (flat.to_bottom - hem, flat.x), (flat.to_side - hem, flat.y)):
            relief -= 0.45 * _bell(off, 1.3)
            dash = _stitches(along, off, 3.0)
            albedo = albedo * (1 - 0.35 * (dash * (1 - thread))[..., None] * 2)
        if rng.random() < 0.3:
            edge = np.clip((hem - 0.5 - np.minimum(np.minimum(flat.y, flat.to_bottom), flat.to_side)) / 0.6, 0, 1)
            trim = np.array(_TRIMS[int(rng.integers(len(_TRIMS)))], np.float32)
            albedo, relief = albedo + edge[..., None] * (trim - albedo), relief + 0.5 * edge
        if cut == "cloth_fitted":
            relief -= 0.7 * _bell(flat.x, 1.0)
            shade = shade * (1 - 0.22 * _bell(flat.x, 0.9))
            relief += 0.25 * _bell(np.abs(flat.x) - 3.0, 1.8)
    elif cut == "kn95":
        relief += 0.7 * _bell(flat.x, 1.2)
        relief -= 0.5 * _bell(np.abs(flat.x) - 2.6, 0.9)
        for off, along in ((flat.y - 4.5, flat.x), (flat.to_bottom - 4.5, flat.x), (flat.to_side - 5, flat.y)):
            relief -= 0.35 * _stitches(along, off, 2.4, 1.0) + 0.2 * _bell(off, 2.2)
        for level, lean in ((0.30, 0.22), (0.62, -0.12)):
            relief -= 0.45 * _bell((flat.v - level - lean * np.abs(flat.u)) * 140, 1.2)
        relief += 0.7 * _bell(flat.y - 8, 2.6) * np.clip((44 - np.abs(flat.x)) / 2, 0, 1)
        if rng.random() < 0.5:
            albedo = albedo * (1 - 0.55 * _stamp(shape, rng, -1.0 if rng.random() < 0.5 else 1.0))[..., None]
    elif cut == "n95":
        rim = np.minimum(np.minimum(flat.y, flat.to_bottom), flat.to_side)
        relief -= 0.8 * _bell(rim - 6.5, 1.5) - 0.5 * _bell(rim - 10, 2.5)
        relief -= 0.25 * _stitches(flat.x + flat.y, rim - 3, 2.5, 1.3)
        level = rng.uniform(0.34, 0.46)
        for at in (level, level + 0.28):
            relief += 0.5 * _bell((flat.v - at - 0.03 * flat.u**2) * 150, 2.2) * np.clip((0.82 - np.abs(flat.u)) * 8, 0, 1)
        clip = np.clip((2.6 - np.abs(flat.y - 8)) / 0.6, 0, 1) * np.clip((42 - np.abs(flat.x)) / 1.0, 0, 1)
        relief += 0.7 * clip
        albedo = albedo + clip[..., None] * (np.array((0.66, 0.67, 0.69), np.float32) - albedo)
        gloss = gloss + 0.35 * clip
        if rng.random() < 0.4:
            relief, albedo, gloss, shade = _valve(flat, relief, albedo, gloss, shade, 16.0, (0.92, 0.92, 0.91))
    elif cut == "gas":
        rim = np.minimum(np.minimum(flat.y, flat.to_bottom), flat.to_side)
        relief += 1.2 * _bell(rim - 3, 3.0) - 1.0 * _bell(rim - 9, 2.0)
        relief += 1.4 * np.clip((18 - np.abs(flat.x)) / 3, 0, 1) * np.clip((flat.v - 0.12) * 20, 0, 1)
        gloss = gloss + 0.22
        relief, albedo, gloss, shade = _valve(flat, relief, albedo, gloss, shade, 19.0, tuple((0.75 * tint).tolist()))
    fibre = {"gas": 0.004, "surgical": 0.012, "kn95": 0.012}.get(cut, 0.022)
    grain = np.random.default_rng([seed, 2]).normal(0, fibre, (240, 320)).astype(np.float32)
    albedo = albedo * (1 + cv2.resize(grain, shape[::-1], interpolation=cv2.INTER_LINEAR))[..., None]
    shade = shade * (1 - 0.16 * np.clip(1 - np.minimum(flat.y, flat.to_bottom) / 1.2, 0, 1))
    shade = shade * np.clip(1 - 0.05 * flat.hollow, 0.84, 1.06)
    shade = shade * np.clip(1 + 0.10 * cv2.blur(np.minimum(relief, 1.5), (5, 5)) - 0.05, 0.8, 1.1)
    return Fabric(
        np.clip(albedo, 0.02, 0.98).astype(np.float32),
        relief.astype(np.float32),
        shade.astype(np.float32),
        gloss.astype(np.float32),
    )


def _stamp(shape: tuple[int, int], rng: np.random.Generator, side: float) -> Map:
    """Two lines of small print on one half."""
    ink = np.zeros((480, 640), np.uint8)
    name, norm = _STAMPS[int(rng.integers(len(_STAMPS)))]
    x, y = int(320 + side * 130 - 55), int(rng.uniform(200, 320))
    cv2.putText(ink, name, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 255, 2, cv2.LINE_AA)
    cv2.putText(ink, norm, (x, y + 26), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 255, 1, cv2.LINE_AA)
    return cv2.resize(ink, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def _valve(
    flat: Flat, relief: Map, albedo: np.ndarray, gloss: Map, shade: Map, radius: float, colour: RGB
) -> tuple[Map, np.ndarray, Map, Map]:
    """A round outlet below the mouth, with slots."""
    y = (flat.v - 0.6) * flat.y[-1, flat.y.shape[1] // 2]
    ring = np.hypot(flat.x, y) - radius
    inside, inner = (np.clip(0.5 - (ring + less) / 1.2, 0, 1).astype(np.float32) for less in (0, 0.28 * radius))
    slots = np.clip(np.sin(y * np.float32(2 * np.pi / 5)) * 2 - 0.6, 0, 1) * inner
    relief = relief * (1 - inside) + 3.5 * inside + 0.8 * (inside - inner) - 1.2 * slots
    albedo = albedo + inside[..., None] * (np.array(colour, np.float32) - albedo)
    shade = shade * (1 - 0.45 * slots) * (1 - 0.3 * _bell(np.maximum(ring, 0), 2.5) * (1 - inside))
    return relief, albedo, gloss * (1 - inside) + 0.3 * inside, shade
