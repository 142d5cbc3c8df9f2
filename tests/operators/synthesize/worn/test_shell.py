"""The worn surface: outside the skin, tented over the mouth, symmetric, moved by its placement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operators.synthesize.worn.cuts import CUTS, Placement
from operators.synthesize.worn.shell import COLUMNS, lay_shell
from tests.operators.synthesize.worn.people import mean_head


@pytest.mark.parametrize("cut", CUTS)
def test_it_lies_outside_the_skin_but_near_it(cut: str) -> None:
    shell = lay_shell(mean_head(), CUTS[cut], Placement())
    assert shell.air_mm.min() > 0.5 and shell.air_mm.max() < 45
    assert np.percentile(shell.air_mm[[0, -1]], 90) < 9


@pytest.mark.parametrize("cut", CUTS)
def test_a_symmetric_face_wears_it_symmetrically_and_normals_look_outwards(cut: str) -> None:
    head = mean_head()
    shell = lay_shell(head, CUTS[cut], Placement())
    assert np.abs(shell.points - shell.points[:, ::-1] * (-1, 1, 1)).max() < 1.5
    assert ((shell.points - head.centre) * shell.normals).sum(-1).min() > 0


def test_it_is_straight_from_nose_to_chin_instead_of_following_the_lips() -> None:
    shell = lay_shell(mean_head(), CUTS["surgical"], Placement())
    lip = np.argmin(np.abs(shell.points[:, COLUMNS // 2, 1] - mean_head().landmarks[2, 1]))
    assert shell.air_mm[lip, COLUMNS // 2] > 6


def test_height_size_and_tilt_move_it() -> None:
    head, cut = mean_head(), CUTS["surgical"]
    start = lay_shell(head, cut, Placement())
    low, large, tilted = (
        lay_shell(head, cut, replace(Placement(), **k)) for k in ({"height": 1.0}, {"size": 1.1}, {"tilt_deg": 5.0})
    )
    middle = COLUMNS // 2
    assert low.points[0, middle, 1] < start.points[0, middle, 1] - 20
    assert low.points[-1, middle, 1] == pytest.approx(start.points[-1, middle, 1], abs=3)
    assert np.ptp(large.points[..., 0]) > np.ptp(start.points[..., 0])
    assert abs(tilted.points[0, 0, 1] - tilted.points[0, -1, 1]) > 6


def test_a_folded_mask_has_its_ridge_in_the_middle() -> None:
    shell = lay_shell(mean_head(), CUTS["kn95"], Placement())
    assert np.argmax(shell.air_mm[24]) == COLUMNS // 2
    assert shell.air_mm[24, COLUMNS // 2] > shell.air_mm[24, COLUMNS // 2 + 6] + 2


def test_lengths_run_along_the_cloth() -> None:
    shell = lay_shell(mean_head(), CUTS["surgical"], Placement())
    assert (shell.cloth_mm[:, COLUMNS // 2, 0] == 0).all() and (shell.cloth_mm[0, :, 1] == 0).all()
    assert (np.diff(shell.cloth_mm[..., 0], axis=1) > 0).all() and (np.diff(shell.cloth_mm[..., 1], axis=0) > 0).all()
    assert 120 < shell.cloth_mm[-1, COLUMNS // 2, 1] < 180
