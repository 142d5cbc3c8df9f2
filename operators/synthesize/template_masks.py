"""Put the picture of a mask on a face, what MaskTheFace does: bent onto six face points, recoloured, lit like the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize import mask_the_face
from operators.synthesize.base import HOLE_ONLY, MASK_TYPES, Layer, Masked, Outfit, lay
from operators.synthesize.six_points import SixPoints, six_points
from operators.synthesize.template_light import Lighting, Sharpness, shadow
from operators.synthesize.template_looks import dressed
from operators.synthesize.templates import Template, TemplateSet, homography

Blend = Literal["alpha", "official"]
_HOLE_TEMPLATE = "surgical_blue"
_TELEA_RADIUS_PX = 3
_TEMPLATE_BLUR_PX = 0.5  # of an edge in a template, in its own pixels
_ROOM_PX = 9  # for the blur of a soft photo
_SHADOW_REACH = 0.15  # of the mask's window, around it


@dataclass(frozen=True)
class TemplateMask:
    """A mask as paint over a photo, the points it hangs on, and the template it was made of.

    `template` is empty, and so is the layer, where the face's points allow no map from the template.
    """

    layer: Layer
    six: SixPoints
    template: str = ""


def template_layer(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks68_px: Float[np.ndarray, "68 2"],
    outfit: Outfit,
    templates: TemplateSet,
    seed: int = 0,
) -> TemplateMask:
    """The mask of an outfit over one face, from its iBUG-68 landmarks in full-image pixels, as a layer to `lay`.

    The layer has a soft edge, the face's own light and a contact shadow. Type `inpaint` gives the surroundings spread into
    the mask's place (Telea, 3 px). The same seed gives the same pixels. No landmarks raise.
    Errors: ValueError for a type that is neither a mask nor `inpaint`, or that the templates lack.
    """
    h, w = image.shape[:2]
    six = six_points(landmarks68_px)
    template = _template(outfit, templates, six.side)
    layer = Layer(np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32))
    to_image = _map(template, six)
    if to_image is None:
        return TemplateMask(layer, six)
    hole_only = outfit.type == HOLE_ONLY
    colour = template.colour.astype(np.float32) if hole_only else dressed(template, outfit, seed)
    paint, window = bent(template, colour, to_image, (h, w))
    alpha = paint[..., 3]
    if not alpha.size or not (alpha > 0).any():
        return TemplateMask(layer, six, template.name)
    if hole_only:
        layer.alpha[window] = alpha >= 0.5
        layer.colour[:] = cv2.inpaint(image, (layer.alpha > 0).astype(np.uint8), _TELEA_RADIUS_PX, cv2.INPAINT_TELEA)
        return TemplateMask(layer, six, template.name)
    light, photo = Lighting.of(image, landmarks68_px), Sharpness.of(image, landmarks68_px)
    paint = photo.soften(paint, _TEMPLATE_BLUR_PX * max(1.0, _scale(to_image, template)))
    alpha = np.clip(paint[..., 3], 0, 1)
    lit = light.on(paint[..., :3] / np.maximum(alpha, 1e-4)[..., None], window)
    layer.alpha[window], layer.colour[window] = alpha, photo.grainy(lit, seed)
    shade = np.ones((h, w), np.float32)
    rows, columns = (_grown(part, size) for part, size in zip(window, (h, w), strict=True))
    shade[rows, columns] = shadow(layer.alpha[rows, columns], landmarks68_px)
    return TemplateMask(Layer(layer.colour, layer.alpha, shade), six, template.name)


def masked_by_template(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks68_px: Float[np.ndarray, "68 2"],
    outfit: Outfit,
    templates: TemplateSet,
    seed: int = 0,
    blend: Blend = "alpha",
) -> Masked:
    """A photo with a mask on one face. `official` computes what MaskTheFace's code does, its flaws included.

    Errors: those of `template_layer`.
    """
    if blend == "alpha":
        return lay(image, template_layer(image, landmarks68_px, outfit, templates, seed).layer)
    six = six_points(landmarks68_px)
    template = _template(outfit, templates, six.side)
    return mask_the_face.composite(image, template, _map(template, six), outfit, seed)


def bent(
    template: Template, colour: Float[np.ndarray, "h w 3"], to_image: Float[np.ndarray, "3 3"], shape: tuple[int, int]
) -> tuple[Float[np.ndarray, "y x 4"], tuple[slice, slice]]:
    """The template seen through a map (pixel centres at whole numbers), and the window of the picture that it falls into.

    RGB premultiplied by alpha 0-1. Shrinking averages instead of skipping.
    """
    h, w = template.alpha.shape
    corners = np.array([[-1, -1, 1], [w, -1, 1], [w, h, 1], [-1, h, 1]], np.float64) @ to_image.T
    corners = corners[:, :2] / corners[:, 2:]
    low = np.clip(np.floor(corners.min(0)) - _ROOM_PX, 0, [shape[1], shape[0]]).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1 + _ROOM_PX, 0, [shape[1], shape[0]]).astype(int)
    window = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
    size = (max(int(high[0] - low[0]), 0), max(int(high[1] - low[1]), 0))
    if 0 in size:
        return np.zeros((0, 0, 4), np.float32), (slice(0, 0), slice(0, 0))
    alpha = template.alpha.astype(np.float32)[..., None] / 255
    paint = np.concatenate([np.asarray(colour, np.float32) * alpha, alpha], -1)
    shrink = min(1.0, 1.2 * float(np.ptp(corners, axis=0).max()) / max(h, w))
    matrix = to_image.copy()
    if shrink < 0.9:
        small = (max(2, round(w * shrink)), max(2, round(h * shrink)))
        paint = cv2.resize(paint, small, interpolation=cv2.INTER_AREA)
        sx, sy = w / small[0], h / small[1]
        matrix = matrix @ np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]])
    matrix = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64) @ matrix
    out = cv2.warpPerspective(paint, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    out[..., 3] = np.clip(out[..., 3], 0, 1)
    return out, window


def _scale(to_image: np.ndarray, template: Template) -> float:
    """Picture pixels per template pixel along the mask's height."""
    ends = np.c_[template.points[[1, 4]], np.ones(2)] @ to_image.T
    ends = ends[:, :2] / ends[:, 2:]
    return float(np.linalg.norm(ends[1] - ends[0]) / max(np.linalg.norm(template.points[4] - template.points[1]), 1.0))


def _map(template: Template, six: SixPoints) -> np.ndarray | None:
    """From the template's pixels to the picture's, both with centres at whole numbers."""
    return homography(template.points, six.points_px - 0.5, (template.alpha.shape[1], template.alpha.shape[0]))


def _template(outfit: Outfit, templates: TemplateSet, side: str) -> Template:
    if outfit.type != HOLE_ONLY and outfit.type not in MASK_TYPES:
        raise ValueError(f"template: expected a type of mask ({', '.join(MASK_TYPES)}) or {HOLE_ONLY}, got {outfit.type!r}")
    return templates.pick(_HOLE_TEMPLATE if outfit.type == HOLE_ONLY else outfit.type, side)


def _grown(part: slice, size: int) -> slice:
    by = round((part.stop - part.start) * _SHADOW_REACH) + 2
    return slice(max(0, part.start - by), min(size, part.stop + by))
