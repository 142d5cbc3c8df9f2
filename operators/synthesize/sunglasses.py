"""Sunglasses that sit on the nose and turn with the head: frame, tinted lenses that mirror a sky, temples to the ears."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.faces.canonical import canonical_mesh
from operators.synthesize.base import Layer, Outfit, over
from operators.synthesize.coverage import aim, size_for
from operators.synthesize.setting import FaceFrame, Scene, contact_shadow
from operators.synthesize.strokes import polygon_alpha

# Lens outlines by control points, cm from the lens's middle; x away from the nose, y down.
_OUTLINES = {
    "classic": ((-2.3, -1.6), (0.0, -2.0), (2.5, -1.9), (2.75, -0.9), (2.2, 1.2), (0.6, 1.95), (-1.2, 1.8), (-2.1, 0.5)),
    "aviator": ((-2.2, -1.4), (0.0, -2.0), (2.3, -1.75), (2.85, -0.2), (2.3, 1.8), (0.7, 2.75), (-1.2, 2.1), (-2.2, 0.3)),
    "round": tuple((2.35 * np.cos(a), 2.35 * np.sin(a)) for a in np.arange(10) * 2 * np.pi / 10),
    "large": ((-2.3, -1.8), (0.0, -2.1), (2.7, -1.95), (2.9, 0.0), (2.4, 2.0), (0.3, 2.4), (-1.9, 1.85), (-2.3, 0.0)),
    "narrow": ((-2.3, -1.1), (0.0, -1.4), (2.9, -1.3), (3.15, -0.3), (2.4, 1.1), (0.2, 1.45), (-1.9, 1.0), (-2.35, 0.0)),
}
_TINTS = ((20, 21, 23), (20, 21, 23), (52, 34, 22), (26, 36, 28), (30, 34, 48))
_MIRRORS = ((70, 120, 200), (200, 120, 60), (150, 160, 170))
_PLASTIC = ((16, 16, 18), (16, 16, 18), (74, 44, 26), (38, 30, 28), (222, 220, 214), (120, 24, 30))
_METAL = ((196, 164, 96), (178, 180, 184), (44, 44, 48))
_LENS_X, _FRONT_Z, _WRAP_CM, _CURVE_CM = 3.25, -6.25, 11.0, 8.8
_BRIDGE = 6
_EAR = np.array([7.85, -2.5, 3.2])


@dataclass(frozen=True)
class _Style:
    outline: Float[np.ndarray, "n 2"]
    rim: float
    metal: bool
    frame: Float[np.ndarray, "3"]
    tint: Float[np.ndarray, "3"]
    opacity: tuple[float, float]
    mirror: float
    sky: Float[np.ndarray, "3"]
    drop: float
    tortoise: bool


def sunglasses(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks468_px: Float[np.ndarray, "468 3"],
    outfit: Outfit,
    seed: int,
    coverage: tuple[float, float] | None = None,
) -> Layer:
    """Sunglasses of a random shape and tint; `outfit.colour` is the frame's.

    They cover 15 to 35 % of a face; a coverage target is aimed for by their size, between 0.7 and 1.6 of the usual.
    """
    rng = np.random.default_rng(seed)
    scene = Scene.of(image, landmarks468_px)
    style = _style(rng, outfit)
    size = float(rng.uniform(0.96, 1.1))
    wanted = aim(coverage, rng) if coverage else 0.0
    shape = (image.shape[0], image.shape[1])
    sitting = _sitting(scene.frame, landmarks468_px)
    if coverage:

        def alpha(s: float) -> np.ndarray:
            solid = np.zeros(shape, np.float32)
            for side in (-1, 1):
                solid = np.maximum(
                    solid, polygon_alpha(shape, sitting.place(_front(_rim(style, style.rim), side, s, style))[:, :2])
                )
            return solid

        size = size_for(alpha, landmarks468_px, coverage, wanted, (0.7, 1.6))
    noise = rng.random(64)
    temples = [_temple(shape, sitting, scene, style, side, size) for side in (-1, 1)]
    front = _front_layer(shape, sitting, scene, style, size, noise)
    result = front
    for temple in temples:
        if temple is not None:
            result = over(result, temple)
    shadow = contact_shadow(result.alpha, scene.light, 0.45 * scene.frame.px_per_cm, 0.55)
    return scene.finish(Layer(result.colour, result.alpha, shadow), seed)


def _style(rng: np.random.Generator, outfit: Outfit) -> _Style:
    name = str(rng.choice(list(_OUTLINES)))
    metal = bool(rng.random() < {"aviator": 0.9, "round": 0.7}.get(name, 0.15))
    colours = _METAL if metal else _PLASTIC
    frame = np.array(outfit.colour if outfit.colour is not None else colours[rng.integers(len(colours))], np.float64)
    mirrored = rng.random() < 0.2
    tint = np.array(_MIRRORS[rng.integers(len(_MIRRORS))] if mirrored else _TINTS[rng.integers(len(_TINTS))], np.float64)
    top = rng.uniform(0.93, 0.985)
    bottom = top if mirrored or rng.random() < 0.5 else rng.uniform(0.66, 0.9)
    return _Style(
        outline=_closed_spline(np.array(_OUTLINES[name], np.float64)),
        rim=float(rng.uniform(0.08, 0.12) if metal else rng.uniform(0.26, 0.42)),
        metal=metal,
        frame=frame,
        tint=tint,
        opacity=(float(top), float(bottom)),
        mirror=float(rng.uniform(0.35, 0.6) if mirrored else rng.uniform(0.08, 0.24)),
        sky=np.array([rng.uniform(0.75, 0.95), rng.uniform(0.85, 0.97), 1.0]),
        drop=float(rng.uniform(-0.15, 0.35)),
        tortoise=not metal and outfit.colour is None and tuple(frame.astype(int)) == (74, 44, 26),
    )


def _closed_spline(points: np.ndarray, per_segment: int = 10) -> np.ndarray:
    """Closed Catmull-Rom curve."""
    a, b, c, d = (np.roll(points, k, 0) for k in (1, 0, -1, -2))
    t = np.linspace(0, 1, per_segment, endpoint=False)[None, :, None]
    a, b, c, d = (p[:, None] for p in (a, b, c, d))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.reshape(-1, 2)


def _sitting(frame: FaceFrame, mesh_px: np.ndarray) -> FaceFrame:
    """The face's frame, moved so that the glasses' bridge meets this nose's."""
    shift = mesh_px[_BRIDGE].astype(np.float64) - frame.place(canonical_mesh()[_BRIDGE])
    return FaceFrame(frame.origin + shift * (1, 1, 0), frame.rotation, frame.px_per_cm)


def _rim(style: _Style, width: float) -> np.ndarray:
    """The outline widened by `width` cm along its normals."""
    along = np.roll(style.outline, -1, 0) - np.roll(style.outline, 1, 0)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    return style.outline + width * normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _front(points: np.ndarray, side: int, size: float, style: _Style) -> np.ndarray:
    """Lens coordinates to canonical cm: both lenses lie on one wrapped, slightly tilted front."""
    x = side * (size * points[..., 0] + _LENS_X * (0.75 + 0.25 * size) + 0.1)
    y = size * points[..., 1] - 2.15 + style.drop
    return _on_front(x, y)


def _on_front(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y, _FRONT_Z + x * x / (2 * _WRAP_CM) + 0.12 * (y + 2.2)], -1)


def _front_layer(shape: tuple[int, int], frame: FaceFrame, scene: Scene, style: _Style, size: float, noise: np.ndarray) -> Layer:
    """Both lenses with their rims, and the bridge between them."""
    lenses, rims = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    colour = np.zeros((*shape, 3), np.float32)
    glass = np.zeros(shape, np.float32)
    for side in (-1, 1):
        inner = frame.place(_front(style.outline, side, size, style))[:, :2]
        outer = frame.place(_front(_rim(style, style.rim), side, size, style))[:, :2]
        lens, rim = polygon_alpha(shape, inner), polygon_alpha(shape, outer)
        painted, opacity = _glass(lens, frame, scene, style, side, size, noise)
        colour = np.where(lens[..., None] > 0, painted, colour)
        glass = np.maximum(glass, opacity * lens)
        lenses, rims = np.maximum(lenses, lens), np.maximum(rims, rim)
    solid = np.maximum(rims, _bridge(shape, frame, style, size))
    ring = np.clip(solid - lenses, 0, 1)
    alpha = ring + glass * (1 - ring)
    rim_colour = _material(ring, solid, scene, style, frame.px_per_cm)
    # a thin shadow of the rim falls on the glass
    inside = cv2.GaussianBlur(ring, (0, 0), max(0.5, 0.12 * frame.px_per_cm))
    colour = colour * (1 - 0.35 * inside)[..., None]
    weight = ring[..., None]
    mixed = (weight * rim_colour + (1 - weight) * glass[..., None] * colour) / np.maximum(alpha, 1e-6)[..., None]
    return Layer(mixed.astype(np.float32), alpha.astype(np.float32))


def _glass(
    lens: np.ndarray, frame: FaceFrame, scene: Scene, style: _Style, side: int, size: float, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colour and opacity of one lens: gradient tint, and a sky with a skyline mirrored in its curve."""
    colour, opacity = np.zeros((*lens.shape, 3), np.float32), np.zeros(lens.shape, np.float32)
    ys, xs = np.nonzero(lens)
    if not len(ys):
        return colour, opacity
    grid = np.stack(np.meshgrid(np.linspace(-3.2, 3.2, 9), np.linspace(-3, 3, 9)), -1).reshape(-1, 2)
    there = frame.place(_front(grid, side, size, style))[:, :2]
    u, v = _inverse(there, grid, np.stack([xs, ys], 1) + 0.5).T
    depth = np.clip((v + 1.9) / 4.2, 0, 1)
    normal = np.stack([side * (u / _CURVE_CM + 0.1), v / _CURVE_CM + 0.05, -np.ones_like(u)], 1)
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True) @ frame.rotation.T
    mirrored = np.array([0.0, 0.0, 1.0]) - 2 * normal[:, 2:3] * normal
    up, across = -mirrored[:, 1], mirrored[:, 0]
    line = np.interp((across * 16 + 32) % 64, np.arange(64), cv2.GaussianBlur(noise[None], (0, 0), 1.2)[0])
    horizon = 0.12 + 0.22 * (line - 0.5)
    sky = 1 / (1 + np.exp(-(up - horizon) / 0.035))
    world = 0.16 + sky * (0.62 + 0.38 * np.clip(up - horizon, 0, 1))
    # one soft window or lamp
    lamp = np.exp(-(((across - 0.5 * (noise[0] - 0.5)) / 0.09) ** 4) - ((up - 0.42) / 0.13) ** 4)
    fresnel = style.mirror + (1 - style.mirror) * (1 - np.abs(normal[:, 2])) ** 5
    lit = scene.exposure * 205
    body = style.tint * scene.exposure * (0.9 + 0.5 * depth[:, None] * (style.opacity[0] - style.opacity[1]))
    reflected = (world[:, None] * style.sky + 0.7 * lamp[:, None]) * lit * fresnel[:, None]
    tinted = np.where(style.mirror > 0.3, style.tint / 160, 1.0)
    colour[ys, xs] = np.clip(body * (0.25 if style.mirror > 0.3 else 1.0) + reflected * tinted, 0, 255)
    fade = style.opacity[0] + (style.opacity[1] - style.opacity[0]) * depth**1.3
    opacity[ys, xs] = np.clip(fade + fresnel * world * 0.3, 0, 1)
    return colour, opacity


def _inverse(there: np.ndarray, grid: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Lens coordinates of pixels, by a cubic through a grid of known ones."""
    centre, scale = there.mean(0), max(float(np.ptp(there, axis=0).max()), 1e-6)

    def terms(points: np.ndarray) -> np.ndarray:
        x, y = ((points - centre) / scale).T
        return np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], 1)

    solution = np.linalg.lstsq(terms(there), grid, rcond=1e-9)[0]
    return np.clip(terms(pixels) @ solution, -4, 4)


def _bridge(shape: tuple[int, int], frame: FaceFrame, style: _Style, size: float) -> np.ndarray:
    """The bar over the nose; metal aviators have two."""
    inner = _LENS_X * (0.75 + 0.25 * size) + 0.1 - 2.2 * size
    x = np.linspace(-inner - 0.35, inner + 0.35, 15)
    bars = ((-0.95, 0.10), (-1.75, 0.09)) if style.metal else ((-0.85, 0.5 * style.rim + 0.12),)
    out = np.zeros(shape, np.float32)
    for height, half in bars:
        y = size * height - 2.15 + style.drop - 0.25 * (1 - (x / x[-1]) ** 2)
        edge = np.concatenate([_on_front(x, y - half), _on_front(x[::-1], y[::-1] + half)])
        out = np.maximum(out, polygon_alpha(shape, frame.place(edge)[:, :2]))
    return out


def _temple(shape: tuple[int, int], frame: FaceFrame, scene: Scene, style: _Style, side: int, size: float) -> Layer | None:
    """The arm from the hinge to the ear; None where the head hides it."""
    hinge = _front(np.array([[2.75, -1.25]]), side, size, style)[0] + np.array([side * style.rim, 0.0, 0.0])
    ear = _EAR * (side, 1, 1)
    if side * (frame.place(ear)[0] - frame.place(hinge)[0]) <= 0.05 * frame.px_per_cm:
        return None
    t = np.linspace(0, 1, 24)[:, None]
    middle = hinge + t * (ear - hinge) + np.array([0, -0.15, 0]) * np.sin(np.pi * t)
    half = (0.07 if style.metal else 0.12 + 0.6 * style.rim) * (1 - 0.35 * t)
    edge = np.concatenate([middle - [0, 1, 0] * half, (middle + [0, 1, 0] * half)[::-1]])
    place = frame.place(edge)[:, :2]
    alpha = polygon_alpha(shape, place)
    # hair begins somewhere before the ear: the arm ends softly
    ys, xs = np.nonzero(alpha)
    if not len(ys):
        return None
    start, end = frame.place(hinge)[:2], frame.place(ear)[:2]
    along = ((np.stack([xs, ys], 1) + 0.5 - start) @ (end - start)) / max(float(np.sum((end - start) ** 2)), 1e-6)
    alpha[ys, xs] *= np.clip((1.0 - along) / 0.15, 0, 1)
    colour = _material(alpha, alpha, scene, style, frame.px_per_cm) * 0.8
    return Layer(colour.astype(np.float32), alpha)


def _material(ring: np.ndarray, solid: np.ndarray, scene: Scene, style: _Style, px_per_cm: float) -> np.ndarray:
    """Colour of rounded plastic or metal: light by a bevel's normals, and a highlight along the upper edges."""
    depth = cv2.GaussianBlur(ring, (0, 0), max(0.6, 0.5 * style.rim * px_per_cm))
    slope = 1.3 * max(0.6, 0.5 * style.rim * px_per_cm)
    dx, dy = (cv2.Sobel(depth, cv2.CV_32F, *axis) / 8 * slope * 2 for axis in ((1, 0), (0, 1)))
    normal = np.stack([-dx, -dy, -np.ones_like(dx)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    base = style.frame * scene.exposure
    if style.tortoise:
        ys, xs = np.mgrid[: ring.shape[0], : ring.shape[1]] / px_per_cm
        spots = np.sin(xs * 5.1 + 2 * np.sin(ys * 3.7)) * np.sin(ys * 4.3 + 1.7 * np.sin(xs * 4.9))
        base = base * (1 + 0.9 * np.clip(spots, -0.5, 1))[..., None]
    half = scene.light.direction + np.array([0, -0.25, -1.0])
    half /= np.linalg.norm(half)
    shine = np.clip(normal @ half, 0, 1) ** (60 if style.metal else 35)
    rim_light = np.clip(-normal[..., 1], 0, 1) ** 2
    gloss = (150 if style.metal else 60) * shine + (70 if style.metal else 45) * rim_light
    return base * scene.light.shade(normal) * (0.75 if style.metal else 0.95) + (gloss * scene.exposure)[..., None]
