"""Cloth: colours, relief, prints; the same by seed."""

from __future__ import annotations

import numpy as np
import pytest

from operators.synthesize.base import Outfit
from operators.synthesize.worn.cuts import CUTS, Placement
from operators.synthesize.worn.fabric import COLOURS, weave
from operators.synthesize.worn.flat import Flat
from operators.synthesize.worn.shell import lay_shell
from tests.operators.synthesize.worn.people import mean_head

_KINDS = {"surgical": "surgical", "cloth_fitted": "cloth", "cloth_pleated": "cloth", "kn95": "kn95", "n95": "n95", "gas": "gas"}


def _flat(cut: str, height: int = 120, width: int = 160) -> Flat:
    return Flat.of(lay_shell(mean_head(), CUTS[cut], Placement()), height, width)


@pytest.mark.parametrize("cut", CUTS)
def test_maps_are_in_range_and_repeat(cut: str) -> None:
    flat, outfit = _flat(cut), Outfit(_KINDS[cut])
    one, two, other = (weave(cut, outfit, flat, seed, 1.0) for seed in (3, 3, 4))
    assert one.albedo.min() > 0 and one.albedo.max() < 1
    assert one.shade.min() > 0.3 and one.shade.max() < 1.2
    assert np.abs(one.relief_mm).max() < 12 and one.relief_mm.std() > 0.1
    assert np.array_equal(one.albedo, two.albedo) and np.array_equal(one.relief_mm, two.relief_mm)
    assert not np.array_equal(one.relief_mm, other.relief_mm)


def test_colours_are_those_of_the_type() -> None:
    flat = _flat("surgical")
    for kind in ("surgical_white", "surgical_green", "surgical_blue"):
        mean = weave("surgical", Outfit(kind), flat, 7, 1.0).albedo[40:80, 60:100].mean((0, 1)) * 255
        assert min(np.abs(mean - colour).max() for colour in COLOURS[kind]) < 30


def test_relief_does_not_hang_on_the_resolution() -> None:
    small = weave("surgical", Outfit("surgical"), _flat("surgical", 100, 130), 5, 1.0).relief_mm
    large = weave("surgical", Outfit("surgical"), _flat("surgical", 300, 390), 5, 1.0).relief_mm
    shrunk = large.reshape(100, 3, 130, 3).mean((1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9


def test_wrinkles_can_be_ironed() -> None:
    flat = _flat("cloth_fitted")
    spread = [weave("cloth_fitted", Outfit("cloth"), flat, 2, amount).relief_mm[30:90, 100:140].std() for amount in (0.0, 1.0)]
    assert spread[1] > 2 * spread[0]


def test_a_print_takes_part_by_its_weight() -> None:
    flat = _flat("cloth_fitted")
    plain, half, full = (
        weave("cloth_fitted", Outfit("cloth", (30, 60, 120), "dots", 1.0, weight), flat, 2, 0.0).albedo
        for weight in (0.0, 0.5, 1.0)
    )
    assert 0.02 < np.abs(half - plain).mean() < 0.6 * np.abs(full - plain).mean()
