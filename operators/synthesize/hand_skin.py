"""What a hand looks like: skin with knuckles, creases and nails, and the cloth of a sleeve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from operators.synthesize.base import Outfit
from operators.synthesize.hand_kernels import SLEEVE
from operators.synthesize.setting import Scene

_SLEEVES = ((34, 38, 52), (44, 44, 46), (196, 196, 192), (86, 92, 104), (102, 60, 54), (62, 78, 66))


@dataclass(frozen=True)
class Hand:
    """Tapered capsules (start, radius, end, radius, flatness) in picture axes, cm; the origin is where the hand is held.

    `groups` are those of `hand_kernels`, `back` each bone's direction out of the back of the hand.
    """

    bones: Float[np.ndarray, "n 9"]
    groups: np.ndarray
    back: Float[np.ndarray, "n 3"]

    def grown(self, size: float) -> Hand:
        """Larger or smaller around the anchor."""
        return Hand(self.bones * np.array([*[size] * 8, 1.0]), self.groups, self.back)

    @property
    def arm(self) -> Float[np.ndarray, "3"]:
        """Unit direction from the hand along its arm."""
        last = self.bones[np.flatnonzero(self.groups == 0)[-1]]
        way = last[4:7] - last[0:3]
        return way / max(float(np.linalg.norm(way)), 1e-9)


@dataclass(frozen=True)
class Surface:
    """Points of a hand's surface that the camera sees, in the hand's own centimetres; `size` is how far it was grown."""

    hand: Hand
    size: float
    position: Float[np.ndarray, "n 3"]
    normal: Float[np.ndarray, "n 3"]
    openness: Float[np.ndarray, " n"]
    bone: Int[np.ndarray, " n"]
    along: Float[np.ndarray, " n"]

    @cached_property
    def group(self) -> np.ndarray:
        """Part of the hand."""
        return self.hand.groups[self.bone]

    @cached_property
    def axis(self) -> np.ndarray:
        """Unit direction of the bone."""
        bones = self.hand.bones[self.bone]
        return (bones[:, 4:7] - bones[:, 0:3]) / self.length[:, None]

    @cached_property
    def length(self) -> np.ndarray:
        """Length of the bone."""
        bones = self.hand.bones[self.bone]
        return np.maximum(np.linalg.norm(bones[:, 4:7] - bones[:, 0:3], axis=1), 1e-6)

    @cached_property
    def radius(self) -> np.ndarray:
        """Radius of the bone's flesh here."""
        bones = self.hand.bones[self.bone]
        return bones[:, 3] + self.along * (bones[:, 7] - bones[:, 3])

    @cached_property
    def lateral(self) -> np.ndarray:
        """How far to the side of the bone, seen onto the back of the hand."""
        side = np.cross(self.axis, self.hand.back[self.bone])
        return ((self.position - self.hand.bones[self.bone, 0:3]) * side).sum(1)

    @cached_property
    def down(self) -> np.ndarray:
        """How far along the bone; below 0 and beyond its length at its round ends."""
        return ((self.position - self.hand.bones[self.bone, 0:3]) * self.axis).sum(1)

    @cached_property
    def on_back(self) -> np.ndarray:
        """1 where the surface looks out of the back of the hand, -1 on the palm."""
        return (self.normal * self.hand.back[self.bone]).sum(1)

    def ends(self, last: bool) -> np.ndarray:
        """Whether the bone is its finger's last (or first) one."""
        found = np.zeros(len(self.hand.groups), bool)
        for finger in range(1, 6):
            found[np.flatnonzero(self.hand.groups == finger)[-1 if last else 0]] = True
        return found[self.bone]


def flesh_and_cloth(surface: Surface, scene: Scene, outfit: Outfit, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """Colour 0-255 of every point under the photo's light; `outfit.colour` is the sleeve's."""
    skin, cloth = _skin(surface, scene, rng), _cloth(surface, scene, outfit, rng)
    return np.where((surface.group >= SLEEVE)[:, None], cloth, skin).astype(np.float32)


def _ripples(points: np.ndarray, rng: np.random.Generator, scale_cm: float, waves: int = 24) -> np.ndarray:
    """Smooth noise of about unit spread at points (cm): a sum of plane waves."""
    directions = rng.normal(0, 1, (waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    frequency = 2 * np.pi / scale_cm * rng.uniform(0.5, 1.5, waves)
    phase = rng.uniform(0, 2 * np.pi, waves)
    return np.sin((points @ directions.T) * frequency + phase).sum(1) * (2 / waves) ** 0.5


def _skin(at: Surface, scene: Scene, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """Skin with redder knuckles, creases over the joints, tendons, veins, mottles, and nails."""
    base = scene.skin * rng.uniform(0.96, 1.07) * np.array([1.0, rng.uniform(0.965, 1.01), rng.uniform(0.95, 1.01)])
    mottle = 0.022 * _ripples(at.position, rng, 1.6) + 0.018 * _ripples(at.position, rng, 0.45)
    albedo = base * (1 + mottle[:, None] * np.array([0.6, 1.0, 1.1]))
    finger, back = (at.group >= 1) & (at.group <= 5), at.group == 0
    place = at.along * at.length
    tip = at.ends(last=True) & finger
    # a finger bends where two of its bones meet
    bends = finger & ~(tip & (at.along > 0.4)) & ~(at.ends(last=False) & (at.along < 0.5))
    near = np.maximum(np.exp(-((place / 0.42) ** 2)), np.exp(-(((at.length - place) / 0.42) ** 2)))
    joint = np.where(bends, near * np.clip(at.on_back * 1.6, 0, 1), 0.0)
    fine = float(np.clip((scene.frame.px_per_cm * at.size - 8) / 16, 0.15, 1.0))  # creases finer than pixels would alias
    wave = np.sin(place * 2 * np.pi / 0.22 + 2.0 * np.sin(at.lateral * 2.2) + 0.8 * _ripples(at.position, rng, 0.7))
    crease = joint * fine * np.clip(wave, 0, 1) ** 2
    knuckle = 0.7 * joint
    for g in range(1, 5):
        centre = at.hand.bones[np.flatnonzero(at.hand.groups == g)[0], 0:3]
        knuckle = np.maximum(knuckle, 0.8 * np.exp(-np.square(at.position - centre).sum(1) / 1.25**2))
    tips = np.where(tip, np.clip((at.along - 0.2) / 0.8, 0, 1), 0.0)
    red = np.clip(0.75 * knuckle + 0.5 * tips, 0, 1)[:, None]
    albedo *= (1 - red * np.array([0.0, 0.07, 0.06])) * (1 - 0.12 * crease[:, None] * np.array([0.8, 1.0, 1.05]))
    # tendons fan out from the wrist, a vein or two run along the arm
    tendon = np.where(back & (at.on_back > 0), np.exp(-((at.lateral / 0.22) ** 2)), 0.0)
    arm = at.hand.arm
    stretched = at.position - 0.75 * (at.position @ arm)[:, None] * arm
    vein = np.where(back, np.exp(-((_ripples(stretched, rng, 3.2, 9) / 0.10) ** 2)) * np.clip(at.on_back, 0, 1), 0.0)
    albedo *= (1 + 0.035 * tendon[:, None]) * (1 - vein[:, None] * np.array([0.035, 0.012, -0.005]))
    shade = scene.light.shade(at.normal)
    light = shade * np.clip(at.openness, 0.38, 1)[:, None] ** np.array([0.75, 1.0, 1.1])
    # light that went through the skin reddens the edge of its shadow
    edge = np.clip(1 - shade.mean(1, keepdims=True), 0, 1)
    out = albedo * light * (1 + edge * np.array([0.10, -0.02, -0.04]))
    half = scene.light.direction + np.array([0.0, 0.0, -1.0])
    gloss = np.clip(at.normal @ (half / np.linalg.norm(half)), 0, 1)
    out += (0.05 * scene.level * gloss**14 * (1 + 0.5 * _ripples(at.position, rng, 0.25)) * at.openness)[:, None]
    return _nails(out, at, tip, gloss, light, scene)


def _nails(
    out: np.ndarray, at: Surface, tip: np.ndarray, gloss: np.ndarray, light: np.ndarray, scene: Scene
) -> Float[np.ndarray, "n 3"]:
    """A rounded plate on the back of every fingertip, paler and glossier than the skin, in a shallow fold."""
    # measured from the fingertip, in fingertip radii
    ahead = (at.along - 1) * at.length / at.radius + 0.15
    across = at.lateral / (0.80 * at.radius)
    box = (np.abs(across) ** 3 + np.abs((ahead + 0.45) / 0.95) ** 3) ** (1 / 3)
    facing = np.where(tip, np.clip((at.on_back - 0.25) * 6, 0, 1), 0.0)
    inside = facing / (1 + np.exp(np.clip((box - 0.9) * 28, -40, 40)))
    fold = facing * np.exp(-(((box - 0.98) / 0.09) ** 2))
    moon = np.exp(-(((ahead + 1.25) / 0.28) ** 2 + (across / 0.5) ** 2))
    rim = np.clip((ahead - 0.28) * 8, 0, 1)
    plate = (0.72 * scene.skin + 0.28 * np.array([238, 206, 196]) * scene.exposure) * light
    plate *= (1 + 0.12 * moon + 0.14 * rim)[:, None]
    plate += (scene.level * (0.16 * gloss**24 + 0.06 * np.exp(-((across / 0.3) ** 2)) * gloss**6))[:, None]
    out = out * (1 - 0.22 * fold[:, None])
    return out * (1 - inside[:, None]) + plate * inside[:, None]


def _cloth(at: Surface, scene: Scene, outfit: Outfit, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """A sleeve: folds across the arm, a seam at the cuff."""
    base = np.array(outfit.colour if outfit.colour is not None else _SLEEVES[rng.integers(len(_SLEEVES))], np.float64)
    down = at.down
    fold = _ripples(np.stack([down, 0.35 * at.lateral, 0 * down], 1), rng, 3.4)
    tilted = at.normal + at.axis * (0.22 * np.cos(2 * np.pi * down / 4.2 + 1.8 * fold))[:, None]
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    fine = float(np.clip((0.12 * scene.frame.px_per_cm * at.size - 2) / 3, 0, 1))
    weave = 1 + 0.03 * fine * np.sin(2 * np.pi * down / 0.12) * np.sin(2 * np.pi * at.lateral / 0.12)
    shade = scene.light.shade(tilted) * np.clip(at.openness, 0.2, 1)[:, None]
    cuff = (at.group == SLEEVE).astype(np.float64)
    seam = 1 - cuff * (0.25 * np.exp(-(((down - 1.1) / 0.06) ** 2)) + 0.2 * np.exp(-((down / 0.1) ** 2)))
    return base * scene.exposure * shade * (weave * seam * (1 + 0.10 * fold))[:, None]
