"""Taut cloth: planes stay planes, and nothing sinks below the skin."""

from __future__ import annotations

import numpy as np

from operators.synthesize.worn.head import unit
from operators.synthesize.worn.membrane import relax, stencil, string


def _directions(rows: int = 21, columns: int = 25) -> np.ndarray:
    side, high = np.meshgrid(np.linspace(-50, 55, columns), np.linspace(30, -50, rows))
    skewed = np.stack((side + 0.1 * high, high + 0.08 * side), -1)
    return unit(skewed)


def test_a_sheet_between_the_edges_of_a_plane_is_that_plane() -> None:
    directions = _directions()
    plane = directions @ np.array([0.1, -0.2, 1.0]) / 80
    w = plane.copy()
    w[1:-1, 1:-1] *= 0.8
    relax(w, np.full_like(w, 1 / 40), stencil(directions, 0.4), np.zeros_like(w), 400, 1.7)
    assert np.abs(w / plane - 1).max() < 0.03


def test_cloth_rests_on_a_bump_and_spans_a_hollow() -> None:
    directions = _directions()
    radius = np.full(directions.shape[:2], 80.0)
    radius[10, 12], radius[10, 5:8] = 100.0, 60.0
    most = 1 / radius
    w = most.copy()
    relax(w, most, stencil(directions, 0.5), np.zeros_like(w), 200, 1.7)
    assert (1 / w >= radius - 1e-6).all()
    assert abs(1 / w[10, 12] - 100) < 1e-6
    assert (1 / w[10, 5:8] > 75).all()
    assert 1 / w[10, 13] > 85


def test_pressure_makes_it_bulge() -> None:
    directions, heights = _directions(), []
    for pressure in (0.0, 2e-5):
        w = np.full(directions.shape[:2], 1 / 80)
        relax(w, np.full_like(w, 1 / 40), stencil(directions, 0.5), np.full_like(w, pressure), 300, 1.7)
        heights.append(float(1 / w[10, 12]))
    assert heights[1] > heights[0] + 2


def test_a_string_is_straight_where_nothing_is_in_its_way() -> None:
    directions = unit(np.stack((np.linspace(-40, 40, 31), np.zeros(31)), -1))
    radius = np.full(31, 30.0)
    radius[0] = radius[-1] = 80.0
    points = directions / string(directions, 1 / radius, 400)[:, None]
    assert np.ptp(points[:, 2]) < 0.5
