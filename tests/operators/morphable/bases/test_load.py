import numpy as np
import pytest

from operators.morphable.bases import load_basis
from operators.morphable.bases.ict_facekit import FACE_VERTICES, close_holes, load_ict_facekit


def test_shipped_and_synthetic_bases_are_consistent():
    for name in ("open_face", "synthetic"):
        basis = load_basis(name)
        n = len(basis.mean)
        assert basis.identity.shape[1:] == basis.expression.shape[1:] == (n, 3)
        assert basis.triangles.max() < n and basis.uv_triangles.max() < len(basis.uv)
        assert basis.albedo_mean.shape[0] == (basis.texture_px**2 or n) == basis.albedo.shape[1]
        assert np.array_equal(basis.mirror[basis.mirror], np.arange(n))
        assert basis.landmarks468.shape == (468,) and basis.landmarks68.shape == (68, 2)
        assert load_basis(name) is basis


def test_unknown_basis_names_the_choices(tmp_path):
    with pytest.raises(FileNotFoundError, match="open_face, ict_facekit, synthetic"):
        load_basis("bfm")
    with pytest.raises(FileNotFoundError):
        load_basis(str(tmp_path / "none.npz"))


def ict_stand_in(path):
    """A file with the format's keys and dimensions: a flat grid with one hole, and vertices that are not face."""
    side = 97
    rng = np.random.default_rng(0)
    n = FACE_VERTICES + 50
    y, x = np.divmod(np.arange(n), side)
    cells = np.arange(side * side).reshape(side, side)
    keep = np.ones((side - 1, side - 1), bool)
    keep[40:44, 30:50] = False
    a, b, c, d = (v[keep] for v in (cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]))
    faces = np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1), [[n - 1, n - 2, n - 3]])).astype(np.int32)
    np.savez(
        path, neutral=np.stack((x - 48, -y, 0 * x), 1).astype(np.float32), faces=faces, faces_uv=faces,
        uv=rng.random((n, 2)).astype(np.float32), identity=rng.normal(size=(3, n, 3)).astype(np.float16),
        expression=rng.normal(size=(2, n, 3)).astype(np.float16), landmarks68=np.arange(68, dtype=np.int32),
    )  # fmt: skip


def test_ict_facekit_file(tmp_path):
    path = tmp_path / "ict_facekit.npz"
    ict_stand_in(path)
    basis = load_basis(path)
    assert basis.mean.shape == (FACE_VERTICES, 3) and basis.texture_px == 0
    assert basis.triangles.max() < FACE_VERTICES
    edges = np.concatenate([basis.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    directed = set(map(tuple, edges.tolist()))
    rim = {e for e in directed if e[::-1] not in directed}
    assert len(directed) == len(edges) and len(rim) == 4 * 96
    assert len(load_ict_facekit(path, identity=1).identity) == 1


def test_close_holes_leaves_an_open_sheet_alone():
    triangles = np.array([[0, 1, 2], [2, 1, 3]])
    assert close_holes(triangles, triangles)[0] is triangles
