"""Pixels of a worn mask, made to match the photo: its light, sharpness, grain, colourfulness and hair."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize.base import Layer, Outfit
from operators.synthesize.worn.assembly import Assembly
from operators.synthesize.worn.fabric import Fabric, weave
from operators.synthesize.worn.fitted import FittedFace
from operators.synthesize.worn.flat import Flat
from operators.synthesize.worn.head import Head
from operators.synthesize.worn.photo import colourfulness, face_sharpness_px, grain, grain_std, skin_likeness
from operators.synthesize.worn.shading import paint
from operators.synthesize.worn.shadow import contact_shadow, light_direction
from operators.synthesize.worn.shell import Shell
from operators.synthesize.worn.view import View, hull

_EDGE_PX = 0.35
"""Blur that averaging samples has already given to edges."""
_LEAST_PX = 0.45
"""Least further blur: few samples per pixel leave steps."""
_REACH_MM = 14.0
"""How far a shadow may reach beyond the mask."""
_HAIR_IN_FRONT = 0.7
_EXPOSURE = 0.05
_BRIGHTEST = 1.15
"""Shading straight ahead in the brightest of photos; 1 is an ordinary one."""
_STEEPEST = 1.2


@dataclass(frozen=True)
class Canvas:
    """A photo, and the layer in front of it."""

    photo: UInt8[np.ndarray, "h w 3"]
    layer: Layer

    @classmethod
    def blank(cls, photo: UInt8[np.ndarray, "h w 3"]) -> Canvas:
        """Nothing in front of it yet."""
        shape = photo.shape[:2]
        return cls(photo, Layer(np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32), np.ones(shape, np.float32)))


@dataclass(frozen=True)
class _Window:
    """The part of a photo that a mask and its shadow may change, and samples per pixel along each axis."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, points_px: np.ndarray, margin: float, height: int, width: int) -> _Window | None:
        """None where nothing of it lies in the picture."""
        if not np.isfinite(points_px).all():
            return None
        low, high = np.maximum(points_px.min(0) - margin, 0), np.minimum(points_px.max(0) + margin, (width, height))
        if (high - low < 2).any():
            return None
        return cls(int(low[0]), int(low[1]), int(np.ceil(high[0])), int(np.ceil(high[1])))

    @property
    def part(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def samples(self) -> int:
        extent = max(self.shape)
        return 3 if extent < 160 else 2 if extent < 720 else 1


def draw(
    canvas: Canvas, face: FittedFace, view: View, head: Head, shell: Shell, mesh: Assembly, cut: str, outfit: Outfit, seed: int,
    wrinkles: float, shadow: float,
) -> None:  # fmt: skip
    """Fill the canvas's layer with a mask."""
    seen = mesh.placed[mesh.head :, :2]
    window = _Window.around(seen, _REACH_MM * view.px_per_mm + 4, *canvas.photo.shape[:2])
    if window is None:
        return
    texels = int(np.clip(1.4 * np.ptp(seen[: mesh.cloth, 0]), 96, 960))
    flat = Flat.of(shell, max(texels * 3 // 4, 64), texels)
    fabric = weave(cut, outfit, flat, seed, wrinkles)
    photo = np.ascontiguousarray(canvas.photo[window.part])
    rgb, cover, on_head = _painted(mesh, window, fabric, flat, photo, face, view, seed)

    blur = face_sharpness_px(canvas.photo, face.points_px)
    both = cv2.GaussianBlur(np.dstack((rgb, cover)), (0, 0), float(np.sqrt(max(blur**2 - _EDGE_PX**2, _LEAST_PX**2))))
    cover = np.clip(both[..., 3], 0, 1)
    rgb = both[..., :3] / np.maximum(both[..., 3:], 1e-4) * 255
    grey = (rgb @ np.array((0.299, 0.587, 0.114), np.float32))[..., None]
    rgb = grey + colourfulness(photo) * (rgb - grey)
    spreads = grain_std(photo, (on_head > 0.5) & (photo[..., 1] < 250))
    rgb = rgb + (0.35 + 0.35 * grey / 255) * grain(window.shape, spreads, seed)

    skin = np.maximum(on_head, _neck(head, view, window))
    skin = cv2.GaussianBlur(skin, (0, 0), max(0.8 * view.px_per_mm, 0.5))
    layer = canvas.layer
    layer.colour[window.part] = np.clip(rgb, 0, 255)
    layer.alpha[window.part] = np.where(cover < 1 / 512, 0, cover)
    assert layer.light is not None
    layer.light[window.part] = contact_shadow(cover, skin, face.light, view.px_per_mm, shadow)


def _painted(
    mesh: Assembly, window: _Window, fabric: Fabric, flat: Flat, photo: np.ndarray, face: FittedFace, view: View, seed: int
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Premultiplied colour, coverage, and where the head or the mask on it are."""
    samples, (height, width) = window.samples, window.shape
    index, weights = mesh.rasterize((float(window.x0), float(window.y0)), float(samples), height * samples, width * samples)
    rng = np.random.default_rng([seed, 4])
    hair = np.float32(rng.random() < _HAIR_IN_FRONT)
    light = _on_cloth(np.asarray(face.light, np.float32)) * np.float32(np.exp(rng.normal(0, _EXPOSURE)))
    towards = light_direction(light) + np.array((0.0, 0.0, 1.0))
    landmarks = face.points_px - (window.x0, window.y0)
    rows, columns = fabric.shade.shape
    rgb, cover = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    paint(
        index, weights, mesh.triangles, mesh.material, mesh.normals, mesh.across, mesh.down,
        (mesh.texel * (columns - 1, rows - 1)).astype(np.float32), mesh.plain, _maps(fabric, flat), light,
        (towards / np.linalg.norm(towards)).astype(np.float32), fabric.inside, skin_likeness(photo, landmarks),
        _outside(landmarks, window, view), hair, samples, rgb, cover,
    )  # fmt: skip
    on_head = cv2.resize((index >= 0).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return rgb, cover, on_head


def _maps(fabric: Fabric, flat: Flat) -> Float[np.ndarray, "h w 7"]:
    """What `paint` wants to know of the cloth; the relief as slopes."""
    slopes = []
    for axis, places in ((1, flat.x), (0, flat.y)):
        step = np.maximum(np.gradient(places, axis=axis), 0.02)
        slopes.append(np.clip(np.gradient(fabric.relief_mm, axis=axis) / step, -_STEEPEST, _STEEPEST))
    return np.dstack((fabric.albedo, *slopes, fabric.shade, fabric.gloss)).astype(np.float32)


def _outside(landmarks: np.ndarray, window: _Window, view: View) -> Float[np.ndarray, "h w"]:
    """1 beyond the face and along its outline, where background may show because outline and fit differ."""
    inside = hull(landmarks, *window.shape).astype(np.float32)
    inside = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=max(round(3 * view.px_per_mm), 1))
    return cv2.GaussianBlur(1 - inside, (0, 0), max(view.px_per_mm, 0.5))


def _on_cloth(light: np.ndarray) -> np.ndarray:
    """Light with less colour, and not brighter than a photo can be: part of what the fit calls light is this person's skin."""
    tint = np.maximum(light[0], 1e-3)
    bare = light * (tint.mean() / tint) ** np.float32(0.55)
    ahead = float((bare[0] + bare[2] + 2 * bare[6]).mean())
    return bare * np.float32(_BRIGHTEST / max(ahead, _BRIGHTEST))


def _neck(head: Head, view: View, window: _Window) -> Float[np.ndarray, "h w"]:
    """A plain neck below the jaw: only shadows fall on it."""
    x, y = 0.8 * head.landmarks[288, 0], head.landmarks[152, 1]
    corners = np.array([(-x, y + 25, -45), (x, y + 25, -45), (x, y - 90, -60), (-x, y - 90, -60)], np.float64)
    outline = view.place(head, corners)[:, :2] - (window.x0, window.y0) - 0.5
    out = np.zeros(window.shape, np.float32)
    cv2.fillConvexPoly(out, np.clip(np.round(outline * 16), -(2**24), 2**24).astype(np.int32), 1.0, cv2.LINE_AA, 4)
    return out
