"""Pictures of masks with six points each, in the folder format of MaskTheFace, and how they are bent onto six face points.

A folder has `masks.cfg` (ini): a section per type, with `_left` or `_right` for turned faces, holding `template` (a PNG with
alpha) and `mask_a` … `mask_f` as `x, y` in whole pixels: a left top, b nose, c right top, d left bottom, e chin, f right bottom.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.codec import decode_alpha, decode_rgb
from operators.image_header import ImageError
from operators.synthesize.six_points import FARTHEST_PX

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "mask_templates"
"""The folder of the templates that ship with the package."""
POINTS = "abcfed"
_ALIKE = {"surgical_white": "surgical", "surgical": "surgical_white"}
_CONVERGED = 1e-12


class TemplateError(ValueError):
    """A template folder, or one of its pictures, is not what it must be."""


@dataclass(frozen=True)
class Template:
    """A mask's picture. `points` a b c f e d in its own pixels, a pixel's centre at a whole number (as in masks.cfg)."""

    name: str
    colour: UInt8[np.ndarray, "h w 3"]
    alpha: UInt8[np.ndarray, "h w"]
    points: Float[np.ndarray, "6 2"]


class TemplateSet:
    """The templates of one folder; pictures are read when they are first needed.

    Errors: TemplateError naming the file, for a folder without masks.cfg, a section without its points or picture, and a
    picture without alpha; ValueError naming the types there are, for an unknown type.
    """

    def __init__(self, folder: str | Path = SHIPPED):
        self.folder = Path(folder)
        config = self.folder / "masks.cfg"
        if not config.is_file():
            raise TemplateError(f"{self.folder}: no masks.cfg: name a folder of mask templates")
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        try:
            parser.read(config, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise TemplateError(f"{config}: {' '.join(str(error).split())}") from None
        self._entries = {
            name.lower(): (parser[name]["template"], _points(parser[name], config))
            for name in parser.sections()
            if "template" in parser[name]
        }
        self._read: dict[str, Template] = {}

    @property
    def types(self) -> tuple[str, ...]:
        """Types with a front view, in lower case."""
        return tuple(name for name in self._entries if not name.endswith(("_left", "_right")))

    @property
    def files(self) -> dict[str, Path]:
        """Name -> file of masks.cfg and of every picture that it names. Errors: TemplateError for one that is not there."""
        found = {"masks.cfg": self.folder / "masks.cfg"} | {
            name: self._find(stated) for name, (stated, _) in self._entries.items()
        }
        for path in found.values():
            if not path.is_file():
                raise TemplateError(f"{path}: no such file")
        return found

    def __contains__(self, type: str) -> bool:
        return type.lower() in self._entries or _ALIKE.get(type.lower()) in self._entries

    def pick(self, type: str, side: str = "front") -> Template:
        """The template of a type for a side (`front`, `left`, `right`); the front view where a side has none."""
        name = type.lower()
        if name not in self:
            raise ValueError(f"template: expected one of {', '.join(self.types)}, got {type!r}")
        name = name if name in self._entries else _ALIKE[name]
        turned = f"{name}_{side}"
        return self._load(turned if turned in self._entries else name)

    def _load(self, name: str) -> Template:
        if name not in self._read:
            stated, points = self._entries[name]
            path = self._find(stated)
            try:
                data = path.read_bytes()
                colour, alpha = decode_rgb(data), decode_alpha(data)
            except (OSError, ImageError) as error:
                raise TemplateError(f"{path}: {error}") from None
            if alpha is None:
                raise TemplateError(f"{path}: no alpha: save the mask as a PNG with a transparent ground")
            self._read[name] = Template(name, colour, alpha, points)
        return self._read[name]

    def _find(self, stated: str) -> Path:
        """MaskTheFace writes paths from the folder above its own; ours start at masks.cfg."""
        name = Path(stated.strip())
        found = (self.folder / name, self.folder.parent / name, self.folder / "templates" / name.name)
        return next((path for path in found if path.is_file()), found[0])


@lru_cache(maxsize=4)
def template_set(folder: str = "") -> TemplateSet:
    """The templates of a folder, read once per process; without a folder those that ship."""
    return TemplateSet(folder or SHIPPED)


def _points(section: configparser.SectionProxy, config: Path) -> np.ndarray:
    try:
        points = [[float(number) for number in section[f"mask_{letter}"].split(",")] for letter in POINTS]
        return np.array(points, np.float64).reshape(6, 2)
    except (KeyError, ValueError):
        raise TemplateError(f"{config} [{section.name}]: expected mask_a … mask_f as x, y") from None


def homography(
    points: Float[np.ndarray, "n 2"], target: Float[np.ndarray, "n 2"], extent: tuple[int, int]
) -> Float[np.ndarray, "3 3"] | None:
    """Least-squares perspective map of points to target; an affine one where perspective would fold the picture.

    `extent` is the picture's (width, height). None where the points allow neither. OpenCV's solution is taken to
    convergence by Gauss-Newton, so that it does not depend on where a version of OpenCV stops.
    """
    if not (np.isfinite(points).all() and (np.abs(target) < FARTHEST_PX).all()):
        return None
    if min(np.ptp(target, axis=0).max(), np.ptp(points, axis=0).max()) < 1e-3:
        return None
    start, _ = cv2.findHomography(points, target)
    if start is not None and np.isfinite(start).all() and abs(start[2, 2]) > 1e-12:
        matrix = _refined(start / start[2, 2], points, target)
        if _flat(matrix, points, target, extent):
            return matrix
    affine, _, rank, _ = np.linalg.lstsq(np.c_[points, np.ones(len(points))], target, rcond=None)
    matrix = np.vstack([affine.T, [0, 0, 1]])
    return matrix if rank == 3 and _has_area(affine[:2]) else None


def _has_area(linear: np.ndarray) -> bool:
    """A linear map that does not make a line, or next to nothing, of a picture."""
    large, small = np.linalg.svd(linear, compute_uv=False)
    return bool(small > 1e-4 and small > 1e-3 * large)


def _flat(matrix: np.ndarray, points: np.ndarray, target: np.ndarray, extent: tuple[int, int]) -> bool:
    """The whole picture lies in front of the horizon, faces the viewer and comes out no more than 6 times the target's size."""
    w, h = extent
    corners = np.array([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]], np.float64) @ matrix.T
    if (corners[:, 2] < 0.05).any() or np.linalg.det(matrix) <= 0:
        return False
    u, v, scale = matrix @ [*points.mean(0), 1]
    if not _has_area((matrix[:2, :2] - np.outer([u / scale, v / scale], matrix[2, :2])) / scale):
        return False
    largest = 6 * np.ptp(target, axis=0).max() * max(w, h) / np.ptp(points, axis=0).max()
    return bool(np.ptp(corners[:, :2] / corners[:, 2:], axis=0).max() < largest)


def _refined(matrix: np.ndarray, points: np.ndarray, target: np.ndarray) -> np.ndarray:
    def residual(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y, w = np.append(h, 1).reshape(3, 3) @ np.c_[points, np.ones(len(points))].T
        u, v, zero = x / w, y / w, np.zeros((len(points), 3))
        row = np.c_[points, np.ones(len(points))] / w[:, None]
        du = np.hstack([row, zero, -u[:, None] * row[:, :2]])
        dv = np.hstack([zero, row, -v[:, None] * row[:, :2]])
        return np.r_[u - target[:, 0], v - target[:, 1]], np.vstack([du, dv])

    h = matrix.ravel()[:8]
    with np.errstate(all="ignore"):
        error, slope = residual(h)
        for _ in range(20):
            size = np.maximum(np.abs(slope).max(0), 1e-30)
            try:
                step = np.linalg.lstsq(slope / size, error, rcond=None)[0] / size
            except np.linalg.LinAlgError:
                break
            further, steeper = residual(h - step)
            if not further @ further < error @ error * (1 - _CONVERGED):
                break
            h, error, slope = h - step, further, steeper
    return np.append(h, 1).reshape(3, 3)
