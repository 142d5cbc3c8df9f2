"""What people read of a comparison: Markdown, a table for terminals, and comparison.html with the pictures that differ most."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.evaluation.catalogue import METRICS, Metric
from jobs.evaluation.compare import EQUAL, Comparison, most_different
from jobs.evaluation.html_parts import GUESS, data_uri, document, figure
from jobs.evaluation.plots import COLOURS, draw_differences, for_page
from jobs.evaluation.sheets import compose, encode_sheet, picture, value_text
from jobs.storage import Storage
from operators.images import encode

BETTER, WORSE = "#1d9e78", "#d64c5b"
_HEADS = ("metric", "n", "first", "second", "second − first", "pictures better", "verdict")
_PICTURE_PX = 200


def write_comparisons(storage: Storage, comparisons: Sequence[Comparison], examples: int = 6) -> tuple[str, ...]:
    """Write comparison.json, comparison.md, comparison.html, and a sheet for each where pictures were kept; returns the keys."""
    record = {"comparisons": [comparison.record for comparison in comparisons]}
    files = {
        "comparison.json": (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        "comparison.md": "\n".join(markdown_text(comparison) for comparison in comparisons).encode(),
        "comparison.html": render_comparisons(comparisons, examples).encode(),
    }
    for number, comparison in enumerate(comparisons):
        sheet = difference_sheet(comparison, examples)
        if sheet:
            files[f"sheets/comparison_{number}.jpg"] = sheet
    for name, data in files.items():
        storage.write(name, data)
    return tuple(files)


def names(comparison: Comparison) -> tuple[str, str]:
    """What the two sides are called: the evaluations when one method is compared, the methods when they come from one."""
    first, second = comparison.first, comparison.second
    if first.label == second.label:
        return first.method, second.method
    if first.method == second.method:
        return first.label, second.label
    return f"{first.label}: {first.method}", f"{second.label}: {second.method}"


def title_of(comparison: Comparison) -> str:
    """One line that says what is compared."""
    one, two = names(comparison)
    same = comparison.first.method if comparison.first.method == comparison.second.method else ""
    return f"{same + ': ' if same else ''}{one} → {two}"


def notes(comparison: Comparison) -> list[str]:
    """What has to be read with the numbers."""
    record, bootstrap = comparison.record, comparison.record["bootstrap"]
    lines = [
        f"{record['pictures']:,} pictures that both have; differences are second − first, with {bootstrap['level']:.0%} "
        f"intervals from {bootstrap['resamples']:,} bootstrap resamples of {bootstrap['drawn']}; ties count half."
    ]
    for side, name in (("only_first", names(comparison)[0]), ("only_second", names(comparison)[1])):
        if record[side]:
            lines.append(f"{record[side]:,} pictures are only in {name}.")
    if record["different"]:
        lines.append(f"{len(record['different']):,} pictures were left out: their truth or hole differs.")
    if record["not_checked"]:
        lines.append(f"{record['not_checked']:,} pictures could not be checked: a run did not keep the hash of their truth.")
    return lines


def grid(comparison: Comparison) -> list[list[str]]:
    """A row per metric, cells as text."""
    rows = []
    for name, record in comparison.record["metrics"].items():
        metric = METRICS[name]
        unit = f", {metric.unit}" if metric.unit else ""
        rows.append(
            [
                f"{metric.label}{unit} {'↑' if metric.higher_is_better else '↓'}",
                f"{record['n']:,}",
                _number(metric, record["first"], record["infinite"][0]),
                _number(metric, record["second"], record["infinite"][1]),
                _difference(metric, record),
                "–" if record["verdict"] == EQUAL else f"{record['better']:.0%}",
                record["verdict"],
            ]
        )
    return rows


def markdown_text(comparison: Comparison) -> str:
    """Heading, table and notes."""
    if comparison.equal:
        return f"## {title_of(comparison)}\n\n{_all_equal(comparison)}\n"
    one, two = names(comparison)
    heads = ["metric", "n", one, two, *_HEADS[4:]]
    lines = [f"## {title_of(comparison)}", "", _line(heads), _line(["---", *["---:"] * 5, "---"])]
    lines += [_line(row) for row in grid(comparison)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(comparison)), ""])


def terminal_text(comparison: Comparison) -> str:
    """The same for a terminal."""
    if comparison.equal:
        return f"{title_of(comparison)}\n\n{_all_equal(comparison)}"
    one, two = names(comparison)
    rows = [["metric", "n", one, two, *_HEADS[4:]], *grid(comparison)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_HEADS))]
    lines = [
        "  ".join(text.ljust(w) if k in (0, 6) else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join([title_of(comparison), "", *(line.rstrip() for line in lines), "", *notes(comparison)])


def difference_sheet(comparison: Comparison, count: int) -> bytes:
    """A JPEG: the pictures that gained most, then those that lost most. Empty when no picture was kept."""
    metric = ranking(comparison)
    lines = []
    for role, keys in most_different(comparison, metric, count).items():
        for key in keys:
            files = _files(comparison, key)
            cells = [picture(storage, file) for storage, file in files]
            one, two, change = _values(comparison, metric, key)
            lines.append((f"{role} {change}\n{key}", cells, ["", "", one, two]))
    if not any(cell is not None for _, cells, _ in lines for cell in cells):
        return b""
    return encode_sheet(compose(lines, ["masked", "truth", *names(comparison)], side_px=100))


def render_comparisons(comparisons: Sequence[Comparison], examples: int) -> str:
    """comparison.html: pictures are inside the file, because they come from two places."""
    first = comparisons[0]
    chips = {"pictures": f"{first.record['pictures']:,}", "first": first.first.label, "second": first.second.label}
    links = "".join(f'<a href="#c{i}">{html.escape(title_of(c))}</a>' for i, c in enumerate(comparisons) if len(comparisons) > 1)
    body = "".join(f'<div id="c{i}">{_section(c, examples)}</div>' for i, c in enumerate(comparisons))
    return document("Comparison of two evaluations", GUESS, chips, links, body)


def ranking(comparison: Comparison) -> Metric:
    """The metric by which pictures differ most: PSNR in the hole, or the first that both have."""
    wanted = "psnr_hole_db"
    return METRICS[wanted if wanted in comparison.differences else next(iter(comparison.differences))]


def _all_equal(comparison: Comparison) -> str:
    equal = f"All numbers of the {comparison.record['pictures']:,} pictures that both have are equal."
    return " ".join([equal, *notes(comparison)[1:]])


def _section(comparison: Comparison, examples: int) -> str:
    if comparison.equal:
        return f"<section><h2>{html.escape(title_of(comparison))}</h2><p>{html.escape(_all_equal(comparison))}</p></section>"
    one, two = (html.escape(name) for name in names(comparison))
    records = comparison.record["metrics"]
    rows = ""
    for (name, record), cells in zip(records.items(), grid(comparison), strict=True):
        colour = {"better": BETTER, "worse": WORSE}.get(record["verdict"], "var(--soft)")
        rows += (
            f'<tr><th title="{html.escape(METRICS[name].doc)}">{html.escape(cells[0])}</th>'
            + "".join(f"<td><b>{text}</b></td>" for text in cells[1:4])
            + f"<td><b>{_signed(METRICS[name], record['difference'])}</b>{_whisker(record, colour)}{_interval(name, record)}</td>"
            + f"<td><b>{cells[5]}</b>{_share(record)}</td>"
            + f'<td style="text-align:left"><span class="tag" style="color:{colour}">{record["verdict"]}</span></td></tr>'
        )
    heads = f"<th>metric</th><th>n</th><th>{one}</th><th>{two}</th><th>second − first</th><th>pictures better</th><th></th>"
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes(comparison))
    plots = "".join(
        f"<figure><figcaption>{html.escape(METRICS[name].label)}, picture by picture</figcaption>"
        f"{for_page(draw_differences(METRICS[name], values, BETTER, WORSE))}</figure>"
        for name, values in comparison.differences.items()
        if METRICS[name].tabled and np.any(np.nan_to_num(values) != 0)
    )
    return (
        f"<section><h2>{html.escape(title_of(comparison))}</h2>"
        f'<div class="panel narrow"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<ul class="notes">{listed}</ul></section><section><div class="plots">{plots}</div></section>'
        + _pictures(comparison, examples)
    )


def _pictures(comparison: Comparison, examples: int) -> str:
    metric = ranking(comparison)
    one, two = names(comparison)
    text = ""
    for role, keys in most_different(comparison, metric, examples).items():
        cards = ""
        for key in keys:
            sources = [_embedded(storage, file) for storage, file in _files(comparison, key)]
            before, after, change = _values(comparison, metric, key)
            figures = figure(sources[0], "masked") + figure(sources[1], "truth")
            figures += figure(sources[2], one, before, COLOURS[0]) + figure(sources[3], two, after, COLOURS[1])
            cards += (
                f'<article class="example"><header><h3>{html.escape(key)}</h3><span class="tag">{html.escape(change)}</span>'
                f'</header><div class="cells" style="--cells:4">{figures}</div></article>'
            )
        if cards:
            text += f"<h2>Pictures that {role} most by {html.escape(metric.label)}</h2>"
            text += f'<div class="examples pairs">{cards}</div>'
    return f"<section>{text}</section>"


def _files(comparison: Comparison, key: str) -> list[tuple[Storage, str]]:
    """Where masked, truth, first and second lie."""
    first, second = comparison.first, comparison.second
    j = first.evaluated.keys.index(key)
    out = [(first.storage, str(first.evaluated.facts[name][j])) for name in ("masked_file", "truth_file")]
    for side in (first, second):
        place = side.evaluated.methods.index(side.method), side.evaluated.keys.index(key)
        out.append((side.storage, str(side.evaluated.results[place])))
    return out


def _embedded(storage: Storage, file: str) -> str:
    image = picture(storage, file, _PICTURE_PX)
    return "" if image is None else data_uri(encode(image, "JPEG", quality=80))


def _values(comparison: Comparison, metric: Metric, key: str) -> tuple[str, str, str]:
    one, two = (float(side.values(metric.name, [key])[0]) for side in (comparison.first, comparison.second))
    change = float(comparison.differences[metric.name][comparison.keys.index(key)])
    return value_text(metric, one), value_text(metric, two), f"{_signed(metric, change)} {metric.unit}".strip()


def _number(metric: Metric, value: float | None, infinite: int) -> str:
    return metric.text(value) if value is not None else "∞" if infinite else "–"


def _signed(metric: Metric, value: float | None) -> str:
    if value is None:
        return "–"
    return "∞" if value == np.inf else "−∞" if value == -np.inf else f"{value:+.{metric.digits}f}".replace("-", "−")


def _difference(metric: Metric, record: dict[str, Any]) -> str:
    text = _signed(metric, record["difference"])
    return text if record["low"] is None else f"{text} [{_signed(metric, record['low'])}, {_signed(metric, record['high'])}]"


def _interval(name: str, record: dict[str, Any]) -> str:
    if record["low"] is None or record["verdict"] == EQUAL:
        return "" if record["verdict"] == EQUAL else "<small>no interval</small>"
    return f"<small>{_signed(METRICS[name], record['low'])} … {_signed(METRICS[name], record['high'])}</small>"


def _whisker(record: dict[str, Any], colour: str) -> str:
    """The interval on a scale with 0 in its middle."""
    if record["low"] is None or record["high"] is None or record["verdict"] == EQUAL:
        return ""
    reach = 1.1 * max(abs(record["low"]), abs(record["high"]), abs(record["difference"])) or 1.0
    low, value, high = (50 + 50 * record[end] / reach for end in ("low", "difference", "high"))
    return (
        f'<span class="range zero" style="--colour:{colour}"><i style="left:{low:.4g}%;right:{100 - high:.4g}%"></i>'
        f'<u style="left:{value:.4g}%"></u></span>'
    )


def _share(record: dict[str, Any]) -> str:
    if record["better"] is None or record["verdict"] == EQUAL:
        return ""
    return f'<span class="range share"><i style="width:{100 * record["better"]:.4g}%"></i></span>'


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in cells) + " |"
