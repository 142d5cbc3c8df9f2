"""Straps reach from the mask to the ears along the skin; filters stand out of the cheeks."""

from __future__ import annotations

import numpy as np

from operators.synthesize.worn.cuts import CUTS, Placement
from operators.synthesize.worn.shell import lay_shell
from operators.synthesize.worn.straps import accessories
from tests.operators.synthesize.worn.people import mean_head


def test_ear_loops_run_from_the_corners_to_the_ears_on_the_skin() -> None:
    head = mean_head()
    shell = lay_shell(head, CUTS["surgical"], Placement())
    loops = accessories(head, shell, "surgical", "surgical", True, np.random.default_rng(1))
    assert len(loops) == 4
    for loop in loops:
        reach = np.linalg.norm(loop.points[:, None] - head.landmarks[[234, 454]], axis=-1).min()
        start = np.linalg.norm(loop.points[:, None] - shell.points.reshape(-1, 3), axis=-1).min()
        assert reach < 32 and start < 3
        height = np.linalg.norm(loop.points - head.centre, axis=1) - head.skin(head.angles(loop.points))
        assert height.min() > -3
        assert loop.under_hair


def test_types_have_their_own_parts() -> None:
    head = mean_head()
    counts = {}
    for kind in ("surgical", "n95", "gas"):
        shell = lay_shell(head, CUTS[kind], Placement())
        for straps in (True, False):
            counts[kind, straps] = len(accessories(head, shell, kind, kind, straps, np.random.default_rng(1)))
    assert counts == {
        ("surgical", True): 4, ("surgical", False): 0, ("n95", True): 4, ("n95", False): 0, ("gas", True): 8, ("gas", False): 4,
    }  # fmt: skip


def test_filters_look_outwards_and_meshes_are_sound() -> None:
    head = mean_head()
    shell = lay_shell(head, CUTS["gas"], Placement())
    for part in accessories(head, shell, "gas", "gas", False, np.random.default_rng(3)):
        assert part.triangles.min() == 0 and part.triangles.max() == len(part.points) - 1
        assert np.abs(np.linalg.norm(part.normals, axis=1) - 1).max() < 1e-6
        assert (part.normals * (part.points - head.centre)).sum() > 0
