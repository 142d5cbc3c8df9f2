"""FID, KID, P-IDS and U-IDS of each method against the truth, on the pictures that all have features of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.evaluation.catalogue import TRUTH
from jobs.evaluation.rows import Evaluated

SCALES = {"kid": 1000.0, "fid": 1.0, "p_ids": 100.0, "u_ids": 100.0}
"""From the measures' own units to those of the tables."""


def set_metrics(evaluated: Evaluated, methods: Sequence[str], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Method -> metric -> record (n, mean, low, high, warning); empty when there are no features of the truth.

    Methods without any features are left out; the others are measured on the same pictures, each beside its truth.
    """
    from operators.metrics import sets

    names = [name for name in methods if name in evaluated.features]
    if TRUTH not in evaluated.features or not names:
        return {}
    rows = {name: {key: i for i, key in enumerate(evaluated.features[name][0])} for name in (TRUTH, *names)}
    keys = sorted(set.intersection(*(set(places) for places in rows.values())))
    if len(keys) < 2:
        return {}
    features = {name: evaluated.features[name][1][[rows[name][key] for key in keys]] for name in rows}
    out: dict[str, dict[str, Any]] = {}
    for name in names:
        pair = features[name], features[TRUTH]
        found = {
            "kid": sets.kernel_distance(*pair, paired=True, seed=seed),
            "fid": sets.frechet_distance(*pair, paired=True, seed=seed),
        }
        out[name] = {}
        try:
            found["p_ids"], found["u_ids"] = sets.discriminative_scores(*pair, seed=seed)
        except ModuleNotFoundError as error:  # the classifier's library is optional
            out[name] = {metric: {"unavailable": f"not installed: {error.name}"} for metric in ("p_ids", "u_ids")}
        out[name] |= {metric: _record(measure, SCALES[metric]) for metric, measure in found.items()}
    return out


def _record(measure: Any, scale: float) -> dict[str, Any]:
    low, value, high = (float(x) * scale for x in (measure.low, measure.value, measure.high))
    record = {"n": measure.n, "mean": value, "low": low, "high": high, "resamples": measure.resamples}
    return record | ({"warning": measure.warning} if measure.warning else {})
