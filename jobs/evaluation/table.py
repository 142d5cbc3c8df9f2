"""The short table of a summary: methods as rows, in Markdown for files and in plain text for terminals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.evaluation.catalogue import METRICS, NOT_AVAILABLE, Metric

NOTHING = "–"


def cell(metric: Metric, record: Mapping[str, Any] | None) -> str:
    """A value with its interval, or why there is none."""
    if record is None:
        return NOTHING
    if record.get("unavailable"):
        return str(record["unavailable"]).partition(":")[0]
    if record.get("mean") is None:
        return "∞" if record.get("infinite") else NOTHING
    text = metric.text(record["mean"])
    if record.get("low") is not None:
        text += f" [{metric.text(record['low'])}, {metric.text(record['high'])}]"
    return text


def grid(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the short table. A metric that nothing measured is left out."""
    methods = summary["methods"]
    shown = [m for m in METRICS.values() if m.tabled and any(m.name in method["metrics"] for method in methods.values())]
    timed = any(method["seconds_per_picture"] is not None for method in methods.values())
    heads = ["method", "n", *(_head(metric) for metric in shown), *(["s / picture"] if timed else [])]
    rows = []
    for name, method in methods.items():
        seconds = method["seconds_per_picture"]
        rows.append(
            [name, f"{compared(method):,}", *(cell(metric, method["metrics"].get(metric.name)) for metric in shown)]
            + ([NOTHING if seconds is None else f"{seconds:.3g}"] if timed else [])
        )
    return heads, rows


def compared(method: Mapping[str, Any]) -> int:
    """On how many pictures a method was compared: the most that any of its numbers rests on, identical ones counted."""
    records = method["metrics"].values()
    return max((record.get("n", 0) + record.get("infinite", 0) for record in records), default=0)


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What has to be read with the numbers."""
    bootstrap, pictures = summary["bootstrap"], summary["paired"]
    people = f" of {pictures['people']:,} {'people' if pictures['people'] > 1 else 'person'}" if pictures["people"] else ""
    lines = [
        f"{pictures['pictures']:,} of {summary['pictures']:,} pictures{people}: those that every method with numbers has. Means "
        f"with {bootstrap['level']:.0%} intervals from {bootstrap['resamples']:,} bootstrap resamples of {bootstrap['drawn']}."
    ]
    for name, method in summary["methods"].items():
        for metric in (m for m in METRICS.values() if m.tabled and method["metrics"].get(m.name, {}).get("infinite")):
            count = method["metrics"][metric.name]["infinite"]
            lines.append(f"{name}, {metric.label}: {count:,} identical to the truth (∞), not in the mean.")
    reasons = dict.fromkeys(summary["unavailable"].values())
    for reason in reasons:
        names = [METRICS[name].label for name, why in summary["unavailable"].items() if why == reason]
        lines.append(f"{', '.join(names)}: {reason}.")
    return lines + [f"{line}." for line in summary["warnings"]]


def markdown_table(summary: Mapping[str, Any]) -> str:
    """The short table and its notes."""
    heads, rows = grid(summary)
    lines = [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)]), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {note}" for note in notes(summary)) + "\n"


def terminal_table(summary: Mapping[str, Any], width: int = 120) -> str:
    """The short table turned so that it fits a terminal: metrics as rows, methods as columns, in blocks of `width` letters.

    Intervals are half widths behind ±. What no method has is left to the notes.
    """
    heads, rows = grid(summary)
    kept = [k for k in range(len(heads)) if k < 2 or any(row[k] not in (NOTHING, NOT_AVAILABLE) for row in rows)]
    names = [heads[k] for k in kept]
    columns = [[_short(row[k]) for k in kept] for row in rows]
    first = max(map(len, names))
    blocks: list[list[list[str]]] = [[]]
    used = first
    for column in columns:
        size = 2 + max(map(len, column))
        if blocks[-1] and used + size > width:
            blocks.append([])
            used = first
        blocks[-1].append(column)
        used += size
    lines: list[str] = []
    for block in blocks:
        sizes = [max(map(len, column)) for column in block]
        lines += [""] if lines else []
        for k, name in enumerate(names):
            cells = [column[k].rjust(size) for column, size in zip(block, sizes, strict=True)]
            lines.append("  ".join([name.ljust(first), *cells]).rstrip())
            lines += ["─" * (first + sum(sizes) + 2 * len(sizes))] if k == 0 else []
    return "\n".join([*lines, "", *notes(summary)])


def _short(text: str) -> str:
    """`20.03 [19.30, 20.71]` as `20.03 ±0.71`: the larger half of the interval."""
    value, mark, ends = text.partition(" [")
    if not mark:
        return text
    half = max(abs(float(end) - float(value)) for end in ends.rstrip("]").split(", "))
    return f"{value} ±{half:.{len(value.partition('.')[2])}f}"


def _head(metric: Metric) -> str:
    return f"{metric.label}{f', {metric.unit}' if metric.unit else ''} {'↑' if metric.higher_is_better else '↓'}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in cells) + " |"
