"""How a mask is worn: what is asked for, and what the seed decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from operators.synthesize.worn.cuts import CUTS, Placement

_PATH = (-2.0, 3.0)
_CLOSE = 0.006


@dataclass(frozen=True)
class WearStyle:
    """How a mask is worn. None leaves a property to the seed.

    `height` moves the upper edge: 0 = on the bridge of the nose, 1 = just under the nose, 2 = on the chin, below 0 =
    towards the eyes. `tilt_deg` turns the mask in the face's plane; `size` scales it; `gap_mm` is added to the air between
    cloth and skin; `wrinkles` and `shadow` scale folds and the shadow on the skin.
    """

    height: float | None = None
    tilt_deg: float | None = None
    size: float | None = None
    gap_mm: float | None = None
    wrinkles: float | None = None
    shadow: float = 1.0
    straps: bool = True


def cut_of(kind: str, rng: np.random.Generator) -> str:
    """Which of `cuts.CUTS` a type of mask has; cloth masks come in two."""
    if kind == "cloth":
        return "cloth_fitted" if rng.random() < 0.7 else "cloth_pleated"
    return "surgical" if kind.startswith("surgical") else kind


def placed_by(style: WearStyle, cut: str, rng: np.random.Generator) -> tuple[Placement, float]:
    """What the style leaves open, drawn; and how strong the wrinkles are."""
    height, tilt, size, gap = rng.normal(0, 0.16), rng.normal(0, 1.6), rng.normal(1, 0.02), rng.normal(0, 0.8)
    wrinkles, narrow, jitter = rng.uniform(0.5, 1.4), rng.uniform(-3, 13), rng.normal(0, 1.3, (18, 2))
    placement = Placement(
        float(np.clip(height, -0.4, 0.45)) if style.height is None else style.height,
        float(np.clip(tilt, -4, 4)) if style.tilt_deg is None else style.tilt_deg,
        float(np.clip(size, 0.95, 1.05)) if style.size is None else style.size,
        float(np.clip(gap, -1.5, 2.5)) if style.gap_mm is None else style.gap_mm,
        float(narrow) * CUTS[cut].loose,
        jitter,
    )
    return placement, float(wrinkles) if style.wrinkles is None else style.wrinkles


def covering(share: Callable[[Placement], float], placement: Placement, target: float) -> Placement:
    """The placement that covers `target` of the face, as near as there is one; `share` measures one."""
    ends = [share(_moved(placement, step)) for step in _PATH]
    if not ends[1] < target < ends[0]:
        return _moved(placement, _PATH[0] if target >= ends[0] else _PATH[1])
    step = _solve(lambda s: share(_moved(placement, s)), *_PATH, ends[0], ends[1], target)
    return _moved(placement, step)


def _moved(placement: Placement, step: float) -> Placement:
    """One path from a mask up to the eyes to a small one on the chin.

    Steps from -0.3 to 2 are heights of the upper edge; before them the mask grows as well, after them it only shrinks.
    """
    larger, smaller = max(-0.3 - step, 0) / 1.7, max(step - 2, 0)
    height = float(np.clip(step, -0.3, 2.0)) - 0.7 * larger
    return replace(placement, height=height, size=placement.size * (1 + 0.35 * larger) * (1 - 0.45 * smaller))


def _solve(share: Callable[[float], float], a: float, b: float, at_a: float, at_b: float, target: float) -> float:
    """Where a monotone function reaches a target between a and b (false position, Illinois variant; Dowell and Jarratt 1971)."""
    fa, fb, x = at_a - target, at_b - target, a
    for _ in range(10):
        x = (a * fb - b * fa) / (fb - fa)
        fx = share(x) - target
        if abs(fx) < _CLOSE:
            break
        if fx * fb < 0:
            a, fa = b, fb
        else:
            fa *= 0.5
        b, fb = x, fx
    return x
