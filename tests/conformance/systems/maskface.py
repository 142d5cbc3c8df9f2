"""MaskTheFace: six points, angle, and the composites where the official templates are at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from operators.synthesize.base import Outfit
from operators.synthesize.six_points import six_points
from operators.synthesize.template_masks import masked_by_template
from operators.synthesize.templates import TemplateSet
from tests.conformance.fixture import Fixture

INPUTS = ("img_bgr_u8", "landmarks")
# OpenCV 5, which made the official pictures, ends its homography a little short of the least-squares solution: steep edges of
# turned faces show it.
LIMITS = {"case*_stats": {"limit": 1e-3}, "*": {"levels": 2, "stray": 1e-4}}  # statistics are of those 8-bit pictures
VARIABLE = "UNMASK_MASK_TEMPLATES"


def unavailable(fixture: Fixture) -> tuple[str, tuple[str, ...]]:
    """Why some outputs cannot be computed here, and the beginnings of their names."""
    if templates(fixture) is not None:
        return "", ()
    return f"not compared: set {VARIABLE} to the folder `masks` of MaskTheFace", ("case",)


def templates(fixture: Fixture) -> Path | None:
    """MaskTheFace's folder `masks`: named by the environment, or in a folder `assets` near the fixture."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    near = (found for parent in fixture.folder.resolve().parents[:3] for found in parent.glob("*/assets/*/masks/masks.cfg"))
    return next((found.parent for found in near), None)


def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    landmarks = fixture.expected["landmarks"].astype(np.float64)
    points = [six_points(face) for face in landmarks]
    yield "six_points", np.stack([face.points_px for face in points]).astype(np.float32)
    yield "angle", np.array([face.angle_deg for face in points])
    folder = templates(fixture)
    if folder is None:
        return
    image = np.ascontiguousarray(fixture.expected["img_bgr_u8"][..., ::-1])
    for i, case in enumerate(fixture.spec["cases"]):
        masked = masked_by_template(
            image, landmarks[i] + 0.5, outfit_of(case, folder), TemplateSet(str(folder)), blend="official"
        )
        out, alpha = masked.image[..., ::-1], np.round(masked.alpha * 255).astype(np.uint8)
        yield f"case{i}_out_step2", out
        yield f"case{i}_mask_step2", alpha
        yield f"case{i}_stats", np.array([out.mean(), out.std(), alpha.mean(), (alpha > 0).mean()])


def outfit_of(case: dict[str, object], folder: Path) -> Outfit:
    """A case of the spec in this project's words."""
    kind, colour, pattern, weight = (case[name] for name in ("type", "color", "pattern", "weight"))
    rgb = tuple(int(str(colour)[k : k + 2], 16) for k in (1, 3, 5)) if colour else None
    texture = str(folder.parent / str(pattern)) if pattern else None
    weights = {"texture_weight": float(str(weight))} if texture else {"colour_weight": float(str(weight))}
    return Outfit(str(kind).lower(), rgb, texture=texture, **weights)  # type: ignore[arg-type]
