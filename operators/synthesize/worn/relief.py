"""What stands out of cloth: folds, pleats, seams; as maps in mm over the flat cloth."""

from __future__ import annotations

import cv2
import numpy as np

from operators.synthesize.worn.flat import Flat, Map

_PLEATS = 3


def bell(distance: Map, width: float) -> Map:
    """1 at distance 0, 1 / e at the width."""
    return np.exp(-np.square(distance / np.float32(width)))


def step(distance: Map, soft: float) -> Map:
    """0 below 0, 1 above, over a width of `soft`."""
    return np.clip(0.5 + distance / np.float32(soft), 0, 1)


def dashes(along: Map, off: Map, each_mm: float, width_mm: float = 0.55) -> Map:
    """A dashed line: 1 on its dashes; `along` and `off` are places along the line and distances from it."""
    return bell(off, width_mm) * np.clip(1.5 * np.sin(2 * np.pi * along / np.float32(each_mm)) + 0.6, 0, 1)


def hills(rng: np.random.Generator, shape: tuple[int, int], across: int, down: int) -> Map:
    """Smooth noise of about unit spread with so many hills across and down, the same at any resolution."""
    grid = rng.normal(0, 1, (down + 3, across + 3)).astype(np.float32)
    return cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def folds(flat: Flat, rng: np.random.Generator, count: int, depth_mm: float) -> Map:
    """Wrinkles that run from the sides into the cloth and fade: round ones, and creases where it was folded."""
    h, w = flat.x.shape
    small = (max(h // 2, 8), max(w // 2, 8))
    x, y = (cv2.resize(a, small[::-1], interpolation=cv2.INTER_AREA) for a in (flat.x, flat.y))
    out = np.zeros(small, np.float32)
    half, tall = float(x.max()), float(y.max())
    for _ in range(count):
        side = float(rng.choice([-1.0, 1.0]))
        start = tall * float(rng.choice([rng.uniform(0.0, 0.25), rng.uniform(0.3, 0.8), rng.uniform(0.75, 1.0)]))
        angle = float(np.arctan2(tall * rng.uniform(0.3, 0.7) - start, half) + rng.normal(0, 0.18))
        reach = np.float32(rng.uniform(0.35, 0.85) * half)
        width = float(rng.choice([rng.uniform(1.2, 2.2), rng.uniform(2.2, 4.8)]))
        inwards = np.float32(half) - np.float32(side) * x
        along = (inwards - np.float32(rng.uniform(0, 0.14) * half)) * np.float32(np.cos(angle)) + (y - start) * np.float32(
            np.sin(angle)
        )
        off = (y - start) * np.float32(np.cos(angle)) - inwards * np.float32(np.sin(angle))
        off = off + np.float32(rng.normal(0, 0.0025)) * along * along
        fade = np.exp(np.where(along > 0, np.float32(-2.2), np.float32(-20)) * np.square(along / reach))
        if rng.random() < 0.5:
            profile = np.exp(-np.abs(off) / np.float32(width)) - 0.5 * bell(off - 2.5 * width, 1.5 * width)
        else:
            profile = bell(off, width) - 0.6 * bell(off - 1.8 * width, width)
        out += np.float32(depth_mm * rng.uniform(0.35, 1.0) * width / 3.2) * fade * profile
    return cv2.resize(out, (w, h), interpolation=cv2.INTER_LINEAR)


def pleats(flat: Flat, rng: np.random.Generator, depth_mm: float) -> tuple[Map, Map]:
    """Folds across the mask that open downwards: relief, and the factor by which they shade themselves.

    In the middle they lie at one height of the face, at the sides at fixed shares of the cloth, closer together.
    """
    h, w = flat.x.shape
    u = flat.u[:1]
    first, apart = rng.uniform(0.26, 0.34), rng.uniform(0.155, 0.19)
    smile, slant = rng.uniform(-3, 5), rng.normal(0, 1.2)
    top, low = float(flat.level[0, w // 2]), float(flat.level[-1, w // 2])
    side = np.clip((np.abs(u) - 0.35) / 0.65, 0, 1)
    side = side * side * (3 - 2 * side)
    deep = depth_mm * (0.7 + 0.6 * flat.u**2) * np.clip(1 + 0.4 * hills(rng, (h, w), 4, 2), 0.2, 2)
    relief, shade = np.zeros((h, w), np.float32), np.ones((h, w), np.float32)
    for k in range(_PLEATS):
        middle = top + (first + k * apart) * (low - top) - smile * (1 - u**2)
        outer = flat.level[int((0.30 + 0.19 * k) * (h - 1))]
        line = (1 - side) * middle + side * outer + slant * u + 0.9 * hills(rng, (1, w), 6, 1)
        below = (line - flat.level).astype(np.float32)
        over, under = np.minimum(below, 0), np.maximum(below, 0)
        relief += deep * np.where(below < 0, np.clip(1 + over / 13, 0, 1) ** 1.5, np.clip(1 - under / 1.6, 0, 1))
        shade *= 1 - 0.34 * np.exp(over / 0.5 - under / 2.2) * (0.75 + 0.25 * np.abs(u))
    return relief, shade
