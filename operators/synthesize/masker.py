"""Operator: puts masks and other occluders on the faces of a batch, and makes a training sample of every picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from operators.batch import Batch
from operators.synthesize.base import Layer, Outfit
from operators.synthesize.coverage import check_range
from operators.synthesize.samples import SampleFormat
from operators.types import OperatorConfig, OperatorInfo, option

EVERYDAY = (
    "surgical_blue*30", "surgical_white*12", "surgical_green*4", "surgical-#2b2b2e*8",
    "cloth-#1d1d20*12", "cloth-#6c7078*4", "cloth-#27365e*4", "cloth-#7c2632*2", "cloth-floral*3", "cloth-dots*2",
    "cloth-plaid*2", "kn95*9", "n95*5", "kn95-#232326*3",
)  # fmt: skip
"""Shares of what people wear in the street: mostly surgical, some plain or printed cloth, some respirators."""


@dataclass(frozen=True)
class FaceMaskerConfig(OperatorConfig):
    """What every way of putting things on faces has."""

    outfits: tuple[str, ...] = option(
        EVERYDAY, "TYPE[-#rrggbb|-TEXTURE][*SHARE], comma separated: what is put on, and how often; also hand, scarf, …, none"
    )
    faces: Literal["all", "largest", "most_confident"] = option("all", "which faces of a picture get something")
    face_share: float = option(1.0, "share of those faces that get something; the others stay as they are")
    coverage: tuple[float, float] | None = option(
        None,
        "share of the face (hull of its landmarks) to cover, as LOW,HIGH; none = as it falls; mask_coverage says what came out",
    )
    texture_weight: float = option(0.5, "how strongly a texture shows over the mask's own look, 0 to 1")
    colour_weight: float = option(0.5, "how strongly a colour shows over the mask's own look, 0 to 1")
    shadow: float = option(1.0, "strength of the shadows that things throw on the face; 0 = none")
    seed: int = option(0, "another seed puts other things on the same faces")
    format: SampleFormat = option(
        "png",
        "png and webp (lossless) keep masked picture and truth equal outside the hole; in jpeg, which is smaller, they differ",
    )
    quality: int = option(95, "quality of jpeg, 1 to 100")

    def __post_init__(self) -> None:
        check_range(self.coverage)
        if not 0 <= self.face_share <= 1:
            raise ValueError(f"face_share: expected a share between 0 and 1, got {self.face_share}")


@dataclass(frozen=True)
class WornMaskerConfig(FaceMaskerConfig):
    """Masks that lie on the fitted 3D face, lit by the photo's light."""

    kind: Literal["worn"] = "worn"
    basis: str = option("open_face", "face basis that the coefficients belong to")


@dataclass(frozen=True)
class TemplateMaskerConfig(FaceMaskerConfig):
    """Masks from pictures, warped onto six points of the face."""

    kind: Literal["template"] = "template"
    templates: str = option("", "folder of MaskTheFace templates; empty = our own drawings")


@dataclass(frozen=True)
class Subject:
    """One face of one picture: all its columns by name."""

    columns: dict[str, Any] = field(default_factory=dict)
    crop_px: int = 256

    @property
    def mesh(self) -> np.ndarray:
        """(468, 3) landmarks in picture pixels."""
        return self.columns["landmarks468_px"]


class Dresser(Protocol):
    """Puts a mask of one of `MASK_TYPES` on one face; `wanted` is a share of the face to cover."""

    def __call__(self, image: np.ndarray, face: Subject, outfit: Outfit, seed: int, wanted: float | None) -> Layer: ...


class FaceMasker:
    """Puts something on the chosen live faces of every live row, the nearest face last, and fills `sample_bytes`.

    A row with nobody to mask keeps its status and gets no sample. Everything random about a face comes from
    `row_seed(image_id, face_index, operator, config.seed)`: the same face gets the same thing however it is written, and in
    whatever company. `mask_coverage` is measured, not asked for.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FaceMasker",
        version="1",
        reads=(
            "image_bytes", "landmarks468_px", "landmarks68_px", "box_xyxy_px", "detection_score",
            "identity", "expression", "albedo", "light", "rotation_deg", "translation", "focal_px", "crop_from_image", "crop",
        ),
        writes=(
            "mask_type", "mask_colour", "mask_texture", "mask_seed", "mask_points_px", "mask_angle_deg", "mask_coverage",
            "hole_fraction", "sample_bytes",
        ),
    )  # fmt: skip

    def __init__(self, config: FaceMaskerConfig = WornMaskerConfig(), assets: Any = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        raise NotImplementedError
