"""Every official output that comes with the tests, and the comparison itself."""

import json

import numpy as np
import pytest

from tests.conformance.__main__ import main
from tests.conformance.fixture import FIXTURES, Fixture, compared, strided_like
from tests.conformance.runner import check, folders_in, system_name


@pytest.mark.parametrize("folder", folders_in(FIXTURES), ids=lambda folder: folder.name)
def test_outputs_are_the_official_ones(folder):
    found = check(folder)
    assert found
    assert [f"{one.name}: {one.relative:.1e} {one.note}" for one in found if not one.passed] == []


def fixture(folder, **arrays):
    (folder / "spec.json").write_text(json.dumps({"source": "nobody/nothing@1"}))
    np.savez(folder / "expected.npz", **arrays)
    return Fixture(folder)


def test_a_difference_is_seen(tmp_path):
    official = np.linspace(-1, 1, 1000, dtype=np.float32).reshape(1, 10, 100)
    stats = np.array([official.mean(), official.std(), np.linalg.norm(official), -1, 1], np.float64)
    made = fixture(tmp_path, out=official[..., ::3], out__stats=stats)
    assert all(one.passed for one in made.compare("out", official))
    assert all(one.passed for one in made.compare("out", official * (1 + 5e-5)))
    assert not any(one.passed for one in made.compare("out", official * (1 + 3e-4)))
    hidden = official.copy()
    hidden[..., 1::3] += 0.01  # beside the values that are stored
    assert [one.passed for one in made.compare("out", hidden)] == [True, False]
    assert not any(one.passed for one in made.compare("out", np.full_like(official, np.nan)))
    assert not compared("out", official[..., :50], official).passed


def test_levels_of_8_bit_pictures():
    official = np.full((10, 10, 3), 100, np.uint8)
    off = official.copy()
    off[0, 0, 0] = 101
    assert compared("u8", off, official).passed
    off[0, 0, 0] = 102
    assert not compared("u8", off, official).passed
    assert compared("u8", off, official, levels=2).passed
    off[0, 0, 0] = 90
    assert not compared("u8", off, official, levels=2).passed
    assert compared("u8", off, official, levels=2, stray=0.01).passed


def test_steps_are_found_from_the_shapes():
    full = np.arange(7 * 9).reshape(7, 9)
    assert np.array_equal(strided_like(full, (7, 9)), full)
    assert np.array_equal(strided_like(full, (3, 3)), full[::3, ::3])
    assert np.array_equal(strided_like(full, (7, 5)), full[:, ::2])
    assert strided_like(full, (6, 9)).shape == (7, 9)


def test_a_folder_of_an_unknown_system_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="of no system that this project has"):
        system_name(fixture(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no spec\.json"):
        folders_in(tmp_path / "nothing")


def test_an_output_that_is_not_computed_fails(tmp_path, capsys):
    spec = json.loads((FIXTURES / "maskface" / "spec.json").read_text())
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with np.load(FIXTURES / "maskface" / "expected.npz") as known:
        kept = {name: known[name] for name in ("img_bgr_u8", "landmarks", "six_points", "angle")}
    np.savez(tmp_path / "expected.npz", **kept, mystery=np.ones(3))
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "mystery" in said and "not computed by this project" in said and "1 of the outputs are off" in said
    np.savez(tmp_path / "expected.npz", **kept)
    assert main([str(tmp_path)]) == 0
