"""Two evaluations side by side, picture by picture.

python -m jobs.evaluation.compare A B --output DIR [--first METHOD --second METHOD]

Writes comparison.json, comparison.md and comparison.html. Only pictures that both have count, and both have to have measured
them against the same truth and the same hole. Two methods of one evaluation are compared by naming it twice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.evaluation.catalogue import PER_IMAGE, Metric
from jobs.evaluation.rows import ROWS, Evaluated, RowsError, from_table, read_evaluated
from jobs.evaluation.summary import rounded
from jobs.storage import Storage, StorageConfig, StorageError, open_storage
from operators.metrics.intervals import LEVEL, RESAMPLES, Difference, paired_difference

FORMAT = 1
BETTER, WORSE, EQUAL, UNDECIDED = "better", "worse", "equal", "undecided"
_NAMED = 5


class CompareError(ValueError):
    """The two cannot be compared: the message says why and what to do."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a method of an evaluation, where its pictures lie, and what to call it."""

    label: str
    method: str
    evaluated: Evaluated
    storage: Storage

    def values(self, metric: str, keys: Sequence[str]) -> np.ndarray:
        """The metric of each of these pictures; NaN where there is none."""
        return self.evaluated.values[metric][self.evaluated.methods.index(self.method), places(self.evaluated, keys)]


@dataclass(frozen=True)
class Comparison:
    """Two sides, the pictures both have, the record of `comparison.json`, and the differences by metric (second - first)."""

    first: Side
    second: Side
    keys: tuple[str, ...]
    record: dict[str, Any]
    differences: dict[str, np.ndarray]

    @property
    def equal(self) -> bool:
        """Whether every number of every picture is the same on both sides."""
        return all(metric["verdict"] == EQUAL for metric in self.record["metrics"].values())


def read_side(storage: Storage) -> Evaluated:
    """The rows of an evaluation: of its metrics.parquet, or of its manifests when it has none yet."""
    if storage.exists(ROWS):
        return from_table(pq.read_table(pa.BufferReader(storage.read(ROWS))))
    return read_evaluated(storage)


def compare(
    first: Side, second: Side, *, skip_different: bool = False, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:  # fmt: skip
    """Paired differences of every metric that both have. `skip_different` leaves out pictures with another truth or hole.

    Errors: `CompareError` when no picture is common, when a method is not there, or when pictures differ in truth or hole.
    """
    for side in (first, second):
        if side.method not in side.evaluated.methods:
            there = ", ".join(side.evaluated.methods) or "none"
            raise CompareError(f"{side.label} has no method {side.method!r}; it has {there}")
    both = sorted(set(first.evaluated.keys) & set(second.evaluated.keys))
    if not both:
        raise CompareError(f"{first.label} and {second.label} have no picture in common: pictures are matched by key")
    different, unchecked = _different(first.evaluated, second.evaluated, both)
    if different and not skip_different:
        shown = "\n".join(f"  {key}: another {what}" for key, what in list(different.items())[:_NAMED])
        more = f"\n  and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
        raise CompareError(
            f"{len(different)} of {len(both)} pictures were measured against another truth or hole, so their numbers cannot be "
            f"compared:\n{shown}{more}\nEvaluate both on the same input, or leave those pictures out with --skip-different."
        )
    keys = tuple(key for key in both if key not in different)
    if not keys:
        raise CompareError(f"no picture of {first.label} and {second.label} was measured against the same truth and hole")
    people = _people(first.evaluated, keys)
    record: dict[str, Any] = {
        "format": FORMAT,
        "first": {"label": first.label, "method": first.method},
        "second": {"label": second.label, "method": second.method},
        "pictures": len(keys),
        "only_first": len(first.evaluated.keys) - len(both),
        "only_second": len(second.evaluated.keys) - len(both),
        "different": sorted(different),
        "not_checked": unchecked,
        "bootstrap": {
            "resamples": resamples,
            "level": LEVEL,
            "seed": seed,
            "drawn": "pictures" if people is None else "people",
        },
        "metrics": {},
    }
    differences = {}
    for metric in PER_IMAGE:
        one, two = first.values(metric.name, keys), second.values(metric.name, keys)
        known = ~(np.isnan(one) | np.isnan(two))
        if known.any():
            record["metrics"][metric.name] = _metric(metric, one, two, people, resamples, seed)
            with np.errstate(invalid="ignore"):
                differences[metric.name] = np.where(known, np.where(one == two, 0.0, two - one), np.nan)
    if not record["metrics"]:
        raise CompareError(f"no metric has a value in both {first.label} and {second.label}")
    return Comparison(first, second, keys, rounded(record), differences)


def _metric(
    metric: Metric, one: np.ndarray, two: np.ndarray, people: Sequence[str] | None, resamples: int, seed: int
) -> dict[str, Any]:  # fmt: skip
    found = paired_difference(
        one, two, people, higher_is_better=metric.higher_is_better, resamples=resamples, level=LEVEL, seed=seed
    )  # fmt: skip
    finite = np.isfinite(one) & np.isfinite(two)
    return {
        "n": int((~(np.isnan(one) | np.isnan(two))).sum()),
        "first": float(one[finite].mean()) if finite.any() else None,
        "second": float(two[finite].mean()) if finite.any() else None,
        "infinite": [int(np.isinf(values).sum()) for values in (one, two)],
        "difference": found.mean.value,
        "low": found.mean.low,
        "high": found.mean.high,
        "better": found.better,
        "ties": found.ties,
        "verdict": verdict(metric, found),
    }


def verdict(metric: Metric, found: Difference) -> str:
    """`better` or `worse` where the interval of second - first leaves out 0, `equal` where every pair is, else `undecided`."""
    mean = found.mean
    if mean.n and found.ties == mean.n:
        return EQUAL
    if mean.low > 0 or mean.high < 0:
        return BETTER if (mean.low > 0) == metric.higher_is_better else WORSE
    return UNDECIDED


def most_different(comparison: Comparison, metric: Metric, count: int = 6) -> dict[str, list[str]]:
    """Pictures that `gained` and `lost` most by a metric, most first; no picture that did not change."""
    difference = comparison.differences[metric.name] * (1 if metric.higher_is_better else -1)
    known = np.flatnonzero(~np.isnan(difference))
    order = known[np.argsort(-difference[known], kind="stable")]
    gained = [comparison.keys[j] for j in order if difference[j] > 0]
    lost = [comparison.keys[j] for j in order[::-1] if difference[j] < 0]
    return {"gained": gained[:count], "lost": lost[:count]}


def places(evaluated: Evaluated, keys: Sequence[str]) -> np.ndarray:
    """Where these pictures stand in the arrays of an evaluation."""
    at = {key: j for j, key in enumerate(evaluated.keys)}
    return np.array([at[key] for key in keys], np.int64)


def _different(one: Evaluated, two: Evaluated, keys: Sequence[str]) -> tuple[dict[str, str], int]:
    """Pictures with another truth or hole, and how many could not be checked for want of a hash."""
    at, to = places(one, keys), places(two, keys)
    out: dict[str, str] = {}
    unchecked = 0
    for key, i, j in zip(keys, at, to, strict=True):
        for name, what in (("truth_sha256", "truth"), ("mask_sha256", "hole")):
            a, b = one.facts[name][i], two.facts[name][j]
            if a and b and a != b:
                out.setdefault(key, what)
        unchecked += not (one.facts["truth_sha256"][i] and two.facts["truth_sha256"][j])
    return out, unchecked


def _people(evaluated: Evaluated, keys: Sequence[str]) -> list[str] | None:
    subjects = evaluated.subjects
    if subjects is None:
        return None
    return [subjects[j] for j in places(evaluated, keys)]


def _sides(options: argparse.Namespace, config: StorageConfig) -> list[tuple[Side, Side]]:
    """The pairs to compare: the two methods that were named, or each method that both have."""
    stores = [open_storage(uri, config) for uri in (options.a, options.b)]
    read = [read_side(storage) for storage in stores]
    labels = _labels(options.a, options.b)
    if options.first or options.second:
        named = options.first or options.second, options.second or options.first
        pairs = [named]
    else:
        pairs = [(name, name) for name in read[0].methods if name in read[1].methods]
        if not pairs:
            have = "; ".join(f"{label} has {', '.join(e.methods)}" for label, e in zip(labels, read, strict=True))
            raise CompareError(f"no method is in both ({have}): name them with --first and --second")
    return [
        (Side(labels[0], one, read[0], stores[0]), Side(labels[1], two, read[1], stores[1])) for one, two in pairs
    ]  # fmt: skip


def _labels(a: str, b: str) -> tuple[str, str]:
    """The shortest ends of two paths that tell them apart."""
    one, two = ([part for part in uri.rstrip("/").split("/") if part] or ["."] for uri in (a, b))
    for n in range(1, max(len(one), len(two)) + 1):
        if one[-n:] != two[-n:]:
            return "/".join(one[-n:]), "/".join(two[-n:])
    return "/".join(one[-1:]), "/".join(two[-1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m jobs.evaluation.compare A B --output DIR`. Returns the exit code: 0 done, 2 not comparable, 3 storage."""
    parser = argparse.ArgumentParser(prog="python -m jobs.evaluation.compare", description="Two evaluations, picture by picture.")
    parser.add_argument("a", help="output of an evaluation: a folder or s3://bucket/prefix")
    parser.add_argument("b", help="output of another, or the same; differences are B - A")
    parser.add_argument("--output", required=True, help="folder or s3://bucket/prefix for comparison.json, .md and .html")
    parser.add_argument("--first", default="", help="method of A (default: every method that both have)")
    parser.add_argument("--second", default="", help="method of B")
    parser.add_argument("--examples", type=int, default=6, help="how many pictures that gained and lost most are shown")
    parser.add_argument("--skip-different", action="store_true", help="leave out pictures with another truth or hole")
    parser.add_argument("--endpoint", default=None, help="S3-compatible endpoint, e.g. http://127.0.0.1:7480")
    options = parser.parse_args(arguments)
    from jobs.evaluation.compare_page import terminal_text, write_comparisons

    config = StorageConfig(endpoint=options.endpoint)
    try:
        found = [compare(one, two, skip_different=options.skip_different) for one, two in _sides(options, config)]
        found.sort(key=lambda comparison: comparison.equal)  # what differs comes first
        files = write_comparisons(open_storage(options.output, config), found, options.examples)
    except (CompareError, RowsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StorageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print("\n\n".join(terminal_text(comparison) for comparison in found))
    print(f"\nwrote {', '.join(files)} to {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
