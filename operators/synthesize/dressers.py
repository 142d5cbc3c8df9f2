"""Who puts what on a face: masks by the configured system, other occluders by name, each in a window of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from operators.synthesize.base import HOLE_ONLY, OCCLUDER_TYPES, Layer, Outfit
from operators.synthesize.occluders import occluder_layer

Target = tuple[float, float] | None
_GREY = 128.0
# Room around the landmarks' box that a thing may need, in face heights: left and right, above, below.
_ROOM = {"hand": None, "scarf": (2.0, 1.0, 3.0)}
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
    if room is None:
        return slice(0, shape[0]), slice(0, shape[1])
    low, high = mesh_px[:, :2].min(0), mesh_px[:, :2].max(0)
    side = float((high - low).max())
    x0, y0 = np.floor(low - side * np.array([room[0], room[1]]))
    x1, y1 = np.ceil(high + side * np.array([room[0], room[2]]))
    left, top = int(np.clip(x0, 0, shape[1] - 1)), int(np.clip(y0, 0, shape[0] - 1))
    return slice(top, int(np.clip(y1, top + 1, shape[0]))), slice(left, int(np.clip(x1, left + 1, shape[1])))


def dress(
    dresser: Dresser, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, coverage: Target, shadow: float
) -> Layer:
    """The layer of any outfit but `none`, in the pixels of `image`."""
    if outfit.type in OCCLUDER_TYPES:
        layer = occluder_layer(image, face.mesh, outfit, seed, coverage)
        if layer.light is not None:
            layer = replace(layer, light=(1 - shadow * (1 - layer.light)).astype(np.float32))
    elif outfit.type == HOLE_ONLY:
        mask = dresser(image, face, Outfit("surgical_blue"), seed, coverage, 0.0)
        solid = (mask.alpha > 0).astype(np.float32)
        layer = Layer(np.full(mask.colour.shape, _GREY, np.float32), solid)
    else:
        layer = dresser(image, face, outfit, seed, coverage, shadow)
    return layer


class WornDresser:
    """Masks on the fitted 3D face (`operators.synthesize.worn`)."""

    def __init__(self, basis: str):
        from operators.synthesize.worn import MaskWearer

        self.wear = MaskWearer(basis)

    def __call__(self, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, coverage: Target, shadow: float) -> Layer:
        from operators.synthesize.worn import FittedFace, WearStyle

        columns = {name: np.asarray(value)[None] for name, value in face.columns.items()}
        wanted = None if coverage is None else float(np.random.default_rng([seed, 2]).uniform(*coverage))
        fitted = FittedFace.of(columns, 0, face.crop_px)
        return self.wear(image, fitted, outfit, seed, wanted, WearStyle(shadow=shadow)).layer


class TemplateDresser:
    """Masks from pictures (`operators.synthesize.templates`); a coverage is aimed for by sliding the mask along the face."""

    def __init__(self, templates: str):
        raise NotImplementedError("template masks")

    def __call__(self, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, coverage: Target, shadow: float) -> Layer:
        raise NotImplementedError("template masks")
