"""Which pictures to look at: each method's best, median and worst, and the sheet that shows them beside the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from jobs.evaluation.catalogue import Metric
from jobs.evaluation.rows import Evaluated
from jobs.evaluation.summary import paired
from jobs.storage import ObjectError, Storage
from operators.artifacts import shrink
from operators.images import ImageError, decode_rgb, encode
from operators.provenance import xmp_packet

CELL_PX = 160
_GAP, _TEXT, _SIDE = 4, 16, 74
_PAPER, _EMPTY, _INK, _SOFT = (255, 255, 255), (228, 230, 235), (28, 29, 33), (95, 100, 112)


@dataclass(frozen=True)
class Example:
    """A picture that stands for `role` (best, median, worst) of a method."""

    method: str
    role: str
    key: str
    value: float


def choose(evaluated: Evaluated, method: str, metric: Metric, count: int = 3) -> list[Example]:
    """The `count` best, middle and worst pictures of a method among those that all methods have; fewer when there are few.

    No picture stands twice; equal values keep the order of their keys.
    """
    values = evaluated.values[metric.name][evaluated.methods.index(method)]
    known = np.flatnonzero(paired(evaluated.values[metric.name]) & ~np.isnan(values))
    ranked = known[np.argsort(-values[known] if metric.higher_is_better else values[known], kind="stable")]
    count = min(count, len(ranked) // 3) or min(1, len(ranked))
    middle = (len(ranked) - count) // 2
    parts = {"best": ranked[:count], "median": ranked[middle : middle + count], "worst": ranked[len(ranked) - count :]}
    out: dict[int, Example] = {}
    for role, places in parts.items():
        for j in places:
            out.setdefault(int(j), Example(method, role, evaluated.keys[j], float(values[j])))
    return list(out.values())


def picture(storage: Storage, name: str, longest_px: int = CELL_PX) -> UInt8[np.ndarray, "h w 3"] | None:
    """A kept picture, small; None when there is no such file or it is no picture."""
    if not name:
        return None
    try:
        return shrink(decode_rgb(storage.read(name)), longest_px)
    except (ObjectError, ImageError, ValueError):
        return None


def files_of(evaluated: Evaluated, key: str, methods: Sequence[str]) -> list[str]:
    """Files of a line of a sheet: masked, truth and each method's result; empty names where none was kept."""
    j = evaluated.keys.index(key)
    own = [str(evaluated.results[evaluated.methods.index(name), j]) for name in methods]
    return [str(evaluated.facts["masked_file"][j]), str(evaluated.facts["truth_file"][j]), *own]


def sheet_bytes(
    storage: Storage, evaluated: Evaluated, examples: Iterable[Example], metric: Metric, methods: Sequence[str]
) -> bytes:
    """A JPEG with a line per example: masked, truth, every method's result with its value. Empty when no picture was kept."""
    lines = []
    for example in examples:
        j = evaluated.keys.index(example.key)
        texts = [
            "",
            "",
            *(value_text(metric, evaluated.values[metric.name][evaluated.methods.index(name), j]) for name in methods),
        ]
        cells = [picture(storage, file) for file in files_of(evaluated, example.key, methods)]
        lines.append((example, cells, texts))
    if not any(cell is not None for _, cells, _ in lines for cell in cells):
        return b""
    labelled = [(f"{example.role}\n{example.key}", cells, texts) for example, cells, texts in lines]
    return encode_sheet(compose(labelled, ["masked", "truth", *methods]))


def encode_sheet(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A JPEG that says that parts of it are generated."""
    return encode(image, "JPEG", quality=82, xmp=xmp_packet("compositeWithTrainedAlgorithmicMedia"))


def compose(
    lines: Sequence[tuple[str, Sequence[np.ndarray | None], Sequence[str]]], heads: Sequence[str], side_px: int = _SIDE
) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures in a grid: `lines` of a text at the left, pictures (None = an empty field), and a text under each picture."""
    width = side_px + len(heads) * (CELL_PX + _GAP)
    height = _TEXT + 4 + len(lines) * (CELL_PX + _TEXT + _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font: Any = ImageFont.load_default(12)
    for i, head in enumerate(heads):
        _write(draw, head, side_px + i * (CELL_PX + _GAP), 2, font, _INK)
    for row, (label, cells, texts) in enumerate(lines):
        top = _TEXT + 4 + row * (CELL_PX + _TEXT + _GAP)
        for k, part in enumerate(label.split("\n")):
            for n, piece in enumerate(_wrapped(draw, part, side_px - 8, font)):
                draw.text((4, top + 4 + 15 * (k + n)), piece, fill=_INK if k == 0 else _SOFT, font=font)
        for i, (cell, text) in enumerate(zip(cells, texts, strict=True)):
            left = side_px + i * (CELL_PX + _GAP)
            if cell is None:
                draw.rectangle((left, top, left + CELL_PX - 1, top + CELL_PX - 1), fill=_EMPTY)
                _write(draw, "no picture", left, top + CELL_PX // 2 - 8, font, _SOFT)
            else:
                h, w = cell.shape[:2]
                sheet.paste(Image.fromarray(cell), (left + (CELL_PX - w) // 2, top + (CELL_PX - h) // 2))
            _write(draw, text, left, top + CELL_PX + 1, font, _SOFT)
    return np.asarray(sheet)


def value_text(metric: Metric, value: float) -> str:
    """A picture's value with its unit."""
    return "–" if np.isnan(value) else "∞" if np.isinf(value) else f"{metric.text(value)} {metric.unit}".strip()


def _write(draw: Any, text: str, left: int, top: int, font: Any, colour: tuple[int, int, int]) -> None:
    """Text in the middle of a cell."""
    draw.text((left + (CELL_PX - draw.textlength(text, font=font)) // 2, top), text, fill=colour, font=font)


def _wrapped(draw: Any, text: str, width: int, font: Any) -> list[str]:
    lines = [""]
    for letter in text:
        if draw.textlength(lines[-1] + letter, font=font) > width:
            lines.append("")
        lines[-1] += letter
    return lines[:8]
