"""From rows to `summary.json`: every mean with n, what is missing and why, and its bootstrap interval.

Methods are compared on the pictures that all of them have: a metric's `n` is the same for every method that has the metric
at all, and what a method has beyond that stands under `all`. Infinite PSNR (a region identical to the truth) is counted
under `infinite` and left out of means and medians; `pooled` is the PSNR of the mean squared error, in which it is an error of 0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.evaluation.catalogue import METRICS, NOT_AVAILABLE, OF_SETS, PER_IMAGE, Metric
from jobs.evaluation.rows import Evaluated
from operators.metrics.intervals import LEVEL, RESAMPLES, bootstrap_means
from operators.metrics.pixels import mean_psnr_db
from operators.types import OK

SUMMARY = "summary.json"
FORMAT = 1
FEW = 10
"""Of fewer people the percentile bootstrap is known to give intervals that are too narrow."""
_YAWS = (0.0, 15.0, 30.0, 45.0, 60.0, 181.0)
DIMENSIONS = {"group": "group", "mask_type": "mask", "coverage": "coverage of the face", "yaw": "turn of the head"}


@dataclass(frozen=True)
class SummaryOptions:
    """How rows are summarised.

    `order` puts methods first in this order; `seconds` is seconds per picture by method; `unavailable` says of a network or
    a metric why it has no numbers (of a network whose metrics have none at all, that is said without asking).
    """

    order: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    resamples: int = RESAMPLES
    seed: int = 0
    worst: int = 5


DEFAULTS = SummaryOptions()


def summarise(evaluated: Evaluated, options: SummaryOptions = DEFAULTS) -> dict[str, Any]:
    """The content of `summary.json`: plain JSON types, numbers rounded to six digits, null where a number does not exist."""
    methods = ordered(evaluated.methods, options.order)
    index = [evaluated.methods.index(name) for name in methods]
    clusters = evaluated.subjects
    have = [metric for metric in PER_IMAGE if np.isfinite(evaluated.values[metric.name]).any()]
    absent = _unavailable(evaluated, options.unavailable)
    out: dict[str, Any] = {
        "format": FORMAT,
        "pictures": len(evaluated.keys),
        "people": len({name for name in evaluated.facts["subject"] if name}) or None,
        "pictures_sha256": hashlib.sha256("\n".join(evaluated.keys).encode()).hexdigest(),
        "paired": _paired_record(evaluated, index),
        "bootstrap": {
            "resamples": options.resamples,
            "level": LEVEL,
            "seed": options.seed,
            "drawn": "people" if clusters is not None else "pictures",
        },
        "unavailable": absent,
        "methods": {name: _method_record(evaluated, i, options) for name, i in zip(methods, index, strict=True)},
        "groups": {},
        "warnings": list(evaluated.notes),
    }
    for metric, columns in _statistics(evaluated, have, index, clusters, options).items():
        for name, record in zip(methods, columns, strict=True):
            if record is not None:
                out["methods"][name]["metrics"][metric] = record
    for metric in METRICS.values():
        if metric.name in absent:
            for name in methods:
                out["methods"][name]["metrics"][metric.name] = {"unavailable": absent[metric.name]}
    _add_set_metrics(out, evaluated, methods, options)
    for dimension, labels in dimensions(evaluated).items():
        out["groups"][dimension] = _group_records(evaluated, labels, have, methods, index, clusters, options)
    out["warnings"] += _warnings(out, evaluated)
    return rounded(out)


def ordered(methods: Sequence[str], order: Sequence[str]) -> list[str]:
    """Those of `order` first, the others by name."""
    return [name for name in order if name in methods] + sorted(set(methods) - set(order))


def paired(values: np.ndarray) -> np.ndarray:
    """Pictures for which every method that has this metric at all has a value; infinity is one."""
    known = ~np.isnan(values)
    used = known.any(1, keepdims=True)
    return np.asarray((known | ~used).all(0) & used.any())


def dimensions(evaluated: Evaluated) -> dict[str, np.ndarray]:
    """What pictures can be grouped by, where there are at least two groups: a label for each picture, empty = none."""
    about = evaluated.about
    found = {
        "group": evaluated.facts["group"],
        "mask_type": evaluated.facts["mask_type"],
        "coverage": np.array([_band(value) for value in about["coverage"]], object),
        "yaw": np.array([_turn(value) for value in about["yaw_deg"]], object),
    }
    return {name: labels for name, labels in found.items() if len({label for label in labels if label}) > 1}


def summary_bytes(summary: Mapping[str, Any]) -> bytes:
    """`summary.json`, the same bytes for the same numbers."""
    return (json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def rounded(value: Any) -> Any:
    """Floats to six significant digits (sums may be taken in another order elsewhere), NaN and infinity to None."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _statistics(
    evaluated: Evaluated, metrics: Sequence[Metric], index: Sequence[int], clusters: Sequence[str] | None, options: SummaryOptions
) -> dict[str, list[dict[str, Any] | None]]:
    """Metric -> record of each method in `index` order, None for a method without the metric."""
    stacked, pairs = [], []
    for metric in metrics:
        values = evaluated.values[metric.name][index]
        pairs.append(paired(values))
        stacked.append(np.where(pairs[-1], values, np.nan))
    if not stacked:
        return {}
    means = bootstrap_means(
        np.concatenate(stacked).T, clusters, resamples=options.resamples, level=LEVEL, seed=options.seed
    )  # fmt: skip
    out: dict[str, list[dict[str, Any] | None]] = {}
    for number, metric in enumerate(metrics):
        raw = evaluated.values[metric.name][index]
        records: list[dict[str, Any] | None] = []
        for i, own in enumerate(raw):
            if np.isnan(own).all():
                records.append(None)
                continue
            used = stacked[number][i]
            interval = means[number * len(index) + i]
            finite = used[np.isfinite(used)]
            record: dict[str, Any] = {
                "n": interval.n,
                "mean": interval.value,
                "low": interval.low,
                "high": interval.high,
                "median": float(np.median(finite)) if len(finite) else math.nan,
                "people": interval.clusters if clusters is not None else None,
                "missing": _missing(evaluated.status[index[i]], own),
                "left_out": int((~np.isnan(own) & ~pairs[number]).sum()),
                "all": {"n": int(np.isfinite(own).sum()), "mean": _mean(own)},
                "worst": _worst(evaluated.keys, used, metric, options.worst),
            }
            if np.isinf(used).any():
                record["infinite"] = int(np.isinf(used).sum())
            if metric.name.startswith("psnr"):
                record["pooled"] = mean_psnr_db(used).pooled_db
            records.append(record)
        out[metric.name] = records
    return out


def _group_records(
    evaluated: Evaluated, labels: np.ndarray, metrics: Sequence[Metric], methods: Sequence[str], index: Sequence[int],
    clusters: Sequence[str] | None, options: SummaryOptions,
) -> dict[str, Any]:  # fmt: skip
    out: dict[str, Any] = {}
    for label in sorted({label for label in labels if label}, key=_natural):
        inside = labels == label
        whose = [name for name, keep in zip(clusters, inside, strict=True) if keep] if clusters is not None else None
        stacked = [
            np.where(paired(evaluated.values[metric.name][index]) & inside, evaluated.values[metric.name][index], np.nan)[
                :, inside
            ]
            for metric in metrics
        ]
        means = (
            bootstrap_means(np.concatenate(stacked).T, whose, resamples=options.resamples, seed=options.seed) if stacked else []
        )
        record: dict[str, Any] = {"pictures": int(inside.sum()), "methods": {name: {} for name in methods}}
        for k, interval in enumerate(means):
            if interval.n:
                metric, name = metrics[k // len(methods)], methods[k % len(methods)]
                record["methods"][name][metric.name] = {
                    "n": interval.n,
                    "mean": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                }
        out[str(label)] = record
    return out


def _paired_record(evaluated: Evaluated, index: Sequence[int]) -> dict[str, Any]:
    both = paired(evaluated.values["psnr_hole_db"][index]) if index else np.zeros(len(evaluated.keys), bool)
    names = evaluated.subjects
    if names is None:  # all named, and the same: one person; else nobody knows how many
        names = list(evaluated.facts["subject"]) if all(evaluated.facts["subject"]) else []
    people = {name for name, keep in zip(names, both, strict=False) if keep}
    return {"pictures": int(both.sum()), "people": len(people) or None}


def _method_record(evaluated: Evaluated, i: int, options: SummaryOptions) -> dict[str, Any]:
    name = evaluated.methods[i]
    return {
        "statuses": dict(sorted(Counter(str(status) for status in evaluated.status[i]).items())),
        "seconds_per_picture": options.seconds.get(name),
        "metrics": {},
    }


def _missing(status: np.ndarray, own: np.ndarray) -> dict[str, int]:
    """How many pictures have no value, by the status of their row; `not measured` where the row is fine."""
    reasons = Counter("not measured" if status[j] == OK else str(status[j]) for j in np.flatnonzero(np.isnan(own)))
    return dict(sorted(reasons.items()))


def _worst(keys: Sequence[str], used: np.ndarray, metric: Metric, count: int) -> list[str]:
    known = np.flatnonzero(np.isfinite(used))
    order = np.argsort(used[known] if metric.higher_is_better else -used[known], kind="stable")
    return [str(keys[j]) for j in known[order[:count]]]


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _unavailable(evaluated: Evaluated, given: Mapping[str, str]) -> dict[str, str]:
    """Metric -> why it has no number. Only metrics that need a network, or that the caller names."""
    out: dict[str, str] = {}
    for metric in METRICS.values():
        found = bool(evaluated.features) if metric.of_set else not np.isnan(evaluated.values[metric.name]).all()
        reason = given.get(metric.name) or given.get(metric.needs) or (NOT_AVAILABLE if metric.needs and not found else "")
        if reason:
            out[metric.name] = reason
    return out


def _add_set_metrics(out: dict[str, Any], evaluated: Evaluated, methods: Sequence[str], options: SummaryOptions) -> None:
    from jobs.evaluation.sets import set_metrics

    wanted = [metric.name for metric in OF_SETS if metric.name not in out["unavailable"]]
    if not wanted:
        return
    for name, records in set_metrics(evaluated, methods, seed=options.seed).items():
        kept = {metric: record for metric, record in records.items() if metric in wanted}
        out["methods"][name]["metrics"] |= kept
        out["unavailable"] |= {metric: record["unavailable"] for metric, record in kept.items() if "unavailable" in record}


def _warnings(out: Mapping[str, Any], evaluated: Evaluated) -> list[str]:
    lines = []
    for name, method in out["methods"].items():
        if not any(record.get("n") or record.get("infinite") for record in method["metrics"].values()):
            lines.append(f"{name} has no numbers: {_why(evaluated, name)}")
    named = {name for name in evaluated.facts["subject"] if name}
    if out["bootstrap"]["drawn"] == "pictures":
        everyone = "every picture shows the same person" if all(evaluated.facts["subject"]) else "only one person is named"
        why = everyone if len(named) == 1 else "nobody is named"
        lines.append(f"intervals are over pictures, not over people: {why}")
    drawn = out["paired"]["people"] if out["bootstrap"]["drawn"] == "people" else out["paired"]["pictures"]
    if 1 < (drawn or 0) < FEW:
        lines.append(f"intervals from {drawn} {out['bootstrap']['drawn']} are rough, and rather too narrow")
    said = [
        record["warning"] for method in out["methods"].values() for record in method["metrics"].values() if "warning" in record
    ]
    return lines + list(dict.fromkeys(said))


def _why(evaluated: Evaluated, method: str) -> str:
    """What became of a method's pictures, with the commonest message."""
    i = evaluated.methods.index(method)
    statuses = Counter(str(status) for status in evaluated.status[i])
    messages = Counter(
        row["error_message"] for row in evaluated.table.select(["method", "error_message"]).to_pylist() if row["method"] == method
    )
    said = next((text for text, _ in messages.most_common() if text), "")
    return ", ".join(f"{count:,} {status}" for status, count in statuses.most_common()) + (f" ({said})" if said else "")


def _band(coverage: float) -> str:
    if not math.isfinite(coverage):
        return ""
    low = min(math.floor(coverage * 10 + 1e-9), 9) * 10
    return f"{low}–{low + 10} %"


def _turn(yaw_deg: float) -> str:
    if not math.isfinite(yaw_deg):
        return ""
    k = max(i for i, edge in enumerate(_YAWS) if abs(yaw_deg) >= edge)
    return f"{_YAWS[k]:.0f}–{_YAWS[k + 1]:.0f}°" if k < len(_YAWS) - 2 else f"over {_YAWS[-2]:.0f}°"


def _natural(label: str) -> tuple[float, str]:
    head = str(label).partition("–")[0]
    return (float(head), str(label)) if head.isdigit() else (math.inf, str(label))
