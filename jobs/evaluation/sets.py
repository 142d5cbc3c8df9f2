"""FID, KID, P-IDS and U-IDS of each method against the truth, on the pictures that all have features of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.evaluation.catalogue import TRUTH
from jobs.evaluation.rows import Evaluated

SCALES = {"kid": 1000.0, "fid": 1.0, "p_ids": 100.0, "u_ids": 100.0}
"""From the measures' own units to those of the tables."""


def set_metrics(evaluated: Evaluated, methods: Sequence[str], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Method -> metric -> record (n, mean, low, high, warning); empty when there are no features of the truth.

    Methods without any features are left out; the others are measured on the same pictures, each beside its truth.
    """
    from operators.metrics import sets

    measures = {
        "kid": sets.kernel_distance,
        "fid": sets.frechet_distance,
        "p_ids": sets.paired_inception_discriminative_score,
        "u_ids": sets.unpaired_inception_discriminative_score,
    }
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
        out[name] = {}
        for metric, measure in measures.items():
            found, scale = measure(features[name], features[TRUTH], seed=seed), SCALES[metric]
            low, value, high = (float(np.float64(x) * scale) for x in (found.low, found.value, found.high))
            out[name][metric] = {"n": found.n, "mean": value, "low": low, "high": high}
            if found.warning:
                out[name][metric]["warning"] = found.warning
    return out
