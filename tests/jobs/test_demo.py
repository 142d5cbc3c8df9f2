"""The demo: pictures with a known truth, then the whole job on them."""

import re

import numpy as np
import pytest
from PIL import Image

from jobs.demo import main, make_pairs


@pytest.fixture(scope="module")
def pairs():
    return make_pairs(people=2)


def test_pictures_are_the_truth_outside_the_drawn_mask(pairs):
    assert [pair.name for pair in pairs] == ["eileen_collins", "grace_hopper", "nobody_00", "nobody_01"]
    for pair in pairs:
        changed = (pair.masked != pair.truth).any(-1)
        assert not (changed & ~pair.hole).any(), pair.name
        assert changed.sum() > 0.8 * pair.hole.sum(), pair.name
        assert 0.02 < pair.hole.mean() < 0.3, pair.name


def test_the_same_pictures_every_time(pairs):
    again = make_pairs(people=1)
    for first, second in zip(pairs, again, strict=False):
        assert np.array_equal(first.masked, second.masked) and np.array_equal(first.truth, second.truth)


def test_the_whole_demo_comes_nearer_to_the_truth(tmp_path, capsys):
    assert main(["--output", str(tmp_path), "--people", "1"]) == 0
    said = capsys.readouterr().out
    rows = re.findall(r"^(\w+) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+)$", said, re.MULTILINE)
    assert [row[0] for row in rows] == ["eileen_collins", "grace_hopper", "nobody_00"]
    masked, restored = np.array([[float(row[1]), float(row[3])] for row in rows]).mean(0)
    assert restored > masked + 2, "decibels"
    assert (tmp_path / "restored/report.html").resolve().as_uri() in said
    for name in ("eileen_collins", "grace_hopper", "nobody_00"):
        before, after = (Image.open(tmp_path / folder / f"{name}.png") for folder in ("input", "restored/images/images-000000"))
        assert before.size == after.size
