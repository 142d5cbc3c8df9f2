"""What a photo tells about a thing that shall look as if it had been in it: pose, light, skin tone, sharpness and grain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from operators.faces.canonical import UPPER_FACE, canonical_mesh
from operators.grain import bands, noise, spread
from operators.synthesize.base import Layer
from operators.synthesize.coverage import face_region

SKIN = (10, 151, 9, 109, 338, 67, 297, 50, 280, 205, 425, 117, 346, 101, 330, 4, 195, 197, 36, 266, 187, 411, 192, 416)
"""Mesh vertices that are skin on most faces: forehead, cheeks, nose."""
_TONE = (50, 280, 205, 425, 117, 346, 101, 330, 4, 195, 197, 36, 266, 187, 411, 123, 352)
# Where light is measured: skin whose normals point all over, without eyes, brows and lips.
_LIT = (*SKIN, 127, 356, 234, 454, 93, 323, 132, 361, 58, 288, 172, 397, 136, 365, 152, 199, 54, 284, 103, 332, 123, 352)
# Head and neck from the front, canonical cm: a little inside the real outline.
_HEAD = np.array([
    [0, -9.5, 0], [4.5, -8.2, 0], [6.9, -4.5, 0], [7.2, 0, 0], [6.6, 4.0, 0], [5.2, 7.2, 0], [4.6, 9.0, 0], [4.8, 13, 0],
    [-4.8, 13, 0], [-4.6, 9.0, 0], [-5.2, 7.2, 0], [-6.6, 4.0, 0], [-7.2, 0, 0], [-6.9, -4.5, 0], [-4.5, -8.2, 0],
], np.float64)  # fmt: skip
_UPPER = list(UPPER_FACE)


@dataclass(frozen=True)
class FaceFrame:
    """Where a face is: picture = origin + px_per_cm * rotation @ canonical (weak perspective, Umeyama 1991 on the upper face).

    Picture and canonical axes: x right, y down, z away from the camera. `rotation` is 3 x 3.
    """

    origin: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    px_per_cm: float

    @classmethod
    def of(cls, mesh_px: Float[np.ndarray, "468 3"]) -> FaceFrame:
        """The frame of 468 landmarks; one of a size of at least a pixel."""
        seen, model = mesh_px[_UPPER].astype(np.float64), canonical_mesh()[_UPPER]
        centre, there = model.mean(0), seen.mean(0)
        u, s, vt = np.linalg.svd((seen - there).T @ (model - centre))
        sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
        rotation = (u * sign) @ vt
        scale = max(float((s * sign).sum() / np.square(model - centre).sum()), 1e-3)
        return cls(there - scale * rotation @ centre, rotation, scale)

    def place(self, points_cm: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Canonical centimetres to picture pixels (and depth in pixels)."""
        return self.origin + self.px_per_cm * points_cm @ self.rotation.T

    @property
    def yaw(self) -> float:
        """Sine of the turn: positive when the nose points to the viewer's right."""
        return float(-self.rotation[0, 2])


@dataclass(frozen=True)
class Light:
    """Light on matte things: RGB = ambient + direction-weighted part, 1 on average over the face's visible skin."""

    coefficients: Float[np.ndarray, "4 3"]

    def shade(self, normals: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Irradiance at unit normals (picture axes, towards the camera = -z), kept within 0.25 to 1.9."""
        return np.clip(self.coefficients[0] + normals @ self.coefficients[1:], 0.25, 1.9).astype(np.float32)

    @property
    def direction(self) -> Float[np.ndarray, "3"]:
        """Unit vector towards the light, picture axes."""
        d = self.coefficients[1:].mean(1) + np.array([0.0, -0.1, -0.15])
        return d / np.linalg.norm(d)


@dataclass(frozen=True)
class Scene:
    """One face of one photo. `skin` is the RGB (0-255) of its skin in average light; lengths are pixels of the picture."""

    frame: FaceFrame
    light: Light
    skin: Float[np.ndarray, "3"]
    level: float
    blur_px: float
    grain: tuple[float, ...]

    @classmethod
    def of(cls, image: UInt8[np.ndarray, "h w 3"], mesh_px: Float[np.ndarray, "468 3"]) -> Scene:
        """Measured on the photo around the face."""
        frame = FaceFrame.of(mesh_px)
        normals = vertex_normals(mesh_px)
        h, w = image.shape[:2]
        x0, y0 = np.clip(np.floor(mesh_px[:, :2].min(0)).astype(int), 0, (w - 1, h - 1))
        x1, y1 = np.clip(np.ceil(mesh_px[:, :2].max(0)).astype(int), (x0 + 1, y0 + 1), (w, h))
        window = image[y0:y1, x0:x1]
        soft = cv2.GaussianBlur(window, (0, 0), max(0.5, 0.25 * frame.px_per_cm)).astype(np.float32)
        index = list(_LIT)
        at = np.floor(mesh_px[index, :2]).astype(int) - (x0, y0)
        inside = ((at >= 0) & (at < (x1 - x0, y1 - y0))).all(1) & (normals[index, 2] < -0.15)
        colours = soft[at[inside, 1], at[inside, 0]] if inside.any() else soft.reshape(-1, 3)[:: max(1, soft.size // 300)]
        # hair hides foreheads: cheeks and nose tell the skin's tone; shadows and beards are darker, highlights brighter
        tone = colours[np.isin(np.array(index)[inside], _TONE)] if inside.any() else colours
        tone = tone if len(tone) > 3 else colours
        level = tone @ (0.299, 0.587, 0.114)
        typical = (level >= np.percentile(level, 35)) & (level <= np.percentile(level, 85))
        skin = (tone[typical].mean(0) if typical.any() else np.median(tone, axis=0)).clip(4, 250)
        light = _light(colours / skin, normals[index][inside]) if inside.any() else _light(np.zeros((0, 3)), np.zeros((0, 3)))
        return cls(frame, light, skin, float(np.dot(skin, (0.299, 0.587, 0.114))), _blur(window), _grain(image, mesh_px))

    @property
    def exposure(self) -> float:
        """How bright a mid-tone thing is in this photo compared with an ordinary one (where light skin has level 185)."""
        return float(np.clip(np.percentile([self.level, 120, 200], 50) / 175, 0.6, 1.15))

    def finish(self, layer: Layer, seed: int, extra_blur_px: float = 0.0) -> Layer:
        """The layer as this camera would have taken it: edges and detail as soft as the photo's, grain as strong."""
        colour, alpha = layer.colour.astype(np.float32), layer.alpha.astype(np.float32)
        place = _box(alpha, 6 + int(4 * self.blur_px))
        if place is None:
            return layer
        part, inner = alpha[place], colour[place]
        sigma = float(np.hypot(max(0.0, self.blur_px - 0.35), extra_blur_px))
        if sigma > 0.3:
            both = cv2.GaussianBlur(np.dstack([inner * part[..., None], part]), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
            seen = both[..., 3]
            inner = np.where(seen[..., None] > 1e-3, both[..., :3] / np.maximum(seen, 1e-3)[..., None], inner)
            part = np.where(seen < 0.004, 0.0, seen)
        if any(level > 0 for level in self.grain):
            seeds, (height, width) = torch.tensor([seed % (1 << 62)]), part.shape
            shared = noise(seeds, 1, height, width, len(self.grain))
            # shot noise and skin's own texture are weaker in the dark
            dim = 0.25 + 0.75 * np.clip(inner.mean(-1, keepdims=True) / max(self.level, 1.0), 0, 1)
            for level, band in zip(self.grain, shared, strict=True):
                inner = inner + 0.8 * level * dim * band[0, 0].numpy()[..., None]
        colour, alpha = colour.copy(), alpha.copy()
        colour[place], alpha[place] = np.clip(inner, 0, 255), np.clip(part, 0, 1)
        return Layer(colour, alpha, layer.light)


def vertex_normals(mesh_px: Float[np.ndarray, "468 3"]) -> Float[np.ndarray, "468 3"]:
    """Outward unit normals in picture axes: the canonical face's, turned like the face."""
    return _canonical_normals() @ FaceFrame.of(mesh_px).rotation.T


def contact_shadow(alpha: Float[np.ndarray, "h w"], light: Light, reach_px: float, strength: float) -> Float[np.ndarray, "h w"]:
    """What an object close to the skin leaves of the light around it: soft, and longer away from the light."""
    out = np.ones(alpha.shape, np.float32)
    place = _box(alpha, int(5 * reach_px) + 2)
    if place is None or reach_px < 0.2:
        return out
    part = alpha[place].astype(np.float32)
    away = -light.direction[:2] * reach_px
    for sigma, share, shift in ((0.35, 0.45, 0.25), (0.9, 0.4, 0.7), (2.0, 0.3, 1.2)):
        moved = cv2.warpAffine(part, np.array([[1, 0, away[0] * shift], [0, 1, away[1] * shift]]), part.shape[::-1])
        dark = cv2.GaussianBlur(moved, (0, 0), max(0.4, sigma * reach_px))
        out[place] *= 1 - strength * share * dark
    return out


def on_head(shape: tuple[int, int], frame: FaceFrame) -> Float[np.ndarray, "h w"]:
    """Soft mask of where the shadow of something before a face may fall: the head and neck, not what is far behind."""
    head = _HEAD * (1, 1, 0) + (0, 0, 1.5)
    outline = frame.place(head)[:, :2]
    mask = np.zeros(shape, np.float32)
    points = np.clip(np.round(outline * 16 - 8), -(1 << 26), 1 << 26).astype(np.int32)
    cv2.fillPoly(mask, [points], 1.0, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.45 * frame.px_per_cm))


def _canonical_normals() -> np.ndarray:
    """Normals of an ellipsoid around the canonical face, near enough for broad light."""
    mesh = canonical_mesh()
    offset = (mesh - np.array([0.0, 0.5, 4.5])) / np.square([8.2, 11.5, 10.5])
    return offset / np.linalg.norm(offset, axis=1, keepdims=True)


def _light(relative: np.ndarray, normals: np.ndarray) -> Light:
    """Ridge regression of relative colour on normals; with few points, soft light from above and the front."""
    prior = np.zeros((4, 3))
    prior[:, :] = np.array([0.62, 0.0, -0.14, -0.42])[:, None]
    level = relative.mean(1)
    normals, relative = (values[(level > 0.6) & (level < 1.5)] for values in (normals, relative))  # no hair, no highlight
    rows = np.concatenate([np.ones((len(normals), 1)), normals], 1)
    left = np.clip(relative, 0.2, 2.0) - rows @ prior
    ridge = np.diag([0.5, 3.0, 3.0, 6.0])
    return Light(prior + np.linalg.solve(rows.T @ rows + ridge, rows.T @ left))


def _blur(window: np.ndarray) -> float:
    """Standard deviation of the photo's own blur: how much a known further blur weakens its strongest edges.

    Zhuo and Sim, "Defocus map estimation from a single image", 2011; the sharpest fifth of the strong edges decides.
    """
    if min(window.shape[:2]) < 12:
        return 0.6
    grey = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def slope(picture: np.ndarray) -> np.ndarray:
        return np.hypot(cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1))

    sharp, weak = slope(grey), slope(cv2.GaussianBlur(grey, (0, 0), 1.5))
    strong = sharp >= max(np.percentile(sharp, 97), 40.0)
    if strong.sum() < 8:
        return 1.0
    ratio = np.percentile(sharp[strong] / np.maximum(weak[strong], 1e-3), 70)
    return float(np.clip(1.5 / np.sqrt(max(ratio**2 - 1, 0.05)), 0.45, 4.0))


def _grain(image: np.ndarray, mesh_px: np.ndarray) -> tuple[float, ...]:
    """Spread of the two finest bands on cheeks and forehead, grey levels, capped: skin has pores, too."""
    h, w = image.shape[:2]
    points = mesh_px[list(SKIN), :2]
    x0, y0 = np.clip(np.floor(points.min(0)).astype(int), 0, (w - 1, h - 1))
    x1, y1 = np.clip(np.ceil(points.max(0)).astype(int), (x0 + 1, y0 + 1), (w, h))
    window = image[y0:y1, x0:x1]
    if min(window.shape[:2]) < 16:
        return (0.0, 0.0)
    hull = face_region(np.concatenate([points - (x0, y0), np.zeros((len(points), 1))], 1), window.shape[:2])
    grey = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY).astype(np.float32)
    known = torch.from_numpy(hull)[None]
    split = bands(torch.from_numpy(grey)[None, None], known, 2)
    return tuple(float(min(spread(band, known)[0, 0], 4.0)) for band in split[:2])


def _box(alpha: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """Rows and columns of what is not transparent, with a margin; None when all is."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not len(rows):
        return None
    h, w = alpha.shape
    return (
        slice(max(0, int(rows[0]) - margin), min(h, int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(w, int(columns[-1]) + 1 + margin)),
    )
