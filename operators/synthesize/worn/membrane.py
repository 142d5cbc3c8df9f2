"""Taut cloth over a bumpy surface, as an obstacle problem.

Points are C + d / w with unit directions d, so a plane is a w that is linear in d: a straight chord between two neighbours
says what w a node between them would have. Cloth under tension takes the mean of its chords, and never goes below the skin.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float

from operators.compiled import kernel


def stencil(directions: Float[np.ndarray, "rows columns 3"], across: float) -> Float[np.ndarray, "rows columns 4"]:
    """What w at a node takes from its left, right, upper and lower neighbour; `across` is the sideways share of the tension."""
    d = directions.astype(np.float64)
    left, right, up, down = d[1:-1, :-2], d[1:-1, 2:], d[:-2, 1:-1], d[2:, 1:-1]
    node = d[1:-1, 1:-1]
    out = np.zeros((*d.shape[:2], 4))
    inner = out[1:-1, 1:-1]
    for share, one, two, first, second in (
        (across, 0, 1, (left, right), (up, down)),
        (1 - across, 2, 3, (up, down), (left, right)),
    ):
        total = first[0] + first[1]
        along = (total * node).sum(-1)
        other = second[1] - second[0]
        slip = ((total - along[..., None] * node) * other).sum(-1) / np.maximum((other * other).sum(-1), 1e-12)
        a, b = (2, 3) if one == 0 else (0, 1)
        inner[..., one] += share / along
        inner[..., two] += share / along
        inner[..., a] += share * slip / along
        inner[..., b] -= share * slip / along
    return out


@kernel
@no_type_check
def relax(w, most, weights, pressure, rounds, over):
    """Successive over-relaxation with projection (Cryer 1971): w <= most everywhere, the rim stays. In place."""
    rows, columns = w.shape
    for _ in range(rounds):
        for i in range(1, rows - 1):
            for j in range(1, columns - 1):
                a = weights[i, j]
                target = a[0] * w[i, j - 1] + a[1] * w[i, j + 1] + a[2] * w[i - 1, j] + a[3] * w[i + 1, j] - pressure[i, j]
                value = w[i, j] + over * (target - w[i, j])
                w[i, j] = min(max(value, 0.25 * most[i, j]), most[i, j])


@kernel
@no_type_check
def taut(w, most, cosines, rounds):
    """A string over the skin: the same along one curve; `cosines` are those between neighbouring directions."""
    n = len(w)
    for _ in range(rounds):
        for i in range(1, n - 1):
            target = (w[i - 1] + w[i + 1]) / (cosines[i - 1] + cosines[i])
            value = w[i] + 1.7 * (target - w[i])
            w[i] = min(max(value, 0.25 * most[i]), most[i])


def string(directions: Float[np.ndarray, "n 3"], most: Float[np.ndarray, " n"], rounds: int = 60) -> Float[np.ndarray, " n"]:
    """w along a taut string between two fixed ends."""
    cosines = (directions[1:] * directions[:-1]).sum(-1).astype(np.float64)
    w = most.astype(np.float64).copy()
    taut(w, most.astype(np.float64), cosines, rounds)
    return w
