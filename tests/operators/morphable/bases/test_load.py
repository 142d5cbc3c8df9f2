"""Bases by name and by file, and what a base must be."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from operators.morphable import bases
from operators.morphable.bases import load_basis
from operators.morphable.bases.convert import convert, install
from operators.morphable.bases.stored import describe, load_stored, save_basis
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.basis import REGIONS, BasisError, SurfacePoints
from tests.operators.morphable.bases import stand_ins


def test_shipped_and_synthetic_bases_are_consistent():
    for name in ("open_face", "synthetic"):
        basis = load_basis(name)
        assert basis.check() is basis
        assert np.array_equal(basis.mirror[basis.mirror], np.arange(len(basis.mean)))
        assert basis.landmarks468.shape == (468,)
        assert load_basis(name) is basis


def test_unknown_basis_names_the_choices(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"open_face, ict_facekit, bfm2009_front, .*synthetic"):
        load_basis("bfm")
    with pytest.raises(FileNotFoundError):
        load_basis(str(tmp_path / "none.npz"))


def test_a_base_that_was_not_converted_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"'flame2020_face' is not on this machine: run `python -m jobs.assets explain flame2020`"
    ):
        load_basis("flame2020_face")


def test_a_converted_base_is_found_by_name_whole_and_cut(bfm, tmp_path, monkeypatch):
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path))
    path, digests = install("bfm2009_front", [bfm[0]], tmp_path / "bases")
    assert [p.name for p in (tmp_path / "bases").iterdir()] == ["bfm2009_front.npz"]
    assert len(digests["Exp_Pca.bin"]) == 64 and describe(path)["source"] == digests
    whole, face = load_basis("bfm2009_front"), load_basis("bfm2009_front_face")
    assert load_basis("bfm2009_front") is whole and whole.name == "bfm2009_front"
    assert 3000 < len(face.mean) < len(whole.mean) and face.check() is face
    for kind in ("68", "468"):
        assert np.allclose(face.surface_points(kind).at(face.mean), whole.surface_points(kind).at(whole.mean), atol=1e-6)
    save_basis(path, replace(whole, licence="another"))
    assert load_basis("bfm2009_front").licence == "another", "a file that was replaced is read again"


def test_round_trip(flame, tmp_path):
    basis, _ = convert("flame2020", [flame[0]])
    path = save_basis(tmp_path / "a" / "flame2020.npz", basis, {"generic_model.pkl": "0" * 64})
    back = load_stored(path)
    for name in ("mean", "triangles", "uv", "uv_triangles", "albedo_mean", "landmarks68", "landmarks468", "mirror", "regions"):
        assert np.array_equal(getattr(back, name), getattr(basis, name)), name
    for name in ("identity", "expression", "albedo"):
        modes = getattr(basis, name)
        assert (np.abs(getattr(back, name) - modes).max((1, 2)) <= np.abs(modes).max((1, 2)) / 65000 + 1e-9).all(), name
    assert (back.name, back.licence, back.unit, back.texture_px) == (basis.name, basis.licence, basis.unit, basis.texture_px)
    assert np.array_equal(back.anchors468.weights, basis.anchors468.weights)
    assert back.native.convention == basis.native.convention
    assert np.array_equal(back.native.expression_scale, basis.native.expression_scale)
    again = save_basis(tmp_path / "b" / "flame2020.npz", basis, {"generic_model.pkl": "0" * 64})
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[: len(d) // 2], lambda d: b"PK" + d[2:500], lambda d: b"x" * 50])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = save_basis(tmp_path / "x.npz", synthetic_basis())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BasisError, match=r"x\.npz: is not an \.npz that can be read"):
        load_basis(path)


def test_a_file_with_a_missing_part_is_named(tmp_path):
    path = save_basis(tmp_path / "x.npz", synthetic_basis())
    with np.load(path) as file:
        parts = {k: file[k] for k in file.files if k != "mirror"}
    np.savez(path, **parts)
    with pytest.raises(BasisError, match=r"x\.npz: has no mirror: convert it again"):
        load_basis(path)


def one(index, array):
    changed = array.copy()
    changed[index] = changed.max() + 1 if changed.dtype.kind in "iu" else np.nan
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: {"identity": b.identity[:, :-1]}, "identity has shape"),
        (lambda b: {"mean": one((3, 1), b.mean)}, "mean holds numbers that are not finite"),
        (lambda b: {"albedo": one((0, 0, 0), b.albedo)}, "albedo holds numbers"),
        (lambda b: {"triangles": b.triangles + len(b.mean)}, "triangles points outside"),
        (lambda b: {"landmarks68": one((5, 0), b.landmarks68 + len(b.mean))}, "landmarks68 points outside"),
        (lambda b: {"landmarks468": b.landmarks468[:100]}, "landmarks468 has 100 entries"),
        (lambda b: {"mirror": b.mirror - 5}, "mirror points outside"),
        (lambda b: {"regions": np.full(len(b.mean), len(REGIONS), np.uint8)}, "regions points outside"),
        (lambda b: {"unit": "inch"}, "unit 'inch'"),
        (lambda b: {"texture_px": 16}, "albedo_mean has shape"),
        (lambda b: {"mean": b.mean * [1, -1, 1]}, "do not look into the camera"),
        (lambda b: {"mean": b.mean[:, [0, 2, 1]]}, "do not look into the camera"),
        (lambda b: {"anchors68": SurfacePoints(b.landmarks68, np.ones((68, 2), np.float32))}, "weights that do not sum"),
    ],
)
def test_a_base_that_does_not_fit_together_is_refused(change, message):
    basis = synthetic_basis()
    for name, value in change(basis).items():  # behind the back of the shape checks that only tests have
        object.__setattr__(basis, name, value)
    with pytest.raises(BasisError, match=rf"here\.npz: .*{message}"):
        basis.check("here.npz")


def test_the_default_base_loads_no_converter():
    """Start-up: what is imported at the top of the package is the shipped base's reader and the made-up one."""
    tree = ast.parse(Path(bases.__file__).read_text(encoding="utf-8"))
    top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    ours = {name for name in top if name and name.startswith("operators")}
    assert ours == {"operators.morphable.bases.open_face", "operators.morphable.bases.synthetic", "operators.morphable.basis"}
    assert not {name for name in top if name and name.startswith("scipy")}


def test_stand_ins_have_the_real_dimensions(bfm, flame):
    assert len(bfm[1]["mean"]) == 53490 and len(bfm[1]["trim"]) == 53215 and len(bfm[1]["front"]) == 35709
    assert flame[1]["shapedirs"].shape == (5023, 3, 400) and len(stand_ins.ict_kit().vertices) == 26719
