"""Masks that lie on the fitted face: they turn and bulge with the head, and the photo's own light falls on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.morphable.bases import load_basis
from operators.morphable.basis import FaceBasis
from operators.synthesize import straps
from operators.synthesize.base import MASK_TYPES, Layer, Outfit
from operators.synthesize.fabric import Fabric, Flat, weave
from operators.synthesize.head import Head, HeadMaker
from operators.synthesize.photo import grain, grain_std, sharpness_px, skin_likeness
from operators.synthesize.assembly import Assembly, assemble
from operators.synthesize.shading import paint
from operators.synthesize.shadow import contact_shadow, light_direction
from operators.synthesize.shell import CUTS, Placement, Shell, lay_shell
from operators.synthesize.straps import Part
from operators.synthesize.view import View, covered_share, hull


@dataclass(frozen=True)
class FittedFace:
    """One face as `MorphableFitter` left it (units of `operators.columns`), with the photo's landmarks."""

    identity: Float[np.ndarray, " identity"]
    expression: Float[np.ndarray, " expression"]
    light: Float[np.ndarray, "9 3"]
    rotation_deg: Float[np.ndarray, "3"]
    translation: Float[np.ndarray, "3"]
    focal_px: float
    crop_from_image: Float[np.ndarray, "2 3"]
    crop_px: int
    landmarks468_px: Float[np.ndarray, "468 k"]
    albedo: Float[np.ndarray, " albedo"] | None = None

    @classmethod
    def of(cls, faces: dict[str, np.ndarray], index: int, crop_px: int | None = None) -> FittedFace:
        """Face `index` of a batch's face columns; `crop_px` is the crop's size where the column `crop` is gone."""
        crop_px = crop_px or int(faces["crop"].shape[1])
        names = ("identity", "expression", "light", "rotation_deg", "translation", "crop_from_image", "landmarks468_px", "albedo")
        parts: dict[str, Any] = {name: np.asarray(faces[name][index]) for name in names}
        return cls(**parts, focal_px=float(faces["focal_px"][index]), crop_px=crop_px)


@dataclass(frozen=True)
class WearStyle:
    """How a mask is worn. None leaves a property to the seed.

    `height` moves the upper edge: 0 = on the bridge of the nose, 1 = just under the nose, 2 = on the chin, below 0 =
    towards the eyes. `tilt_deg` turns the mask in the face's plane; `size` scales it; `gap_mm` is the air between cloth and skin; `wrinkles` and
    `shadow` scale folds and the shadow on the skin.
    """

    height: float | None = None
    tilt_deg: float | None = None
    size: float | None = None
    gap_mm: float | None = None
    wrinkles: float | None = None
    shadow: float = 1.0
    straps: bool = True


@dataclass(frozen=True)
class Worn:
    """A mask on a face: the layer to `lay` on the photo, and the share of the projected face (hull of the 468 landmarks) it
    covers; `height` is the upper edge's (see `WearStyle`)."""

    layer: Layer
    coverage: float
    height: float


_EDGE_PX = 0.35
"""Blur that averaging samples has already given to edges."""


class MaskWearer:
    """Puts masks of every type on fitted faces of one base; the same seed gives the same pixels."""

    def __init__(self, basis: FaceBasis | str = "open_face"):
        self.basis = load_basis(basis) if isinstance(basis, str) else basis
        self.maker = HeadMaker(self.basis)

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        face: FittedFace,
        outfit: Outfit,
        seed: int,
        coverage: float | None = None,
        style: WearStyle = WearStyle(),
    ) -> Worn:
        """The mask as a layer of the whole picture.

        `coverage` is a target share of the face, reached by moving the upper edge and, beyond that, by size;
        `Worn.coverage` says what was reached. A face that was not fitted (NaN) or that
        lies outside the picture gives an empty layer.
        Errors: ValueError for an outfit whose type is no mask.
        """
        if outfit.type not in MASK_TYPES:
            raise ValueError(f"outfit type {outfit.type!r} is no mask: choose one of {', '.join(MASK_TYPES)}")
        if not _is_fitted(face):
            height, width = image.shape[:2]
            blank = np.zeros((height, width), np.float32)
            return Worn(Layer(np.zeros((height, width, 3), np.float32), blank, blank + 1), 0.0, 0.0)
        rng = np.random.default_rng([seed, 0])
        head = self.maker(np.concatenate((face.identity, face.expression)))
        view = View.of(
            head, face.rotation_deg, np.asarray(face.translation) * self.maker.unit_mm, face.focal_px, face.crop_px,
            face.crop_from_image, np.asarray(face.landmarks468_px)[:, :2],
        )  # fmt: skip
        cut = _cut_of(outfit.type, rng)
        placement, wrinkles = _placement(style, cut, rng)
        if coverage is not None:
            placement = self._covering(face, head, view, cut, placement, coverage)
        shell = lay_shell(head, CUTS[cut], placement)
        parts = _parts(head, shell, outfit, cut, style.straps, rng)
        layer = self._draw(image, face, view, head, shell, parts, outfit, cut, seed, wrinkles, style)
        return Worn(layer, covered_share(layer.alpha, face.landmarks468_px), placement.height)

    def _covering(self, face: FittedFace, head: Head, view: View, cut: str, placement: Placement, target: float) -> Placement:
        """The placement whose shell covers that share of the face, as near as there is one."""

        def share(step: float) -> float:
            return self._rough_share(face, head, view, lay_shell(head, CUTS[cut], _moved(placement, step)))

        most, least = share(_STEPS[0]), share(_STEPS[1])
        if not least < target < most:
            return _moved(placement, _STEPS[0] if target >= most else _STEPS[1])
        return _moved(placement, _solve(share, *_STEPS, most, least, target))

    def _rough_share(self, face: FittedFace, head: Head, view: View, shell: Shell) -> float:
        """Share of the face that the shell covers, from a small picture."""
        landmarks = np.asarray(face.landmarks468_px)[:, :2]
        low, high = np.nanmin(landmarks, 0), np.nanmax(landmarks, 0)
        scale = 160 / max(float((high - low).max()), 1e-3)
        width, height = (max(int(value), 1) for value in np.ceil((high - low) * scale))
        scene = assemble(head, view, shell, [])
        index, _ = scene.rasterize((float(low[0]), float(low[1])), scale, height, width)
        inside = hull((landmarks - low) * scale, height, width)
        return float((index[inside] >= len(head.triangles)).mean()) if inside.any() else 0.0

    def _draw(
        self, image: np.ndarray, face: FittedFace, view: View, head: Head, shell: Shell, parts: list[Part],
        outfit: Outfit, cut: str, seed: int, wrinkles: float, style: WearStyle,
    ) -> Layer:  # fmt: skip
        height, width = image.shape[:2]
        colour, alpha = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
        shade = np.ones((height, width), np.float32)
        scene = assemble(head, view, shell, parts)
        margin = 14 * view.px_per_mm + 4
        seen = scene.placed[scene.head :, :2]
        if not np.isfinite(scene.placed).all():
            return Layer(colour, alpha, shade)
        x0, y0 = (max(int(value), 0) for value in np.floor(np.maximum(seen.min(0) - margin, 0)))
        x1, y1 = (int(value) for value in np.ceil(np.minimum(seen.max(0) + margin, (width, height))))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return Layer(colour, alpha, shade)
        window = np.s_[y0:y1, x0:x1]
        extent = max(x1 - x0, y1 - y0)
        samples = 3 if extent < 160 else 2 if extent < 720 else 1
        index, weights = scene.rasterize((float(x0), float(y0)), float(samples), (y1 - y0) * samples, (x1 - x0) * samples)
        texels = int(np.clip(1.4 * np.ptp(seen[: scene.cloth, 0]), 96, 960))
        flat = Flat.of(shell, max(texels * 3 // 4, 64), texels)
        fabric = weave(cut, outfit, flat, seed, wrinkles)
        photo = np.ascontiguousarray(image[window])
        landmarks = np.asarray(face.landmarks468_px)[:, :2] - (x0, y0)
        behind = 1 - cv2.erode(
            hull(landmarks, y1 - y0, x1 - x0).astype(np.float32), np.ones((3, 3), np.uint8), iterations=_rim(view)
        )
        shown = skin_likeness(photo, landmarks), cv2.GaussianBlur(behind, (0, 0), max(view.px_per_mm, 0.5))
        rgb, cover = self._paint(scene, index, weights, fabric, flat, shown, face, samples, seed)
        sharp = _sharpness(image, np.asarray(face.landmarks468_px)[:, :2])
        soften = float(np.sqrt(max(sharp**2 - _EDGE_PX**2, 0.3**2)))
        both = cv2.GaussianBlur(np.dstack((rgb, cover)), (0, 0), soften)
        cover = np.clip(both[..., 3], 0, 1)
        rgb = both[..., :3] / np.maximum(both[..., 3:], 1e-4) * 255
        on_head = cv2.resize((index >= 0).astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        spreads = grain_std(photo, (on_head > 0.5) & (photo[..., 1] < 250))
        rgb = _as_colourful(rgb, photo) + (0.4 + 0.4 * rgb.mean(-1, keepdims=True) / 255) * grain(cover.shape, spreads, seed)
        skin = np.maximum(on_head, self._neck(head, view, (x0, y0), on_head.shape))
        skin = cv2.GaussianBlur(skin, (0, 0), max(0.8 * view.px_per_mm, 0.5))
        colour[window], alpha[window] = np.clip(rgb, 0, 255), np.where(cover < 1 / 512, 0, cover)
        shade[window] = contact_shadow(cover, skin, np.asarray(face.light), view.px_per_mm, style.shadow)
        return Layer(colour, alpha, shade)

    def _paint(
        self, scene: Assembly, index: np.ndarray, weights: np.ndarray, fabric: Fabric, flat: Flat, shown: tuple[np.ndarray, np.ndarray],
        face: FittedFace, samples: int, seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        rows, columns = fabric.shade.shape
        per_row = np.maximum(np.gradient(flat.y, axis=0), 0.02)
        per_column = np.maximum(np.gradient(flat.x, axis=1), 0.02)
        slopes = [np.clip(np.gradient(fabric.relief_mm, axis=a) / by, -1.2, 1.2) for a, by in ((1, per_column), (0, per_row))]
        maps = np.dstack((fabric.albedo, *slopes, fabric.shade, fabric.gloss)).astype(np.float32)
        rng = np.random.default_rng([seed, 4])
        hair = np.float32(rng.random() < 0.7)
        light = _on_cloth(np.asarray(face.light, np.float32)) * np.float32(np.exp(rng.normal(0, 0.05)))
        out = np.zeros((index.shape[0] // samples, index.shape[1] // samples, 3), np.float32)
        cover = np.zeros(out.shape[:2], np.float32)
        texel = (scene.texel * (columns - 1, rows - 1)).astype(np.float32)
        main = light_direction(light) + (0, 0, 1)
        inside = np.clip(0.5 * fabric.albedo.mean((0, 1)) + 0.45, 0, 1).astype(np.float32)
        paint(
            index, weights, scene.triangles, scene.material, scene.normals, scene.across, scene.down, texel, scene.plain, maps,
            light, (main / np.linalg.norm(main)).astype(np.float32), inside, *shown, hair, samples, out, cover,
        )  # fmt: skip
        return out, cover

    def _neck(self, head: Head, view: View, corner: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
        """A plain neck below the jaw: only shadows fall on it."""
        x, y = head.landmarks[288, 0] * 0.8, head.landmarks[152, 1]
        corners = np.array([(-x, y + 25, -45), (x, y + 25, -45), (x, y - 90, -60), (-x, y - 90, -60)], np.float64)
        outline = view.place(head, corners)[:, :2] - corner - 0.5
        out = np.zeros(shape, np.float32)
        cv2.fillConvexPoly(out, np.round(outline * 16).astype(np.int32), 1.0, cv2.LINE_AA, 4)
        return out


def _rim(view: View) -> int:
    """Pixels along the face's outline where background may show, because outline and fit differ."""
    return max(round(3 * view.px_per_mm), 1)


def _is_fitted(face: FittedFace) -> bool:
    numbers = (
        face.identity,
        face.expression,
        face.light,
        face.rotation_deg,
        face.translation,
        face.focal_px,
        face.crop_from_image,
    )
    return all(np.isfinite(n).all() for n in numbers) and bool(np.isfinite(face.landmarks468_px[:, :2]).all(1).any())


def _sharpness(image: np.ndarray, landmarks_px: np.ndarray) -> float:
    """The photo's own blur at the face, eyes and brows included, px."""
    height, width = image.shape[:2]
    low, high = np.nanmin(landmarks_px, 0), np.nanmax(landmarks_px, 0)
    x0, y0 = (int(value) for value in np.clip(low, 0, (width - 1, height - 1)))
    x1, y1 = (int(value) for value in np.clip(np.ceil(high), 1, (width, height)))
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    if min(part.shape[:2]) < 8:
        part = image
    return sharpness_px(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32))


def _on_cloth(light: np.ndarray) -> np.ndarray:
    """Light with less colour: part of what the fit calls coloured light is the colour of this person's skin."""
    tint = np.maximum(light[0], 1e-3)
    return light * (tint.mean() / tint) ** np.float32(0.55)


def _as_colourful(rgb: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Paint as grey as a black-and-white photo."""
    chroma = float(np.ptp(photo[::4, ::4].astype(np.float32), axis=-1).mean())
    grey = (rgb @ np.array((0.299, 0.587, 0.114), np.float32))[..., None]
    return grey + min(chroma / 6, 1.0) * (rgb - grey)


_STEPS = (-2.0, 3.0)


def _moved(placement: Placement, step: float) -> Placement:
    """One way from a mask up to the eyes to a small one on the chin: as worn between -0.3 and 2, larger before, smaller after."""
    larger, smaller = max(-0.3 - step, 0) / 1.7, max(step - 2, 0)
    height = float(np.clip(step, -0.3, 2.0)) - 0.7 * larger
    return replace(placement, height=height, size=placement.size * (1 + 0.35 * larger) * (1 - 0.45 * smaller))


def _solve(share: Callable[[float], float], a: float, b: float, at_a: float, at_b: float, target: float) -> float:
    """Where a monotone function reaches a target between a and b (Illinois' variant of false position)."""
    fa, fb, x = at_a - target, at_b - target, a
    for _ in range(10):
        x = (a * fb - b * fa) / (fb - fa)
        fx = share(x) - target
        if abs(fx) < 0.006:
            break
        if fx * fb < 0:
            a, fa = b, fb
        else:
            fa *= 0.5
        b, fb = x, fx
    return x


def _cut_of(kind: str, rng: np.random.Generator) -> str:
    if kind == "cloth":
        return "cloth_fitted" if rng.random() < 0.7 else "cloth_pleated"
    return "surgical" if kind.startswith("surgical") else kind


def _placement(style: WearStyle, cut: str, rng: np.random.Generator) -> tuple[Placement, float]:
    """What the style leaves open, drawn; and how strong the wrinkles are."""
    height, tilt, size, gap = rng.normal(0.0, 0.16), rng.normal(0, 1.6), rng.normal(1.0, 0.02), rng.normal(0, 0.8)
    wrinkles, narrow, jitter = rng.uniform(0.5, 1.4), rng.uniform(-3, 13), rng.normal(0, 1.3, (18, 2))
    drawn = (
        float(np.clip(height, -0.4, 0.45)) if style.height is None else style.height,
        float(np.clip(tilt, -4, 4)) if style.tilt_deg is None else style.tilt_deg,
        float(np.clip(size, 0.95, 1.05)) if style.size is None else style.size,
        float(np.clip(gap, -1.5, 2.5)) if style.gap_mm is None else style.gap_mm,
    )
    placement = Placement(*drawn, narrow_mm=float(narrow) * CUTS[cut].loose, jitter_mm=jitter)
    return placement, float(wrinkles) if style.wrinkles is None else style.wrinkles


def _parts(head: Head, shell: Shell, outfit: Outfit, cut: str, with_straps: bool, rng: np.random.Generator) -> list[Part]:
    """Straps and filters of a type."""
    white, black = (0.93, 0.93, 0.92), (0.13, 0.13, 0.14)
    parts = straps.filters(shell, rng) if cut == "gas" else []
    if not with_straps:
        return parts
    if cut in ("n95", "gas"):
        yellow = ((0.93, 0.80, 0.40), white, (0.25, 0.35, 0.62))[int(rng.integers(3))]
        return parts + straps.head_straps(head, shell, black if cut == "gas" else yellow, 9.0 if cut == "gas" else 6.0, rng)
    dark = outfit.type == "cloth" and rng.random() < 0.7
    width = rng.uniform(5, 9) if cut == "cloth_fitted" else rng.uniform(2.2, 3.2)
    return parts + straps.ear_loops(head, shell, black if dark else white, width, rng)
