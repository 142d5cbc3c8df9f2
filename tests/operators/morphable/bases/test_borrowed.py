"""A base without albedo wears the shipped base's, each colour where the face mesh says."""

import numpy as np
import pytest

from operators.morphable.bases import load_basis
from operators.morphable.bases.borrowed import SKIN, borrowed_albedo
from operators.morphable.model import MorphableModel


@pytest.fixture(scope="module")
def lender():
    return load_basis("open_face")


def colour(basis, vertex, layers):
    u, v = np.clip((basis.uv[vertex] * basis.texture_px).astype(int), 0, basis.texture_px - 1)
    return layers.reshape(-1, basis.texture_px, basis.texture_px, 3)[:, v, u]


def test_a_face_of_another_size_gets_the_colours_of_its_points(lender):
    mesh = lender.mean[:468] * 0.1 + [3, -2, 5]
    mean, modes, source = borrowed_albedo(mesh.astype(np.float32), mesh)
    assert mean.shape == (468, 3) and modes.shape == (len(lender.albedo), 468, 3) and source.name == "open_face"
    for point in (0, 1, 205, 425, 151, 4, 105):
        assert mean[point] == pytest.approx(colour(lender, point, lender.albedo_mean)[0], abs=0.06)
        assert np.abs(modes[:, point] - colour(lender, point, lender.albedo)).mean() < 0.02
    lips, cheek = mean[[0, 17]].mean(0), mean[[205, 425]].mean(0)
    assert lips[0] / lips[1] > 1.02 * cheek[0] / cheek[1], "lips are redder than cheeks"


def test_beyond_the_face_mesh_all_is_skin(lender):
    mesh = lender.mean[:468]
    eyes = np.linalg.norm(mesh[263] - mesh[33])
    mean, modes, _ = borrowed_albedo((mesh - np.array([0, 0, 3 * eyes])).astype(np.float32), mesh)
    skin = np.mean([colour(lender, point, lender.albedo_mean)[0] for point in SKIN], 0)
    assert np.ptp(mean, axis=0).max() < 1e-6 and mean[0] == pytest.approx(skin, abs=0.03)
    assert np.ptp(modes, axis=1).max() < 1e-6


def test_a_base_without_albedo_has_the_lenders_light_too(lender, flame):
    from operators.morphable.bases.convert import convert

    basis, _ = convert("flame2020", [flame[0]])
    assert len(basis.albedo) == len(lender.albedo) == len(basis.native.albedo_scale)
    assert np.array_equal(basis.light_mean, lender.light_mean) and np.array_equal(basis.light_std, lender.light_std)


def test_lips_are_the_points_of_the_mouth_on_anchored_meshes(flame, lender):
    from operators.morphable.bases.convert import convert

    basis, _ = convert("flame2020", [flame[0]])
    model = MorphableModel(basis)
    assert (model.mouth("468") == MorphableModel(lender).mouth("468")).all()
    points = model.points("468")
    c = np.random.default_rng(0).normal(size=(2, len(basis.identity) + len(basis.expression)))
    import torch

    vertices = model.vertices(torch.tensor(c, dtype=torch.float32)).numpy()
    expected = np.stack([basis.anchors468.at(v) for v in vertices])
    assert np.abs(points.at(torch.tensor(c, dtype=torch.float32)).numpy() - expected).max() < 1e-6


def test_behind_the_lips_it_is_dark(lender):
    mesh = lender.mean[:468]
    eyes = np.linalg.norm(mesh[263] - mesh[33])
    inside = mesh[[13, 14, 82, 312]] - [0, 0, 0.3 * eyes]
    mean, _, _ = borrowed_albedo(np.concatenate((inside, mesh[[205]] - [0, 0, 0.3 * eyes])).astype(np.float32), mesh)
    assert (mean[:4] < 0.3 * mean[4]).all()
