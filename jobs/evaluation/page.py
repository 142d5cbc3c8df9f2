"""report.html of an evaluation: numbers first, then plots, then the pictures behind them. One file, no network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jobs.evaluation.catalogue import METRICS, Metric
from jobs.evaluation.html_parts import GUESS, document, dot, figure, method_boxes, number_cell, picture_source, span_of
from jobs.evaluation.plots import colours, for_page
from jobs.evaluation.rows import Evaluated
from jobs.evaluation.sheets import Example, files_of, value_text
from jobs.evaluation.summary import DIMENSIONS, dimensions
from jobs.evaluation.table import NOTHING, cell, compared, notes
from jobs.storage import Storage
from operators.types import OK

_PLOT_HEADS = {"distribution": "distribution over pictures", **{k: f"by {v}" for k, v in DIMENSIONS.items()}}
_ROLES = {"worst": "worst", "median": "median", "best": "best"}


def render_page(
    storage: Storage, evaluated: Evaluated, summary: Mapping[str, Any], plots: Mapping[tuple[str, str], str],
    examples: Sequence[Example], ranked_by: Metric, title: str, embed: bool,
) -> str:  # fmt: skip
    """The whole HTML text. Pictures are linked beside the page, or inside it with `embed`; names from outside are escaped."""
    methods = list(summary["methods"])
    colour = colours(methods)
    groups = group_labels(evaluated)
    tables = _numbers(summary, methods, colour) + _notes(summary) + _every(summary, methods, colour)
    body = [
        f'<section id="numbers"><h2>Numbers</h2>{tables}</section>',
        _missing(summary, methods, colour),
        _plots(plots),
        _examples(storage, evaluated, examples, ranked_by, methods, colour, groups, embed),
    ]
    chips = {"pictures": f"{summary['pictures']:,}", "methods": f"{len(methods)}"}
    if summary["people"]:
        chips["people"] = f"{summary['people']:,}"
    chips["compared on"] = f"{summary['paired']['pictures']:,}"
    shown = list(dict.fromkeys(metric for metric, _ in plots)) if summary["groups"] else []
    controls = method_boxes(methods, colour) + _selects(summary, shown, bool(examples))
    return document(title, GUESS, chips, controls, "".join(body), "evaluation.js")


def group_labels(evaluated: Evaluated) -> dict[str, list[str]]:
    """Picture -> the names of its groups as the page's filter writes them."""
    found = dimensions(evaluated)
    return {
        key: [f"{dimension}:{labels[j]}" for dimension, labels in found.items() if labels[j]]
        for j, key in enumerate(evaluated.keys)
    }


def _selects(summary: Mapping[str, Any], metrics: Sequence[str], pictures: bool) -> str:
    parts = ""
    if summary["groups"]:
        options = "".join(
            f'<optgroup label="{html.escape(DIMENSIONS[dimension])}">'
            + "".join(
                f'<option value="{html.escape(f"{dimension}:{label}")}">{html.escape(label)} ({group["pictures"]})</option>'
                for label, group in groups.items()
            )
            + "</optgroup>"
            for dimension, groups in summary["groups"].items()
        )
        parts += f'<label>group <select id="group"><option value="">all</option>{options}</select></label>'
    if metrics:
        options = "".join(f'<option value="{name}">{html.escape(METRICS[name].label)}</option>' for name in metrics)
        parts += f'<label>plots of <select id="metric">{options}</select></label>'
    if pictures:
        options = "".join(f'<option value="{role}">{label}</option>' for role, label in _ROLES.items())
        parts += f'<label>pictures <select id="role"><option value="">all</option>{options}</select></label>'
        parts += '<label>name <input id="find" type="search" placeholder="part of a name"></label>'
    return parts


def _numbers(summary: Mapping[str, Any], methods: Sequence[str], colour: Mapping[str, str]) -> str:
    every = {name: summary["methods"][name]["metrics"] for name in methods}
    shown = [m for m in METRICS.values() if m.tabled and any(m.name in records for records in every.values())]
    timed = any(summary["methods"][name]["seconds_per_picture"] is not None for name in methods)
    heads = "".join(
        f'<th title="{html.escape(metric.doc)}">{html.escape(metric.label)} {"↑" if metric.higher_is_better else "↓"}'
        f"<small>{html.escape(metric.unit) or '&nbsp;'}</small></th>"
        for metric in shown
    )
    bodies = _body("", every, shown, methods, colour, summary, timed)
    for dimension, groups in summary["groups"].items():
        for label, group in groups.items():
            missing = {name: {metric: {"unavailable": why} for metric, why in summary["unavailable"].items()} for name in methods}
            records = {name: missing[name] | group["methods"].get(name, {}) for name in methods}
            bodies += _body(f"{dimension}:{label}", records, shown, methods, colour, summary, timed)
    last = "<th>seconds<small>per picture</small></th>" if timed else ""
    return f'<div class="panel"><table><thead><tr><th>method</th><th>n</th>{heads}{last}</tr></thead>{bodies}</table></div>'


def _body(
    group: str, every: Mapping[str, Mapping[str, Any]], shown: Sequence[Metric], methods: Sequence[str],
    colour: Mapping[str, str], summary: Mapping[str, Any], timed: bool,
) -> str:  # fmt: skip
    columns = {metric.name: [every[name].get(metric.name) for name in methods] for metric in shown}
    spans = {name: span_of(records) for name, records in columns.items()}
    best = {metric.name: _best(metric, columns[metric.name]) for metric in shown}
    rows = ""
    for i, name in enumerate(methods):
        cells = "".join(
            number_cell(m, columns[m.name][i], spans[m.name], colour[name], best[m.name] == i) for m in shown
        )  # fmt: skip
        count = compared({"metrics": every[name]})
        seconds = summary["methods"][name]["seconds_per_picture"]
        last = f"<td><b>{NOTHING if seconds is None else f'{seconds:.3g}'}</b></td>" if timed else ""
        rows += (
            f'<tr data-method="{i}"><th>{dot(colour[name])} {html.escape(name)}</th><td><b>{count:,}</b></td>{cells}{last}</tr>'
        )
    return f'<tbody data-group="{html.escape(group)}"{" hidden" if group else ""}>{rows}</tbody>'


def _best(metric: Metric, records: Sequence[Mapping[str, Any] | None]) -> int | None:
    known = [(record["mean"], i) for i, record in enumerate(records) if record and record.get("mean") is not None]
    if len(known) < 2 or len({mean for mean, _ in known}) == 1:
        return None
    return (max if metric.higher_is_better else min)(known)[1]


def _notes(summary: Mapping[str, Any]) -> str:
    lines = [
        *notes(summary),
        "● marks the best mean of a column; whether a difference is more than chance, a comparison of runs says.",
    ]
    return '<ul class="notes">' + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _every(summary: Mapping[str, Any], methods: Sequence[str], colour: Mapping[str, str]) -> str:
    """All metrics, a row each, with medians: folded, for those who want them."""
    records = {name: summary["methods"][name]["metrics"] for name in methods}
    measured = [m for m in METRICS.values() if any(r.get(m.name, {}).get("mean") is not None for r in records.values())]
    heads = "".join(f'<th data-method="{i}">{dot(colour[name])} {html.escape(name)}</th>' for i, name in enumerate(methods))
    rows = ""
    for metric in measured:
        cells = ""
        for i, name in enumerate(methods):
            record = records[name].get(metric.name)
            median = record.get("median") if record else None
            more = f"<small>median {metric.text(median)}, n {record['n']:,}</small>" if record and median is not None else ""
            cells += f'<td data-method="{i}">{html.escape(cell(metric, record))}{more}</td>'
        unit = f", {metric.unit}" if metric.unit else ""
        arrow = "↑" if metric.higher_is_better else "↓"
        rows += f"<tr><th>{html.escape(metric.label + unit)} {arrow}<small>{html.escape(metric.doc)}</small></th>{cells}</tr>"
    table = f"<table><thead><tr><th>metric</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<details><summary>all metrics, with medians</summary><div class="panel narrow">{table}</div></details>'


def _missing(summary: Mapping[str, Any], methods: Sequence[str], colour: Mapping[str, str]) -> str:
    """Pictures by status; nothing when every method has all of them."""
    found = dict.fromkeys(status for name in methods for status in summary["methods"][name]["statuses"])
    if set(found) <= {OK}:
        return ""
    heads = "".join(f"<th>{html.escape(status.replace('_', ' '))}</th>" for status in found)
    rows = "".join(
        f'<tr data-method="{i}"><th>{dot(colour[name])} {html.escape(name)}</th>'
        + "".join(f"<td>{summary['methods'][name]['statuses'].get(status, 0):,}</td>" for status in found)
        + "</tr>"
        for i, name in enumerate(methods)
    )
    table = f"<table><thead><tr><th>method</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<section id="missing"><h2>What became of the pictures</h2><div class="panel narrow">{table}</div></section>'


def _plots(plots: Mapping[tuple[str, str], str]) -> str:
    if not plots:
        return ""
    several = any(what != "distribution" for _, what in plots)  # else they are few enough to stand together
    first, figures = next(iter(plots))[0], ""
    for (metric, what), svg in plots.items():
        data = f' data-metric="{metric}"{"" if metric == first else " hidden"}' if several else ""
        caption = html.escape(f"{METRICS[metric].label}, {_PLOT_HEADS[what]}")
        figures += f"<figure{data}><figcaption>{caption}</figcaption>{for_page(svg)}</figure>"
    legend = (
        "Means with 95 % intervals; in distributions the bar is the middle half of the pictures, the stroke in it the median."
    )
    return f'<section id="plots"><h2>Plots</h2><div class="plots">{figures}</div><p class="notes">{legend}</p></section>'


def _examples(
    storage: Storage, evaluated: Evaluated, examples: Sequence[Example], ranked_by: Metric, methods: Sequence[str],
    colour: Mapping[str, str], groups: Mapping[str, list[str]], embed: bool,
) -> str:  # fmt: skip
    """A card per picture that is an example of something; worst first."""
    order = list(_ROLES)
    cards: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda e: (order.index(e.role), methods.index(e.method))):
        cards.setdefault(example.key, []).append(example)
    if not cards:
        return ""
    text = ""
    for key, tags in cards.items():
        j = evaluated.keys.index(key)
        values = evaluated.values[ranked_by.name][[evaluated.methods.index(name) for name in methods], j]
        files = [picture_source(storage, file, embed) for file in files_of(evaluated, key, methods)]
        figures = figure(files[0], "masked") + figure(files[1], "truth")
        for i, name in enumerate(methods):
            shown = value_text(ranked_by, float(values[i]))
            figures += figure(files[2 + i], name, shown, colour[name], i)
        facts = [str(evaluated.facts[name][j]) for name in ("group", "mask_type") if evaluated.facts[name][j]]
        coverage, yaw = evaluated.about["coverage"][j], evaluated.about["yaw_deg"][j]
        facts += [f"{100 * coverage:.0f} % covered"] if np.isfinite(coverage) else []
        facts += [f"turned {yaw:.0f}°".replace("-", "−")] if np.isfinite(yaw) else []
        chips = "".join(
            f'<span class="tag" data-method="{methods.index(tag.method)}">'
            f"{dot(colour[tag.method])}{tag.role} of {html.escape(tag.method)}</span>"
            for tag in tags
        )
        marks = " ".join(f"{methods.index(tag.method)}:{tag.role}" for tag in tags)
        text += (
            f'<article class="example" data-key="{html.escape(key)}" data-tags="{marks}"'
            f' data-groups="{html.escape(chr(10).join(groups[key]))}"><header><h3>{html.escape(key)}</h3>{chips}'
            f"<span>{html.escape(' · '.join(facts))}</span></header>"
            f'<div class="cells" style="--cells:{len(methods) + 2}">{figures}</div></article>'
        )
    head = f"<h2>Pictures: worst, median and best of each method by {html.escape(ranked_by.label)}</h2>"
    none = '<p id="none" hidden>Nothing fits the filter.</p>'
    return f'<section id="pictures">{head}<div class="examples">{text}</div>{none}</section>'
