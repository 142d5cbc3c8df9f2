"""Built-in prints for cloth, and pictures as cloth: colour by place on the cloth in millimetres."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from operators.codec import decode_rgb

Field = Float[np.ndarray, "h w"]
_PICTURE_MM = 130.0


def _soft(distance: Field, edge: float = 0.35) -> Field:
    """1 where the distance is negative, 0 beyond, mm."""
    return np.clip(0.5 - distance / (2 * edge), 0, 1)


def _dots(x: Field, y: Field, rng: np.random.Generator) -> Field:
    step, radius = rng.uniform(7, 15), rng.uniform(0.18, 0.32)
    row = np.floor(y / step)
    inside = np.hypot((x / step + 0.5 * (row % 2)) % 1 - 0.5, (y / step) % 1 - 0.5) - radius
    return _soft(inside * step)


def _stripes(x: Field, y: Field, rng: np.random.Generator) -> Field:
    step, share, turn = rng.uniform(5, 16), rng.uniform(0.3, 0.5), rng.choice([0.0, np.pi / 2, np.pi / 4])
    along = (x * np.cos(turn) + y * np.sin(turn)) / step
    return _soft((np.abs(along % 1 - 0.5) - share / 2) * step)


def _checks(x: Field, y: Field, rng: np.random.Generator) -> Field:
    step = rng.uniform(6, 14)
    a, b = (_soft((np.abs((c / step) % 1 - 0.5) - 0.25) * step) for c in (x, y))
    return 0.5 * (a + b)


def _plaid(x: Field, y: Field, rng: np.random.Generator) -> Field:
    step = rng.uniform(18, 30)
    total = np.zeros_like(x)
    for width, shift, weight in ((0.3, 0.0, 0.35), (0.06, 0.3, 0.4), (0.04, 0.42, 0.3)):
        for c in (x, y):
            total += 0.5 * weight * _soft((np.abs((c / step + shift) % 1 - 0.5) - width / 2) * step)
    return np.clip(total * 1.6, 0, 1)


def _scattered(x: Field, y: Field, rng: np.random.Generator, step: float) -> tuple[Field, Field, Field]:
    """Polar coordinates about the nearest point of a jittered grid, and a random number of that point."""
    jitter = rng.uniform(-0.22, 0.22, (64, 64, 2))
    number = rng.uniform(0, 1, (64, 64))
    i, j = np.floor(y / step).astype(int), np.floor(x / step).astype(int)
    shift = jitter[i % 64, j % 64]
    dx, dy = x / step - j - 0.5 - shift[..., 0], y / step - i - 0.5 - shift[..., 1]
    return np.hypot(dx, dy) * step, np.arctan2(dy, dx), number[i % 64, j % 64]


def _flowers(x: Field, y: Field, rng: np.random.Generator) -> Field:
    step = rng.uniform(13, 22)
    radius, angle, number = _scattered(x, y, rng, step)
    petals = rng.integers(5, 7)
    reach = step * (0.2 + 0.1 * number) * (0.75 + 0.35 * np.cos(petals * angle + 6.3 * number))
    centre = _soft(radius - 0.07 * step)
    return np.clip(_soft(radius - reach) - 0.5 * centre, 0, 1)


def _stars(x: Field, y: Field, rng: np.random.Generator) -> Field:
    step = rng.uniform(11, 20)
    radius, angle, number = _scattered(x, y, rng, step)
    wave = np.abs(((5 * (angle + 6.3 * number) / (2 * np.pi)) % 1) * 2 - 1)
    return _soft(radius - step * (0.12 + 0.16 * wave))


def _noise(x: Field, y: Field, rng: np.random.Generator, scale_mm: float) -> Field:
    """Smooth noise of unit spread by place, about `scale_mm` from hill to valley."""
    grid = rng.normal(0, 1, (48, 48)).astype(np.float32)
    u, v = ((c / scale_mm) % 47 for c in (x + 500, y + 500))
    return cv2.remap(grid, u.astype(np.float32), v.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


def _camouflage(x: Field, y: Field, rng: np.random.Generator) -> Field:
    field = _noise(x, y * 1.5, rng, 14.0) + 0.5 * _noise(x, y * 1.5, rng, 6.0)
    return (_soft((0.45 - field) * 4) + _soft((-0.35 - field) * 4)) / 2


def _leopard(x: Field, y: Field, rng: np.random.Generator) -> Field:
    radius, angle, number = _scattered(x, y, rng, rng.uniform(9, 13))
    ring = np.abs(radius - 3.0 - number) - 0.9
    return _soft(ring) * np.clip(1.4 + 1.6 * np.cos(2 * angle + 6.3 * number), 0, 1)


def _marble(x: Field, y: Field, rng: np.random.Generator) -> Field:
    return 0.5 + 0.5 * np.sin((x * 0.5 + y) / 9 + 1.8 * _noise(x, y, rng, 22.0))


_SHAPES: dict[str, Callable[[Field, Field, np.random.Generator], Field]] = {
    "dots": _dots, "stripes": _stripes, "checks": _checks, "plaid": _plaid, "flowers": _flowers, "stars": _stars,
    "camouflage": _camouflage, "leopard": _leopard, "marble": _marble,
}  # fmt: skip
PRINTS = tuple(_SHAPES)
"""Names that `Outfit.texture` may have beside picture files."""

_PALETTES: tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...] = (
    ((38, 52, 96), (226, 222, 212)), ((30, 30, 34), (214, 212, 208)), ((166, 36, 46), (240, 232, 220)),
    ((232, 226, 214), (52, 74, 124)), ((244, 214, 220), (196, 74, 104)), ((54, 92, 70), (222, 214, 180)),
    ((228, 222, 206), (150, 42, 44)), ((40, 116, 130), (240, 190, 84)), ((96, 72, 124), (214, 200, 226)),
    ((70, 78, 48), (164, 152, 108)), ((206, 164, 106), (56, 40, 28)), ((24, 40, 52), (86, 168, 178)),
)  # fmt: skip


def palette(name: str, rng: np.random.Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Two colours of cloth that go together, RGB 0-255."""
    fixed = {"camouflage": 9, "leopard": 10}
    return _PALETTES[fixed.get(name, int(rng.integers(len(_PALETTES))))]


def printed(
    name: str,
    cloth_mm: Float[np.ndarray, "h w 2"],
    rng: np.random.Generator,
    ground: tuple[float, float, float] | None = None,
) -> Float[np.ndarray, "h w 3"]:
    """Colour 0-1 of a print at places on the cloth; `ground` (RGB 0-255) replaces its background. Other names are
    picture files, tiled.

    Errors: ValueError for a name that is neither.
    """
    if name not in _SHAPES:
        return _picture(name, cloth_mm)
    phase = rng.uniform(-40, 40, 2)
    share = _SHAPES[name](cloth_mm[..., 0] + phase[0], cloth_mm[..., 1] + phase[1], rng)[..., None]
    back, front = (np.array(c, np.float32) / 255 for c in palette(name, rng))
    if ground is not None:
        back = np.array(ground, np.float32) / 255
    return (back + share * (front - back)).astype(np.float32)


@lru_cache(maxsize=32)
def _file(path: str) -> np.ndarray:
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"texture {path!r} is neither a picture file nor one of {', '.join(PRINTS)}")
    image = decode_rgb(file.read_bytes())
    scale = 512 / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


def _picture(path: str, cloth_mm: np.ndarray) -> np.ndarray:
    image = _file(path)
    per_mm = max(image.shape[:2]) / _PICTURE_MM
    u, v = (((c * per_mm) + n / 2) % n for c, n in zip((cloth_mm[..., 0], cloth_mm[..., 1]), image.shape[1::-1], strict=True))
    return cv2.remap(
        image, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    ) / np.float32(255)
