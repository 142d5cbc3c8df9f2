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
        return NOT_AVAILABLE
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
        n = method["metrics"].get("psnr_hole_db", {}).get("n", summary["paired"]["pictures"])
        seconds = method["seconds_per_picture"]
        rows.append(
            [name, f"{n:,}", *(cell(metric, method["metrics"].get(metric.name)) for metric in shown)]
            + ([NOTHING if seconds is None else f"{seconds:.3g}"] if timed else [])
        )
    return heads, rows


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What has to be read with the numbers."""
    bootstrap, pictures = summary["bootstrap"], summary["paired"]
    people = f" of {pictures['people']:,} {'people' if pictures['people'] > 1 else 'person'}" if pictures["people"] else ""
    lines = [
        f"{pictures['pictures']:,} pictures{people} that every method has, of {summary['pictures']:,}. "
        f"Mean [{bootstrap['level']:.0%} interval: {bootstrap['resamples']:,} bootstrap resamples of {bootstrap['drawn']}]."
    ]
    reasons = dict.fromkeys(summary["unavailable"].values())
    for reason in reasons:
        names = [METRICS[name].label for name, why in summary["unavailable"].items() if why == reason]
        lines.append(f"{reason}: {', '.join(names)}.")
    return lines + [f"{line[0].upper()}{line[1:]}." for line in summary["warnings"]]


def markdown_table(summary: Mapping[str, Any]) -> str:
    """The short table and its notes."""
    heads, rows = grid(summary)
    lines = [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)]), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {note}" for note in notes(summary)) + "\n"


def terminal_table(summary: Mapping[str, Any]) -> str:
    """The short table turned so that it fits a terminal: metrics as rows, methods as columns."""
    heads, rows = grid(summary)
    columns = [heads, *rows]
    widths = [max(len(text) for text in column) for column in columns]
    lines = []
    for k in range(len(heads)):
        cells = [
            column[k].ljust(width) if i == 0 else column[k].rjust(width)
            for i, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join([*lines, "", *notes(summary)])


def _head(metric: Metric) -> str:
    return f"{metric.label}{f', {metric.unit}' if metric.unit else ''} {'↑' if metric.higher_is_better else '↓'}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in cells) + " |"
