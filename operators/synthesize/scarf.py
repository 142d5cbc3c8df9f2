"""A scarf wound over the lower face and the neck: folds that hang between the shoulders, knitted or woven."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.faces.canonical import canonical_mesh
from operators.synthesize.base import Layer, Outfit
from operators.synthesize.coverage import aim, size_for
from operators.synthesize.prints import PRINTS, printed
from operators.synthesize.setting import FaceFrame, Scene, contact_shadow, on_head
from operators.synthesize.strokes import polygon_alpha

COLOURS = (
    (42, 46, 58), (70, 72, 76), (128, 30, 38), (150, 138, 118), (186, 176, 156), (36, 58, 52), (58, 76, 108), (176, 120, 44),
    (92, 70, 60), (28, 28, 30), (150, 92, 104),
)  # fmt: skip
WEAVES = ("rib", "jersey", "plain", "plaid")
_PRINTED = tuple(name for name in PRINTS if name not in WEAVES)
_TIP, _CHIN = 4, 152


@dataclass(frozen=True)
class _Fold:
    """One layer of cloth: its upper edge by height at the middle and the sides, and how much it sags between them."""

    middle: float
    side: float
    tilt: float
    seed: int


def scarf(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks468_px: Float[np.ndarray, "468 3"],
    outfit: Outfit,
    seed: int,
    coverage: tuple[float, float] | None = None,
) -> Layer:
    """A scarf from the nose or the mouth down; `outfit.texture` is one of `WEAVES` or a print, `outfit.colour` its colour.

    A coverage target is reached by its upper edge, between the chin and the eyes.
    Errors: ValueError for another texture.
    """
    rng = np.random.default_rng(seed)
    if outfit.texture is not None and outfit.texture not in WEAVES + PRINTS:
        raise ValueError(f"texture of a scarf: expected one of {', '.join(WEAVES + PRINTS)}, got {outfit.texture!r}")
    scene = Scene.of(image, landmarks468_px)
    shape = (image.shape[0], image.shape[1])
    frame = _settled(scene.frame, landmarks468_px)
    ground = outfit.colour
    weave = outfit.texture or str(rng.choice(WEAVES))
    colour = np.array(outfit.colour if outfit.colour is not None else COLOURS[rng.integers(len(COLOURS))], np.float64)
    tilt, dip = float(rng.normal(0, 0.35)), float(rng.uniform(-0.5, 0.7))
    top = float(rng.uniform(-0.6, 4.6))
    ripple = int(rng.integers(1 << 31))

    layers, jitter = int(rng.integers(4, 8)), rng.normal(0, 1, (8, 2))

    def folds(height: float) -> list[_Fold]:
        side = height - 1.0 + dip
        made = [_Fold(height, side, tilt, ripple)]
        for k in range(1, layers):
            drop = 1.9 * k + 0.22 * k * k + 0.4 * jitter[k, 0]
            made.append(_Fold(height + 1.25 * drop, side + 0.8 * drop, tilt + 0.6 * jitter[k, 1], ripple + k))
        return made

    if coverage:
        wanted = aim(coverage, rng)
        top = -size_for(
            lambda s: polygon_alpha(shape, frame.place(_outline(folds(-s)))[:, :2]),
            landmarks468_px,
            coverage,
            wanted,
            (-9.0, 4.5),
        )
    return _paint(shape, frame, scene, folds(top), weave, colour, ground, rng, seed)


def _settled(frame: FaceFrame, mesh_px: np.ndarray) -> FaceFrame:
    """The face's frame with half of the head's turn taken out below, and its length fitted to this chin."""
    model = canonical_mesh()
    there = frame.place(model[[_TIP, _CHIN]])[:, :2]
    seen = mesh_px[[_TIP, _CHIN], :2].astype(np.float64)
    shift = (seen - there).mean(0)
    return FaceFrame(frame.origin + np.array([*shift, 0.0]), frame.rotation, frame.px_per_cm)


def _edge(fold: _Fold, x: np.ndarray) -> np.ndarray:
    """Height (canonical y, cm) of a fold's upper edge at x cm: hangs between the cheeks, a little uneven."""
    rng = np.random.default_rng(fold.seed)
    u = x / 8.5
    y = fold.middle + (fold.side - fold.middle) * np.minimum(np.abs(u), 1.6) ** 1.7 + fold.tilt * u
    for k in range(1, 5):
        y = y + rng.normal(0, 0.20 / k) * np.sin(k * 2.1 * u + rng.uniform(0, 6.3))
    return y


# Half the scarf's width (cm) at canonical heights y: along the cheeks, in under the jaw, out over the shoulders.
_WIDTHS = ((-6.0, -2.0, 2.0, 6.0, 9.5, 12.5, 15.0, 18.0, 24.0), (7.5, 7.75, 7.7, 7.5, 7.3, 7.7, 8.9, 11.0, 13.5))


def _outline(folds: list[_Fold]) -> np.ndarray:
    """Closed outline of the whole scarf under its uppermost fold, canonical cm: round the cheeks, the neck, onto the chest."""
    fold = folds[0]
    rng = np.random.default_rng(fold.seed + 77)
    wide = float(np.interp(fold.side, *_WIDTHS))
    x = np.linspace(-1, 1, 61) * wide
    top = np.stack([x, _edge(fold, x) + 1.1 * np.abs(x / wide) ** 12, _depth(x / 9.0)], 1)
    low, t = 20.0, np.linspace(0, 1, 90)
    thick = rng.uniform(0.2, 0.5)
    sides = []
    for side, start in ((1, top[-1]), (-1, top[0])):
        y = start[1] + (low - start[1]) * t
        # every fold bulges a little where it turns around the neck
        edges = np.array([float(_edge(f, np.array([side * wide]))[0]) for f in folds] + [low])
        roll = np.zeros_like(y)
        for upper, lower in itertools.pairwise(edges):
            if lower - upper > 0.2:
                roll = np.maximum(roll, np.sin(np.clip((y - upper) / (lower - upper), 0, 1) * np.pi) ** 0.6)
        out = np.interp(y, *_WIDTHS) - wide + np.abs(start[0]) + (thick * roll) * np.clip(12 * t, 0, 1)
        sides.append(np.stack([side * out, y, np.full_like(t, start[2])], 1))
    right, left = sides
    bottom_x = np.linspace(right[-1, 0], left[-1, 0], 40)
    bottom = np.stack([bottom_x, low + 3.2 * (1 - (bottom_x / right[-1, 0]) ** 2), np.full(40, top[0, 2])], 1)
    return np.concatenate([top, right, bottom, left[::-1]])


def _depth(u: np.ndarray) -> np.ndarray:
    """Depth of the scarf's front (canonical z, cm) at x = 9 u: a cylinder around the head, just before the nose."""
    return -7.0 + 8.0 * (1 - np.sqrt(np.clip(1 - np.clip(u, -0.999, 0.999) ** 2, 0, 1)))


def _paint(
    shape: tuple[int, int], frame: FaceFrame, scene: Scene, folds: list[_Fold], weave: str, colour: np.ndarray,
    ground: tuple[int, int, int] | None, rng: np.random.Generator, seed: int,
) -> Layer:  # fmt: skip
    """Folds from the lowest to the uppermost, their relief lit as one."""
    alpha = polygon_alpha(shape, frame.place(_outline(folds))[:, :2])
    picture = np.zeros((*shape, 3), np.float32)
    ys, xs = np.nonzero(alpha)
    if not len(ys):
        return Layer(picture, alpha)
    x, y, normal_x = _unwrapped(frame, np.stack([xs, ys], 1) + 0.5)
    relief, shadow, down, index = _folded(folds, x, y, rng)
    # along: around the neck; down: across the cloth from each fold's own edge
    along = 9.0 * np.arcsin(np.clip(x / (np.interp(y, *_WIDTHS) + 1.9), -1, 1)) + 1.7 * index
    texture, bumps = _woven("plain" if weave in _PRINTED else weave, along, down, frame.px_per_cm, colour, rng)
    if weave in _PRINTED:
        places = (10 * np.stack([along, down], -1)).astype(np.float32)
        back = None if ground is None else (float(ground[0]), float(ground[1]), float(ground[2]))
        texture = 255 * printed(weave, places[None], rng, back)[0]
    canvas = np.zeros(shape, np.float32)
    canvas[ys, xs] = relief + bumps
    filled = _extended(canvas, alpha)
    slope = [cv2.Sobel(filled, cv2.CV_32F, *axis)[ys, xs] / 8 * frame.px_per_cm for axis in ((1, 0), (0, 1))]
    base = np.stack([normal_x, np.full_like(x, 0.06), -np.sqrt(np.clip(1 - normal_x**2, 0.04, 1))], 1) @ frame.rotation.T
    normal = base + np.stack([-np.clip(slope[0], -2.5, 2.5), -np.clip(slope[1], -2.5, 2.5), np.zeros_like(x)], 1) * 0.8
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    light = scene.light.shade(normal) * (shadow * (1 - 0.3 * np.clip(np.abs(normal_x), 0, 1) ** 6))[:, None]
    fuzz = 1 + 0.05 * rng.standard_normal(len(x))
    picture[ys, xs] = np.clip(texture * scene.exposure * 1.05 * light * fuzz[:, None], 0, 255)
    edge = _fuzzy(alpha, frame.px_per_cm, rng) if weave in ("rib", "jersey") else alpha
    shade = contact_shadow(edge, scene.light, 0.6 * frame.px_per_cm, 0.6)
    shade = 1 - (1 - shade) * on_head(shape, frame)
    return scene.finish(Layer(picture, edge, shade), seed)


def _unwrapped(frame: FaceFrame, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical x, y (cm) of the scarf's front at pixels, and the x of its normal there, by a cubic through known points."""
    grid = np.stack(np.meshgrid(np.linspace(-9, 9, 13), np.linspace(-6, 24, 9)), -1).reshape(-1, 2)
    there = frame.place(np.concatenate([grid, _depth(grid[:, :1] / 9.6)], 1))[:, :2]
    centre, scale = there.mean(0), max(float(np.ptp(there, axis=0).max()), 1e-6)

    def terms(points: np.ndarray) -> np.ndarray:
        a, b = ((points - centre) / scale).T
        return np.stack([a**i * b**j for i in range(4) for j in range(4 - i)], 1)

    x, y = (terms(pixels) @ np.linalg.lstsq(terms(there), grid, rcond=1e-9)[0]).T
    return x, y, 0.97 * np.clip(x / (np.interp(y, *_WIDTHS) + 1.2), -0.98, 0.98)


def _folded(
    folds: list[_Fold], x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Relief (cm), light left in the creases, distance below the fold's edge (cm), and which fold, at points of the front."""
    relief, shadow = np.zeros_like(x), np.ones_like(x)
    down, index = y - _edge(folds[0], x), np.zeros_like(x)
    for k, fold in enumerate(folds):
        below = y - _edge(fold, x)
        inside = below > 0
        roll = 0.6 * (1 - np.exp(-np.clip(below, 0, None) / 0.5)) + 0.35 * np.sin(np.clip(below, 0, 3.4) / 3.4 * np.pi)
        relief = np.where(inside, roll, relief)
        down, index = np.where(inside, below, down), np.where(inside, float(k), index)
        if k:  # an upper fold hangs over this one's edge and shades it
            dark = 0.5 * np.exp(-np.clip(below, 0, None) / 0.3) + 0.2 * np.exp(-np.clip(below, 0, None) / 1.2)
            shadow = np.where(inside, 1 - dark, shadow * (1 - 0.25 * np.exp(-np.clip(-below, 0, None) / 0.4)))
    # wrinkles that run around and slightly down
    for _ in range(7):
        length, slant, phase = rng.uniform(2.5, 6), rng.normal(0, 0.35), rng.uniform(0, 6.3)
        where = np.exp(-(((x - rng.uniform(-8, 8)) / rng.uniform(2.5, 5)) ** 2))
        relief = relief + where * rng.uniform(0.05, 0.14) * np.sin(2 * np.pi * (y + slant * x) / length + phase)
    return relief, shadow, down, index


def _woven(
    weave: str, along: np.ndarray, down: np.ndarray, px_per_cm: float, colour: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Colour (n, 3) and relief (cm) of the cloth; threads finer than two pixels fade away."""
    pitch = {"rib": 0.85, "jersey": 0.55, "plain": 0.16, "plaid": 0.16}[weave] * rng.uniform(0.85, 1.2)
    seen = float(np.clip((pitch * px_per_cm - 2.0) / 3.0, 0, 1))
    texture = np.broadcast_to(colour, (len(along), 3)).astype(np.float64)
    if weave == "rib":
        rib = np.abs(np.sin(np.pi * along / pitch))
        stitch = np.sin(2 * np.pi * (down / (0.55 * pitch) + 0.9 * np.abs((along / pitch) % 1 - 0.5)))
        bumps = seen * (0.16 * rib + 0.028 * stitch)
        texture = texture * (0.70 + 0.34 * rib**0.7 * seen + 0.3 * (1 - seen) + 0.06 * stitch * seen)[:, None]
    elif weave == "jersey":
        column = (along / pitch) % 1
        vee = (down / (0.75 * pitch) + 1.1 * np.abs(column - 0.5)) % 1
        stitch = np.sin(np.pi * vee) * (0.35 + 0.65 * np.abs(np.sin(2 * np.pi * column)))
        bumps = seen * 0.10 * stitch
        texture = texture * (0.74 + 0.40 * stitch * seen + 0.22 * (1 - seen))[:, None]
    else:
        thread = np.sin(2 * np.pi * (along + down) / pitch)
        bumps = seen * 0.012 * thread
        if weave == "plaid":
            other = np.array(COLOURS[rng.integers(len(COLOURS))], np.float64)
            third = np.array([214, 206, 190]) if rng.random() < 0.5 else np.array([30, 30, 34])
            repeat = rng.uniform(3.5, 6.0)
            bands = [((coordinate / repeat) % 1) for coordinate in (along, down)]
            share = np.mean([np.abs(b - 0.3) < 0.16 for b in bands], 0)
            line = np.mean([(np.abs(b - 0.72) < 0.025) | (np.abs(b - 0.80) < 0.025) for b in bands], 0)
            texture = texture * (1 - share[:, None]) + other * share[:, None]
            texture = texture * (1 - line[:, None]) + third * line[:, None]
        texture = texture * (1 + 0.07 * seen * thread)[:, None]
    return texture, bumps


def _extended(canvas: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The relief carried on a little beyond the outline, so that its slope is not cut off there."""
    known = (alpha > 0).astype(np.float32)
    near = cv2.blur(known, (5, 5))
    return np.where(known > 0, canvas, cv2.blur(canvas, (5, 5)) / np.maximum(near, 1e-3)).astype(np.float32)


def _fuzzy(alpha: np.ndarray, px_per_cm: float, rng: np.random.Generator) -> np.ndarray:
    """Wool has no sharp edge: the outline is frayed by about a millimetre."""
    amount = 0.05 * px_per_cm
    h, w = alpha.shape
    shift = [cv2.GaussianBlur(rng.standard_normal((h, w)).astype(np.float32), (0, 0), 1.0) * 2.8 * amount for _ in range(2)]
    ys, xs = np.mgrid[:h, :w].astype(np.float32)
    return np.clip(cv2.remap(alpha, xs + shift[0], ys + shift[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), 0, 1)
