"""What a sample's own JSON says of its picture: as synthesis writes it, or any other with some of the same fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.names import printable


@dataclass(frozen=True)
class FaceFit:
    """Coefficients and pose of one face; None where not known. The rotation is in the frame of the crop, if there is one."""

    identity: np.ndarray | None = None
    expression: np.ndarray | None = None
    rotation_deg: np.ndarray | None = None
    crop_from_image: np.ndarray | None = None
    landmarks68_px: np.ndarray | None = None
    basis: str = ""

    @staticmethod
    def of(values: Mapping[str, Any]) -> FaceFit:
        """From a face of a manifest or of a sample's JSON."""
        return FaceFit(
            numbers(values.get("identity"), (-1,)),
            numbers(values.get("expression"), (-1,)),
            numbers(values.get("rotation_deg"), (3,)),
            numbers(values.get("crop_from_image"), (2, 3)),
            numbers(values.get("landmarks68_px"), (68, 2)),
            str(values.get("basis") or ""),
        )


@dataclass(frozen=True)
class Told:
    """`facts` are fields of a row; `face` is the first face without the mask, None when nothing is said of one."""

    facts: dict[str, Any] = field(default_factory=dict)
    face: FaceFit | None = None


def read_told(text: str | None) -> Told:
    """Group, mask, coverage and pose: at the top, or of the first face, or in the JSON that the sample was made from."""
    try:
        meta = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return Told()
    if not isinstance(meta, dict):
        return Told()
    faces, before = meta.get("faces"), meta.get("meta")
    first = faces[0] if isinstance(faces, list) and faces and isinstance(faces[0], dict) else {}
    before = before if isinstance(before, dict) else {}
    drawn = found if isinstance(found := before.get("drawn"), dict) else {}
    either = {**before, "mask_type": first.get("type"), **first, **meta, **drawn}
    facts: dict[str, Any] = {name: printable(str(either[name])) for name in ("group", "mask_type", "subject") if either.get(name)}
    for name, sources in {"coverage": ("coverage", "mask_coverage"), "yaw_deg": ("yaw_deg",)}.items():
        found = [numbers([value], (1,)) for source in sources if isinstance(value := either.get(source), int | float)]
        if found and found[0] is not None:
            facts[name] = float(found[0][0])
    face = FaceFit.of(either)
    if face.rotation_deg is not None:
        facts.setdefault("yaw_deg", float(face.rotation_deg[1]))
    return Told(facts, face)


def numbers(values: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Finite numbers of that shape (-1 = any length but none); None for anything else."""
    if values is None:
        return None
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    fits = found.ndim == len(shape) and all(want in (-1, got) for want, got in zip(shape, found.shape, strict=True))
    return found if fits and found.size and np.isfinite(found).all() else None
