"""Operator: puts masks and other occluders on the faces of a batch, and makes a training sample of every picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from operators.batch import Batch
from operators.images import icc_profile
from operators.synthesize.base import MASK_TYPES, NOTHING, Masked, Outfit, lay
from operators.synthesize.coverage import OPAQUE, check_range, coverage_of, face_region
from operators.synthesize.dressers import Dresser, Subject, TemplateDresser, WornDresser, dress, window_of
from operators.synthesize.occluders import check_occluder
from operators.synthesize.outfits import (
    COLOUR_WEIGHT,
    TEXTURE_WEIGHT,
    TYPES,
    OutfitShare,
    choose,
    colour_text,
    is_file_name,
    parse_outfits,
)
from operators.synthesize.prints import PRINTS
from operators.synthesize.samples import SampleFormat, sample_files
from operators.synthesize.six_points import SixPoints, six_points
from operators.synthesize.templates import template_set
from operators.types import OperatorConfig, OperatorInfo, option, row_seed

EVERYDAY = (
    "surgical-#a9cfe3*20", "surgical-#8fbbd6*9", "surgical_blue*5", "surgical_white*13", "surgical_green*3", "surgical-#2b2b2e*9",
    "cloth-#1d1d20*11", "cloth-#6c7078*4", "cloth-#27365e*3", "cloth-#7c2632*2", "cloth-flowers*2", "cloth-dots*2",
    "cloth-plaid*2", "kn95*8", "n95*4", "kn95-#232326*3",
)  # fmt: skip
"""Shares of what people wear in the street: mostly surgical, some plain or printed cloth, some respirators."""


@dataclass(frozen=True)
class FaceMaskerConfig(OperatorConfig):
    """What every way of putting things on faces has."""

    outfits: tuple[str, ...] = option(
        EVERYDAY,
        "TYPE[-#rrggbb][-TEXTURE][*SHARE], comma separated: what is put on, and how often; TYPE is one of "
        f"{', '.join(TYPES)}; inpaint leaves a hole without a mask; TEXTURE is one of {', '.join(PRINTS)}, or a picture file",
    )
    faces: Literal["all", "largest", "most_confident"] = option("all", "which faces of a picture get something")
    face_share: float = option(1.0, "share of those faces that get something; the others stay as they are")
    coverage: tuple[float, float] | None = option(
        None,
        "share of the face (hull of its landmarks) to cover, as LOW,HIGH; none = as it falls; mask_coverage says what came out",
    )
    texture_weight: float = option(TEXTURE_WEIGHT, "how strongly a texture shows over the mask's own look, 0 to 1")
    colour_weight: float = option(COLOUR_WEIGHT, "how strongly a colour shows over the mask's own look, 0 to 1")
    shadow: float = option(1.0, "strength of the shadows that things throw on the face; 0 = none")
    seed: int = option(0, "another seed puts other things on the same faces")
    format: SampleFormat = option(
        "png",
        "png and webp (lossless) keep masked picture and truth equal outside the hole; in jpeg, which is smaller, they differ",
    )
    quality: int = option(95, "quality of jpeg, 1 to 100")

    def __post_init__(self) -> None:
        check_range(self.coverage)
        for name in ("face_share", "texture_weight", "colour_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share between 0 and 1, got {getattr(self, name)}")
        if not self.shadow >= 0:
            raise ValueError(f"shadow: expected a number of at least 0, got {self.shadow}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality: expected 1 to 100, got {self.quality}")
        for item in self.shares:
            check_occluder(item.outfit)

    @property
    def shares(self) -> tuple[OutfitShare, ...]:
        """The outfits as they are drawn from. Errors: `OutfitError`."""
        return parse_outfits(self.outfits, self.colour_weight, self.texture_weight)

    @property
    def files(self) -> dict[str, dict[str, Path]]:
        """Field -> name -> file whose content decides the result; pictures that outfits name as their texture."""
        textures = {item.outfit.texture for item in self.shares if item.share > 0} - {None}
        named = sorted(str(texture) for texture in textures if is_file_name(str(texture)))
        return {"outfits": {name: Path(name) for name in named}} if named else {}


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
    blend: Literal["alpha", "official"] = option(
        "alpha", "alpha = soft edge, the photo's light, shadow; official = as MaskTheFace composes, to the grey level"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blend == "official" and self.coverage is not None:
            raise ValueError("coverage: MaskTheFace knows no target, use blend alpha")

    @property
    def files(self) -> dict[str, dict[str, Path]]:
        """Textures and the template folder's files. Errors: `TemplateError`, ValueError for a type without a template."""
        templates = template_set(self.templates)
        for item in self.shares:
            if item.outfit.type in MASK_TYPES and item.share > 0 and item.outfit.type not in templates:
                raise ValueError(f"no template for {item.outfit.type!r}, only for {', '.join(templates.types)}")
        return super().files | {"templates": templates.files}


@dataclass(frozen=True)
class PutOn:
    """What one face got. `type` is `none` when it got nothing."""

    outfit: Outfit
    seed: int
    points: SixPoints

    @property
    def nothing(self) -> bool:
        """Whether the face stays as it is."""
        return self.outfit.type == NOTHING


class FaceMasker:
    """Puts something on the chosen live faces of every live row, the nearest face last, and fills `sample_bytes`.

    A row with nobody to mask keeps its status and gets no sample. Everything random about a face comes from
    `row_seed(image_id, face_index, operator, config.seed)`: the same face gets the same thing however it is written, and in
    whatever company. `mask_coverage` is measured, not asked for. An outfit `none` leaves the face alone; `inpaint` leaves a
    hole in the shape of a mask, its surroundings spread into it.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FaceMasker",
        version="1",
        reads=(
            "image_bytes", "landmarks468_px", "landmarks68_px", "box_xyxy_px",
            "identity", "expression", "albedo", "light", "rotation_deg", "translation", "focal_px", "crop_from_image", "crop",
        ),
        writes=(
            "mask_type", "mask_colour", "mask_texture", "mask_seed", "mask_points_px", "mask_angle_deg", "mask_coverage",
            "hole_fraction", "sample_bytes",
        ),
    )  # fmt: skip

    def __init__(self, config: FaceMaskerConfig = WornMaskerConfig(), assets: Any = None, device: str = "cpu"):
        self.config = config
        self.outfits = config.shares
        self.dresser: Dresser = (
            TemplateDresser(config.templates, config.blend)
            if isinstance(config, TemplateMaskerConfig)
            else WornDresser(getattr(config, "basis", "open_face"))
        )

    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        samples = list(batch.rows["sample_bytes"])
        things: dict[int, PutOn] = {}
        coverage = np.full(batch.n_faces, np.nan, np.float32)
        rows = np.unique(batch.face_row[live])
        holes = np.zeros(len(rows), np.float32)
        for k, i in enumerate(rows.tolist()):
            mine = live[batch.face_row[live] == i]
            chosen = self._choose(batch, i, mine)
            masked = self._mask(batch, i, chosen)
            for j in chosen:
                coverage[j] = coverage_of(masked.alpha, batch.faces["landmarks468_px"][j])
            holes[k] = masked.hole.mean()
            about = self._about(batch, i, chosen, coverage, masked)
            data = batch.rows["image_bytes"][i]
            samples[i] = sample_files(batch.frame(i), masked, about, self.config.format, self.config.quality, icc_profile(data))
            things |= chosen
        batch.rows["sample_bytes"] = samples
        batch.put_row("hole_fraction", holes, rows)
        if batch.n_faces:
            self._put(batch, things, coverage)
        return batch

    def _choose(self, batch: Batch, i: int, faces: np.ndarray) -> dict[int, PutOn]:
        """What every live face of a row gets: decided by its own seed, and by its place among the faces of its picture."""
        areas = {int(j): _area(batch.faces["box_xyxy_px"][j]) for j in faces}
        kept = {"largest": [max(areas, key=lambda j: areas[j])], "most_confident": [int(faces[0])]}.get(self.config.faces, areas)
        chosen = {}
        for j in areas:
            seed = row_seed(batch.rows["image_id"][i], int(batch.faces["face_index"][j]), self.info, self.config.seed)
            rng = np.random.default_rng([seed, 1])  # not the stream that draws the thing itself
            lucky = rng.random() < self.config.face_share
            known = bool(np.isfinite(batch.faces["landmarks468_px"][j]).all())
            wanted = known and lucky and j in kept
            outfit = choose(self.outfits, int(rng.integers(2**63))) if wanted else Outfit(NOTHING)
            chosen[j] = PutOn(outfit, seed, six_points(batch.faces["landmarks68_px"][j].astype(np.float64)))
        return chosen

    def _mask(self, batch: Batch, i: int, chosen: dict[int, PutOn]) -> Masked:
        """All of a row's things laid on its picture, farthest (smallest) face first."""
        image = batch.frame(i).copy()
        hole, alpha = np.zeros(image.shape[:2], bool), np.zeros(image.shape[:2], np.float32)
        crop_px = batch.faces["crop"].shape[1] if "crop" in batch.faces else 256
        for j in sorted(chosen, key=lambda j: (_area(batch.faces["box_xyxy_px"][j]), -j)):
            thing = chosen[j]
            face = Subject({name: batch.faces[name][j] for name in _SUBJECT if name in batch.faces}, crop_px)
            if thing.nothing:
                continue
            place = window_of(face.mesh, (image.shape[0], image.shape[1]), thing.outfit.type)
            there = face.moved(place[1].start, place[0].start)
            window = np.ascontiguousarray(image[place])
            layer = dress(self.dresser, window, there, thing.outfit, thing.seed, self.config.coverage, self.config.shadow)
            laid = lay(window, layer)
            image[place] = laid.image
            hole[place] |= laid.hole
            alpha[place] = laid.alpha + alpha[place] * (1 - laid.alpha)
        return Masked(image, hole, alpha)

    def _put(self, batch: Batch, things: dict[int, PutOn], coverage: np.ndarray) -> None:
        """The face columns; faces that got nothing keep them blank."""
        worn = {j: thing for j, thing in things.items() if not thing.nothing}
        index = np.array(sorted(things), np.int64)
        batch.put("mask_type", [worn[j].outfit.type if j in worn else "" for j in range(batch.n_faces)])
        batch.put("mask_colour", [colour_text(worn[j].outfit) if j in worn else "" for j in range(batch.n_faces)])
        batch.put("mask_texture", [worn[j].outfit.texture or "" if j in worn else "" for j in range(batch.n_faces)])
        batch.put("mask_seed", [things[j].seed for j in index.tolist()], index)
        batch.put("mask_points_px", np.array([things[j].points.points_px for j in index.tolist()]).reshape(-1, 6, 2), index)
        batch.put("mask_angle_deg", [things[j].points.angle_deg for j in index.tolist()], index)
        batch.put("mask_coverage", coverage)

    def _about(self, batch: Batch, i: int, chosen: dict[int, PutOn], coverage: np.ndarray, masked: Masked) -> dict[str, Any]:
        """The sample's JSON: what every face of the row got, and what is known about it."""
        rows, shape = batch.rows, (masked.alpha.shape[0], masked.alpha.shape[1])
        faces, region = [], np.zeros(shape, bool)
        for j in np.flatnonzero(batch.face_row == i).tolist():
            column = {name: batch.faces[name][j] for name in _TOLD if name in batch.faces}
            thing = chosen.get(j)
            if thing is not None:
                region |= face_region(batch.faces["landmarks468_px"][j], shape)
                column |= {
                    "type": thing.outfit.type,
                    "colour": colour_text(thing.outfit),
                    "texture": thing.outfit.texture or "",
                    "seed": thing.seed,
                    "points_px": thing.points.points_px,
                    "angle_deg": thing.points.angle_deg,
                    "coverage": coverage[j],
                }
            faces.append(column)
        return {
            "image_id": rows["image_id"][i],
            "subject": rows["subject"][i],
            "group": rows["group"][i],
            "width_px": shape[1],
            "height_px": shape[0],
            "kind": getattr(self.config, "kind", ""),
            "run_seed": self.config.seed,
            "coverage": float((masked.alpha[region] >= OPAQUE).mean()) if region.any() else None,
            "hole_fraction": float(masked.hole.mean()),
            "faces": faces,
            "meta": _parsed(rows["meta_json"][i]),
        }


_SUBJECT = (
    "landmarks468_px", "landmarks68_px", "identity", "expression", "albedo", "light", "rotation_deg", "translation",
    "focal_px", "crop_from_image",
)  # fmt: skip
_DEEPEST = 100
"""Levels of nesting of the input's JSON that are taken over as they are."""
_TOLD = (
    "face_index", "face_status", "face_message", "box_xyxy_px", "landmarks468_px", "landmarks68_px", "crop_from_image",
    "rotation_deg", "identity", "expression",
)  # fmt: skip


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _parsed(text: str) -> Any:
    """The input's own JSON as an object, as text when it is none or nested too deep, None when there is nothing."""
    try:
        value = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text
    return value if _is_shallow(value, _DEEPEST) else text


def _is_shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
