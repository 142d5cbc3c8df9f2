"""How masks are worn: what the style fixes, what the seed draws, and how a coverage is reached."""

from __future__ import annotations

import numpy as np
import pytest

from operators.synthesize.worn.cuts import CUTS, Placement
from operators.synthesize.worn.style import WearStyle, covering, cut_of, placed_by


def test_a_style_fixes_what_it_names_and_leaves_the_rest_to_the_seed() -> None:
    drawn = [placed_by(WearStyle(height=0.7), "surgical", np.random.default_rng(seed)) for seed in range(40)]
    assert {placement.height for placement, _ in drawn} == {0.7}
    assert len({placement.tilt_deg for placement, _ in drawn}) > 30
    free = [placed_by(WearStyle(), "surgical", np.random.default_rng(seed))[0] for seed in range(40)]
    assert min(p.height for p in free) >= -0.4 and max(p.height for p in free) <= 0.45
    assert [p.tilt_deg for p in free] == [p.tilt_deg for p, _ in drawn]


def test_every_type_has_a_cut_and_cloth_has_two() -> None:
    kinds = ("surgical", "surgical_white", "n95", "kn95", "cloth", "gas")
    found = {kind: {cut_of(kind, np.random.default_rng(seed)) for seed in range(30)} for kind in kinds}
    assert set.union(*found.values()) == set(CUTS)
    assert len(found["cloth"]) == 2 and all(len(cuts) == 1 for kind, cuts in found.items() if kind != "cloth")


@pytest.mark.parametrize("target", (0.05, 0.2, 0.5, 0.75))
def test_a_coverage_is_solved_for(target: float) -> None:
    def share(placement: Placement) -> float:
        return placement.size**2 * 0.6 * (1 - 0.4 * placement.height)

    placement = covering(share, Placement(), target)
    assert share(placement) == pytest.approx(target, abs=0.01)


def test_a_coverage_out_of_reach_gets_the_nearest() -> None:
    def share(placement: Placement) -> float:
        return 0.4 - 0.1 * placement.height

    most, least = covering(share, Placement(), 0.9), covering(share, Placement(), 0.01)
    assert most.height == -1 and most.size > 1
    assert least.height == 2 and least.size < 1
