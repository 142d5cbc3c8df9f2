"""Who puts what on a face: masks by the configured system, other occluders by name, each in a window of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from operators.inpaint.telea import continued
from operators.synthesize.base import HOLE_ONLY, OCCLUDER_TYPES, Layer, Outfit
from operators.synthesize.coverage import OPAQUE, aim, size_for
from operators.synthesize.occluders import occluder_layer
from operators.synthesize.template_masks import masked_by_template, template_layer
from operators.synthesize.templates import TemplateSet, template_set
from operators.synthesize.worn import FittedFace, MaskWearer, WearStyle

Target = tuple[float, float] | None
_TELEA_PX = 3.0
# Room around the landmarks' box that a thing may need, in face heights: left and right, above, below.
_ROOM = {"hand": (3.0, 1.5, 3.5), "scarf": (2.0, 1.0, 3.0)}
_MASK_ROOM = (1.0, 0.8, 0.8)


@dataclass(frozen=True)
class Subject:
    """One face of one picture: its columns, in the pixels of a window of the picture."""

    columns: Mapping[str, Any]
    crop_px: int = 256

    @property
    def mesh(self) -> np.ndarray:
        """(468, 3) landmarks, pixels."""
        return self.columns["landmarks468_px"]

    def moved(self, x0: int, y0: int) -> Subject:
        """The same face in a window whose first pixel is (x0, y0)."""
        columns = dict(self.columns)
        shift = np.array([x0, y0], np.float64)
        for name in ("landmarks468_px", "landmarks68_px"):
            if name in columns:
                points = columns[name].astype(np.float64)
                points[:, :2] -= shift
                columns[name] = points.astype(np.float32)
        if "crop_from_image" in columns:
            matrix = columns["crop_from_image"].astype(np.float64)
            matrix[:, 2] += matrix[:, :2] @ shift
            columns["crop_from_image"] = matrix
        return replace(self, columns=columns)


@runtime_checkable
class Dresser(Protocol):
    """A system that puts masks on faces; `shadow` scales shadows, `coverage` is a range to aim for."""

    def __call__(self, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, coverage: Target, shadow: float) -> Layer: ...


def window_of(mesh_px: np.ndarray, shape: tuple[int, int], kind: str) -> tuple[slice, slice]:
    """Rows and columns of the picture that a thing of that kind on this face may touch; at least one pixel."""
    room = _ROOM.get(kind, _MASK_ROOM)
    low, high = mesh_px[:, :2].min(0), mesh_px[:, :2].max(0)
    side = float((high - low).max())
    x0, y0 = np.floor(low - side * np.array([room[0], room[1]]))
    x1, y1 = np.ceil(high + side * np.array([room[0], room[2]]))
    left, top = int(np.clip(x0, 0, shape[1] - 1)), int(np.clip(y0, 0, shape[0] - 1))
    return slice(top, int(np.clip(y1, top + 1, shape[0]))), slice(left, int(np.clip(x1, left + 1, shape[1])))


def dress(
    dresser: Dresser, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, coverage: Target, shadow: float
) -> Layer:
    """The layer of any outfit but `none`, in the pixels of `image`.

    `inpaint` spreads the surroundings into the outline of a mask (Telea, 3 px, as MaskTheFace does): a hole without a mask.
    """
    if outfit.type in OCCLUDER_TYPES:
        layer = occluder_layer(image, face.mesh, outfit, seed, coverage)
    elif outfit.type == HOLE_ONLY:
        mask = dresser(image, face, Outfit("surgical_blue"), seed, coverage, 0.0)
        solid = mask.alpha >= OPAQUE
        filled = continued(image, solid, "telea", _TELEA_PX)
        return Layer(filled.astype(np.float32), solid.astype(np.float32))
    else:
        return dresser(image, face, outfit, seed, coverage, shadow)
    return _with_shadow(layer, shadow)


def _with_shadow(layer: Layer, strength: float) -> Layer:
    """The layer with shadows of that strength, 1 = as they are."""
    if layer.light is None or strength == 1:
        return layer
    return replace(layer, light=np.clip(1 - strength * (1 - layer.light), 0, None).astype(np.float32))


class WornDresser:
    """Masks on the fitted 3D face (`operators.synthesize.worn`); a coverage is aimed for by how they are worn."""

    def __init__(self, basis: str):
        self.wear = MaskWearer(basis)

    def __call__(self, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, coverage: Target, shadow: float) -> Layer:
        columns = {name: np.asarray(value)[None] for name, value in face.columns.items()}
        if "identity" not in columns:
            raise KeyError("masks of kind worn need the fitted face: run MorphableFitter before, or choose kind template")
        wanted = None if coverage is None else aim(coverage, np.random.default_rng([seed, 2]))
        fitted = FittedFace.of(columns, 0, face.crop_px)
        return self.wear(image, fitted, outfit, seed, wanted, WearStyle(shadow=shadow)).layer


class TemplateDresser:
    """Masks from pictures (`operators.synthesize.template_masks`); a coverage is aimed for by sliding and scaling the mask."""

    def __init__(self, templates: str, blend: Literal["alpha", "official"] = "alpha"):
        self.templates: TemplateSet = template_set(templates)
        self.blend = blend

    def __call__(self, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, coverage: Target, shadow: float) -> Layer:
        points = np.asarray(face.columns["landmarks68_px"], np.float64)
        if self.blend == "official":
            masked = masked_by_template(image, points, outfit, self.templates, seed, "official")
            return Layer(masked.image.astype(np.float32), masked.hole.astype(np.float32))
        down, middle = points[8] - points[27], points[30]

        def hung(size: float) -> np.ndarray:
            # below 0 the mask slides down the face, above it grows
            return (
                points - min(size, 0.0) * down if size < 0 else middle + (1 + 0.7 * size) * (points - middle) - 0.2 * size * down
            )

        def layer(size: float) -> Layer:
            return template_layer(image, hung(size), outfit, self.templates, seed).layer

        size = 0.0
        if coverage is not None:
            wanted = aim(coverage, np.random.default_rng([seed, 2]))
            size = size_for(lambda s: layer(s).alpha, face.mesh, coverage, wanted, (-1.0, 1.0))
        return _with_shadow(layer(size), shadow)
