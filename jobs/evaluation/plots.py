"""Plots as SVG: the distribution of a metric, and the metric against coverage, pose, mask and group.

Ink is written as names of colours that a page replaces by its own (`for_page`), so that plots follow light and dark.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jobs.evaluation.catalogue import METRICS, PER_IMAGE, Metric
from jobs.evaluation.rows import Evaluated
from jobs.evaluation.summary import DIMENSIONS, paired

COLOURS = ("#3b78e7", "#e07b2c", "#1d9e78", "#bd4fa3", "#a8861b", "#d64c5b", "#3ba3bf", "#7d6be0")
"""One for each method in its order, then from the start: readable on white and on black."""
_INK, _SOFT, _LINE = "#010101", "#020202", "#030303"
_ON_PAPER = {_INK: "#1c1d21", _SOFT: "#5f6470", _LINE: "#dcdfe6"}
_ON_PAGE = {_INK: "var(--ink)", _SOFT: "var(--soft)", _LINE: "var(--line)"}
_WIDTH_IN, _FEW = 5.6, 40
_FINE = re.compile(r"(\d+\.\d{2})\d+")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "unmask",
    "font.size": 9.5,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
}


def colours(methods: Sequence[str]) -> dict[str, str]:
    """The colour of each method, the same in every plot and table of one evaluation."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(methods)}


def draw_plots(evaluated: Evaluated, summary: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """(metric, what) -> SVG for each metric of the short table that was measured; what is `distribution` or a dimension."""
    methods = list(summary["methods"])
    plots: dict[tuple[str, str], str] = {}
    for metric in PER_IMAGE:
        shown = [name for name in methods if (_record(summary, name, metric) or {}).get("n")]
        if not metric.tabled or not shown:
            continue
        plots[metric.name, "distribution"] = draw_distribution(evaluated, metric, shown, colours(methods), summary)
        for dimension in summary["groups"]:
            plots[metric.name, dimension] = draw_groups(summary, metric, dimension, shown, colours(methods))
    return plots


def for_file(svg: str) -> str:
    """The SVG on white paper, to stand alone."""
    for name, colour in _ON_PAPER.items():
        svg = svg.replace(name, colour)
    return re.sub(r"(<svg\b[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', svg, count=1)


def for_page(svg: str) -> str:
    """The SVG as part of a page with the variables of report.css: no width of its own, no ids but those that it refers to."""
    svg = svg[svg.index("<svg") :]
    for name, colour in _ON_PAGE.items():
        svg = svg.replace(name, colour)
    svg = re.sub(r"(<svg\b[^>]*?) width=\"[^\"]*\"", r"\1", svg, count=1)
    svg = re.sub(r"(<svg\b[^>]*?) height=\"[^\"]*\"", r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="method:(\d+)[^"]*"', r'data-method="\1"', svg)
    used = set(re.findall(r"#([\w-]+)", svg))
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)


def draw_distribution(
    evaluated: Evaluated, metric: Metric, methods: Sequence[str], colour: Mapping[str, str], summary: Mapping[str, Any]
) -> str:
    """A row per method: density (dots when pictures are few), the middle half with the median, the mean with its interval."""
    everything = evaluated.values[metric.name]
    used = paired(everything)
    figure, axes = _figure(0.95 + 0.52 * len(methods))
    for row, name in enumerate(methods):
        values = everything[evaluated.methods.index(name)]
        values = values[used & np.isfinite(values)]
        if not len(values):
            continue
        kind = {"color": colour[name], "gid": f"method:{list(summary['methods']).index(name)}"}
        _spread(axes, values, row, kind)
        low, middle, high = np.percentile(values, (25, 50, 75))
        axes.plot([low, high], [row + 0.16] * 2, lw=5, solid_capstyle="butt", alpha=0.45, **kind)
        axes.plot([middle] * 2, [row + 0.08, row + 0.24], lw=1.6, **kind)
        record = _record(summary, name, metric) or {}
        if record.get("low") is not None:
            axes.plot([record["low"], record["high"]], [row + 0.34] * 2, lw=1.6, **kind)
        axes.plot([record["mean"]], [row + 0.34], "o", ms=5, **kind)
    axes.set_yticks(range(len(methods)), [_named(name) for name in methods], color=_INK)
    axes.set_ylim(len(methods) - 0.45, -0.62)
    axes.grid(axis="x", color=_LINE, lw=0.8)
    axes.set_xlabel(_axis(metric), color=_SOFT)
    return _svg(figure)


def draw_groups(
    summary: Mapping[str, Any], metric: Metric, dimension: str, methods: Sequence[str], colour: Mapping[str, str]
) -> str:
    """Means of each group with their intervals, side by side; joined by lines where the groups have an order."""
    groups = summary["groups"][dimension]
    labels = [label for label, group in groups.items() if any(metric.name in method for method in group["methods"].values())]
    figure, axes = _figure(3.1)
    step = min(0.11, 0.6 / max(len(methods), 1))
    for i, name in enumerate(methods):
        records = [groups[label]["methods"][name].get(metric.name) for label in labels]
        at = np.array([k + (i - (len(methods) - 1) / 2) * step for k, record in enumerate(records) if record])
        known = [record for record in records if record]
        kind = {"color": colour[name], "gid": f"method:{list(summary['methods']).index(name)}"}
        if dimension in ("coverage", "yaw"):
            axes.plot(at, [record["mean"] for record in known], lw=1.3, alpha=0.55, **kind)
        for x, record in zip(at, known, strict=True):
            if record["low"] is not None:
                axes.plot([x, x], [record["low"], record["high"]], lw=1.5, **kind)
        axes.plot(at, [record["mean"] for record in known], "o", ms=4.5, label=_named(name), **kind)
    room = max(4, 70 // max(len(labels), 1))
    ticks = [f"{_wrapped(label, room)}\nn = {_count(groups[label], metric)}" for label in labels]
    axes.set_xticks(range(len(labels)), ticks, color=_INK)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.grid(axis="y", color=_LINE, lw=0.8)
    axes.set_xlabel(DIMENSIONS[dimension], color=_SOFT)
    axes.set_ylabel(_axis(metric), color=_SOFT)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        fontsize=9.5,
        frameon=False,
        labelcolor=_INK,
        handlelength=0.8,
        columnspacing=1.2,
    )
    return _svg(figure)


def draw_differences(metric: Metric, differences: np.ndarray, better: str, worse: str) -> str:
    """Every picture's difference, sorted, in the colours of better and worse; infinite ones are left out."""
    values = np.sort(differences[np.isfinite(differences)])
    figure, axes = _figure(2.3)
    good = values * (1 if metric.higher_is_better else -1) > 0
    for keep, colour in ((good, better), (~good, worse)):
        axes.stairs(np.where(keep, values, 0.0), np.arange(len(values) + 1), fill=True, lw=0, color=colour, alpha=0.85)
    axes.axhline(0, color=_SOFT, lw=0.9)
    axes.set_xlim(0, len(values))
    axes.grid(axis="y", color=_LINE, lw=0.8)
    axes.set_xlabel(f"{len(values):,} pictures, sorted", color=_SOFT)
    axes.set_ylabel(f"difference{f', {metric.unit}' if metric.unit else ''}", color=_SOFT)
    return _svg(figure)


def _spread(axes: Any, values: np.ndarray, row: int, kind: Mapping[str, Any]) -> None:
    if len(values) <= _FEW:
        rank = np.argsort(np.argsort(values, kind="stable"))
        axes.plot(values, row - 0.08 - 0.30 * ((rank * 0.618034) % 1), "o", ms=3.2, alpha=0.75, mew=0, **kind)
        return
    low, high = float(values.min()), float(values.max())
    if low == high:
        return
    from scipy.stats import gaussian_kde

    x = np.linspace(low, high, 96)
    density = gaussian_kde(values)(x)
    axes.fill_between(x, row - 0.02 - 0.5 * density / density.max(), row - 0.02, alpha=0.35, lw=0, **kind)
    axes.plot(x, row - 0.02 - 0.5 * density / density.max(), lw=1.1, **kind)


def _figure(height_in: float) -> tuple[Any, Any]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, colors=_SOFT)
    return figure, axes


def _svg(figure: Any) -> str:
    """Text stays text, ids and metadata hold nothing that changes from run to run, coordinates have two decimals."""
    import matplotlib

    sink = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r'(?<= )(d|x|y|transform)="[^"]*"', lambda found: _FINE.sub(r"\1", found[0]), sink.getvalue())
    text = text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    return re.sub(r"\n\s*", "\n", text)


def _record(summary: Mapping[str, Any], method: str, metric: Metric) -> dict[str, Any] | None:
    return summary["methods"][method]["metrics"].get(metric.name)


def _named(name: str, room: int = 24) -> str:
    """A name from outside as a label: no longer than there is room, and no mark-up."""
    short = name if len(name) <= room else name[: room - 1] + "…"
    return "\u200b" + short.replace("$", r"\$")  # a label that starts with _ would be hidden


def _wrapped(label: str, room: int) -> str:
    """A label in lines, broken at spaces and underscores."""
    parts = textwrap.wrap(label.replace("_", " "), room, break_long_words=False) or [label]
    return "\n".join(_named(part, max(room, 12)) for part in parts[:3])


def _count(group: Mapping[str, Any], metric: Metric) -> str:
    counts = [method[metric.name]["n"] for method in group["methods"].values() if metric.name in method]
    return f"{max(counts):,}" if counts else "0"


def _axis(metric: Metric) -> str:
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.label}{unit} ({'higher' if metric.higher_is_better else 'lower'} is better)"


def measured(summary: Mapping[str, Any]) -> list[Metric]:
    """Per-picture metrics of the short table with a number for some method."""
    found = {name for method in summary["methods"].values() for name, record in method["metrics"].items() if record.get("n")}
    return [metric for metric in METRICS.values() if metric.name in found and metric.tabled and not metric.of_set]
