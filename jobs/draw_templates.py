"""Draw the mask templates that ship with the package: masks worn by the mean face, seen from the front and from both sides.

    python -m jobs.draw_templates --output DIR

The same version draws the same pictures. Next to them it writes `masks.cfg` with the six points of each, which are those of
the mean face's own landmarks at that pose.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from operators.faces.ibug68 import ibug68_from_mesh
from operators.morphable import camera
from operators.synthesize.base import Outfit
from operators.synthesize.six_points import six_points
from operators.synthesize.templates import POINTS
from operators.synthesize.worn import FittedFace, MaskWearer, WearStyle

SIDE_YAW_DEG = 18.0
PX_PER_MM = 3.2
_DISTANCE_MM, _SIZE_PX, _MARGIN_PX = 900.0, 960, 3
_LIGHT = {0: 0.72, 1: 0.09, 2: 0.28}  # ambient, from above, from the front: order of `operators.morphable.light`
_VISIBLE = 6
_STEP = 3  # levels of grey: the cloth's own grain hides them, and files are a third smaller
_CREDIT = "drawn by unmask on its open face base; Apache-2.0"


@dataclass(frozen=True)
class Drawing:
    """One template: a section of masks.cfg, and what it shows."""

    section: str
    outfit: Outfit
    seed: int
    wrinkles: float = 0.8


DRAWINGS = (
    Drawing("surgical", Outfit("surgical_white", (242, 243, 243), colour_weight=1.0), 3),
    Drawing("surgical_green", Outfit("surgical_green", (152, 208, 190), colour_weight=1.0), 3),
    Drawing("surgical_blue", Outfit("surgical_blue", (130, 188, 226), colour_weight=1.0), 3),
    Drawing("N95", Outfit("n95", (240, 239, 234), colour_weight=1.0), 3),
    Drawing("KN95", Outfit("kn95", (242, 242, 240), colour_weight=1.0), 6, 0.6),
    Drawing("cloth", Outfit("cloth", (74, 78, 86), colour_weight=1.0), 8, 0.9),
    Drawing("gas", Outfit("gas"), 2, 0.4),
)


@dataclass(frozen=True)
class Picture:
    """A template as it is written: RGBA and the six points a b c f e d, pixel centres at whole numbers."""

    rgba: np.ndarray
    points: np.ndarray


class TemplateArtist:
    """Draws masks on the mean face of the open base, without the face."""

    def __init__(self) -> None:
        self.wearer = MaskWearer("open_face")

    def __call__(self, drawing: Drawing, yaw_deg: float) -> Picture:
        """A mask on a face turned by `yaw_deg`, on transparent ground."""
        face = self._face(yaw_deg)
        style = WearStyle(height=0.0, tilt_deg=0.0, size=1.0, gap_mm=0.0, wrinkles=drawing.wrinkles, shadow=0.0)
        layer = self.wearer(_sharp_ground(), face, drawing.outfit, drawing.seed, style=style).layer
        alpha = np.round(np.clip(layer.alpha, 0, 1) * 255).astype(np.uint8)
        alpha[alpha < _VISIBLE] = 0
        rgba = np.dstack([(layer.colour / _STEP).astype(np.uint8) * _STEP + _STEP // 2, alpha])
        rgba[alpha == 0] = 0
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        top, left = max(rows[0] - _MARGIN_PX, 0), max(columns[0] - _MARGIN_PX, 0)
        landmarks68 = ibug68_from_mesh(face.landmarks468_px[None])[0].astype(np.float64)
        points = six_points(landmarks68).points_px - 0.5 - [left, top]
        return Picture(rgba[top : rows[-1] + 1 + _MARGIN_PX, left : columns[-1] + 1 + _MARGIN_PX], points)

    def _face(self, yaw_deg: float) -> FittedFace:
        basis, unit_mm = self.wearer.basis, self.wearer.maker.unit_mm
        rotation = np.array([0.0, yaw_deg, 0.0], np.float32)
        points = basis.surface_points("468").at(basis.mean)
        translation = np.array([0.0, 0.0, _DISTANCE_MM / unit_mm], np.float32)
        focal = PX_PER_MM * _DISTANCE_MM
        turn = camera.rotation_from_deg(torch.from_numpy(rotation)[None])
        placed = camera.to_camera(
            torch.from_numpy(np.asarray(points, np.float32))[None], turn, torch.from_numpy(translation)[None]
        )
        seen = camera.project(placed, torch.tensor([focal]), _SIZE_PX)[0].numpy()
        light = np.zeros((9, 3), np.float32)
        for band, strength in _LIGHT.items():
            light[band] = strength
        return FittedFace(
            np.zeros(len(basis.identity), np.float32), np.zeros(len(basis.expression), np.float32), light, rotation,
            translation, float(focal), np.eye(2, 3, dtype=np.float32), _SIZE_PX, seen,
        )  # fmt: skip


def _sharp_ground() -> np.ndarray:
    """A picture of skin, as sharp as pixels are and without grain: masks are drawn to match what they are put on."""
    dark = (np.indices((_SIZE_PX, _SIZE_PX)) // 64).sum(0) % 2 == 0
    return np.where(dark[..., None], (188, 152, 134), (210, 170, 150)).astype(np.uint8)


def pictures(say: Callable[[str], None] = lambda text: None) -> Iterator[tuple[str, Picture]]:
    """Every template with the name of its section: front, left (nose to the viewer's left) and right of each type."""
    artist = TemplateArtist()
    for drawing in DRAWINGS:
        say(drawing.section)
        for side, yaw_deg in (("", 0.0), ("_left", -SIDE_YAW_DEG), ("_right", SIDE_YAW_DEG)):
            yield drawing.section + side, artist(drawing, yaw_deg)


def png(picture: Picture) -> bytes:
    """The smallest PNG of a template that keeps every pixel."""
    sink = io.BytesIO()
    Image.fromarray(picture.rgba).save(sink, "PNG", optimize=True)
    return sink.getvalue()


def draw(folder: Path, say: Callable[[str], None] = lambda text: None) -> None:
    """Write all templates and masks.cfg into a folder, which is made if need be."""
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    lines = [f"; {_CREDIT}", "; python -m jobs.draw_templates", ""]
    for name, picture in pictures(say):
        (folder / "templates" / f"{name}.png").write_bytes(png(picture))
        lines += [f"[{name}]", f"template: templates/{name}.png"]
        points = zip(POINTS, picture.points, strict=True)
        lines += [f"mask_{letter}: {x:.2f}, {y:.2f}" for letter, (x, y) in sorted(points, key=lambda item: item[0])]
        lines.append("")
    (folder / "masks.cfg").write_text("\n".join(lines), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m jobs.draw_templates", description=__doc__, formatter_class=style)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    draw(parser.parse_args(arguments).output, lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
