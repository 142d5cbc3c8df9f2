"""A base cut to its face, and its mouth closed."""

from dataclasses import replace

import numpy as np
import pytest

from operators.morphable.bases import load_basis
from operators.morphable.bases.convert import convert
from operators.morphable.bases.cut import close_mouth, cut, face_only
from operators.morphable.bases.holes import close_holes
from operators.morphable.basis import REGIONS, BasisError


@pytest.fixture(scope="module")
def front(bfm):
    return convert("bfm2009_front", [bfm[0]])[0]


def rim(triangles) -> set[tuple[int, int]]:
    edges = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    both = edges @ [10**6, 1], edges @ [1, 10**6]
    return set(map(tuple, edges[~np.isin(*both)].tolist()))


def holes_at(basis, points, radius):
    """Triangles without those around some points."""
    middle = basis.mean[basis.triangles].mean(1)
    near = (np.linalg.norm(middle[:, None, :2] - points[None, :, :2], axis=-1) < radius).any(1)
    return replace(basis, triangles=basis.triangles[~near], uv_triangles=basis.uv_triangles[~near])


def test_vertices_keep_what_belongs_to_them(front):
    keep = front.mean[:, 1] < np.quantile(front.mean[:, 1], 0.97)
    small = cut(front, keep).check()
    assert 0 < len(small.mean) < len(front.mean)
    place = {tuple(v): k for k, v in enumerate(front.mean.tolist())}
    index = np.array([place[tuple(v)] for v in small.mean.tolist()])
    for part in ("identity", "expression", "albedo"):
        assert np.array_equal(getattr(small, part), getattr(front, part)[:, index]), part
    assert np.array_equal(small.albedo_mean, front.albedo_mean[index])
    flipped = small.mean[small.mirror] * [-1, 1, 1]
    assert np.abs(flipped - small.mean).max(1).mean() < 0.03, "decimetres"


def test_a_cut_that_would_lose_a_landmark_is_refused(front):
    with pytest.raises(BasisError, match="would lose a landmark"):
        cut(front, front.mean[:, 0] > 0)
    with pytest.raises(BasisError, match="no region labels"):
        face_only(load_basis("synthetic"))


def test_the_face_has_no_ears_neck_and_scalp(front):
    face = face_only(front).check()
    head = REGIONS.index("head")
    assert (face.regions == head).mean() < 0.02 < (front.regions == head).mean(), "only what anchors a landmark stays"
    assert face.uv.min() >= 0 and face.uv.max() <= 1 and np.ptp(face.uv, axis=0).max() > 0.9


def test_the_mouth_is_closed_and_other_holes_stay_open(front):
    lips = front.mean[front.landmarks68[60:68, 0]].mean(0)
    cheek = lips + np.array([0.35, 0.2, 0])
    torn = holes_at(front, np.stack((lips, cheek)), 0.04)
    closed = close_mouth(torn)
    before, after = rim(torn.triangles), rim(closed.triangles)
    assert after < before and len(before - after) > 8
    gone = front.mean[[a for a, _ in before - after]]
    assert np.linalg.norm(gone[:, :2] - lips[:2], axis=1).max() < 0.06, "decimetres: the loop around the lips"
    a, b, c = (closed.mean[closed.triangles[len(torn.triangles) :, k]] for k in range(3))
    area = np.cross(b - a, c - a)[:, 2]
    assert area.sum() > 0.7 * np.abs(area).sum(), "the strip faces the camera"
    assert close_mouth(front).triangles is front.triangles


def test_close_holes_leaves_an_open_sheet_alone():
    triangles = np.array([[0, 1, 2], [2, 1, 3]])
    assert close_holes(np.zeros((4, 3)), triangles, triangles)[0] is triangles
