"""Pieces that the pages of evaluations are made of. Everything from outside is escaped here."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jobs.evaluation.catalogue import Metric
from jobs.evaluation.sheets import picture
from jobs.evaluation.table import NOTHING, cell
from jobs.storage import Storage
from operators.images import encode

TEMPLATES = Path(__file__).parents[1] / "templates"
GUESS = (
    "A reconstruction is a guess drawn from a model of many faces. These numbers say how near guesses came to pictures whose "
    "truth is known; none of it is evidence of what a person looks like, and it must not be used to identify anyone."
)
_PICTURE_PX = 200


def document(title: str, warning: str, chips: Mapping[str, str], controls: str, body: str, script: str = "") -> str:
    """A page in the style of the other reports. `controls` and `body` are HTML, the rest is text."""
    style = "".join((TEMPLATES / name).read_text() for name in ("report.css", "evaluation.css"))
    chip_list = "".join(f"<li>{html.escape(key)}<b>{html.escape(value)}</b></li>" for key, value in chips.items())
    code = f"<script>{(TEMPLATES / script).read_text()}</script>" if script else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{style}</style></head><body>
<header><h1>{html.escape(title)}</h1><p class="warn">{html.escape(warning)}</p><ul class="chips">{chip_list}</ul></header>
{f"<nav>{controls}</nav>" if controls else ""}
<main class="evaluation">{body}</main>
{code}</body></html>
"""


def method_boxes(methods: Sequence[str], colour: Mapping[str, str]) -> str:
    """A box to tick for each method, in its colour."""
    boxes = "".join(
        f'<label style="--colour:{colour[name]}"><input type="checkbox" value="{i}" checked>{html.escape(name)}</label>'
        for i, name in enumerate(methods)
    )
    return f'<span class="choices" id="methods">{boxes}</span>'


def number_cell(
    metric: Metric, record: Mapping[str, Any] | None, span: tuple[float, float] | None, colour: str, best: bool
) -> str:
    """A value with its interval as text and as a line on the column's common scale."""
    if record is None or record.get("mean") is None:
        text = cell(metric, record)
        return f"<td><b>{text}</b></td>" if text in (NOTHING, "∞") else f'<td><span class="none">{html.escape(text)}</span></td>'
    low, high, line, ends, interval = record.get("low"), record.get("high"), "", "", "no interval"
    if low is not None and high is not None:
        interval = f"{metric.text(low)} – {metric.text(high)}"
        if span is not None:
            ends = f'<i style="left:{_place(low, span):.4g}%;right:{100 - _place(high, span):.4g}%"></i>'
    if span is not None:
        at = _place(record["mean"], span)
        line = f'<span class="range" style="--colour:{colour}">{ends}<u style="left:{at:.4g}%"></u></span>'
    mark, title = (' class="best"', ' title="best mean"') if best else ("", "")
    return f"<td{mark}{title}><b>{metric.text(record['mean'])}</b>{line}<small>{interval}</small></td>"


def span_of(records: Sequence[Mapping[str, Any] | None]) -> tuple[float, float] | None:
    """The scale of a column: from the lowest to the highest end of any interval, a little wider."""
    ends = [record.get(end) for record in records if record for end in ("mean", "low", "high")]
    known = [end for end in ends if end is not None]
    if not known or min(known) == max(known):
        return None
    pad = 0.04 * (max(known) - min(known))
    return min(known) - pad, max(known) + pad


def picture_source(storage: Storage, file: str, embed: bool) -> str:
    """What the `src` of an image is: a link beside the page, or the small picture itself; empty when there is none."""
    if not file:
        return ""
    if not embed:
        return "/".join(quote(part) for part in file.split("/"))
    image = picture(storage, file, _PICTURE_PX)
    return "" if image is None else data_uri(encode(image, "JPEG", quality=80))


def data_uri(jpeg: bytes) -> str:
    """A JPEG as text that an `img` takes."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def figure(source: str, label: str, value: str = "", colour: str = "", method: int | None = None) -> str:
    """A picture with its caption."""
    shown = f'<img loading="lazy" src="{html.escape(source)}" alt="{html.escape(label)}">' if source else ""
    shown = shown or '<span class="blank">no picture</span>'
    mark = dot(colour) if colour else ""
    data = "" if method is None else f' data-method="{method}"'
    value = f"<b>{html.escape(value)}</b>" if value else ""
    return f"<figure{data}>{shown}<figcaption>{mark}{html.escape(label)}{value}</figcaption></figure>"


def _place(value: float, span: tuple[float, float]) -> float:
    return 100 * (value - span[0]) / (span[1] - span[0])


def dot(colour: str) -> str:
    """A method's colour as a dot."""
    return f'<span class="dot" style="--colour:{colour}"></span>'
