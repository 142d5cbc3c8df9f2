import numpy as np
import pytest
import torch

from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.model import MorphableModel


@pytest.fixture(scope="module")
def model():
    return MorphableModel(synthetic_basis())


def test_vertices_are_the_linear_model(model):
    basis = model.basis
    rng = np.random.default_rng(0)
    c = rng.normal(size=(20, len(basis.identity) + len(basis.expression)))
    modes = np.concatenate((basis.identity, basis.expression))
    expected = basis.mean + np.einsum("fk,kvc->fvc", c, modes)
    np.testing.assert_allclose(model.vertices(torch.tensor(c, dtype=torch.float32)).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["68", "468"])
def test_landmark_rows_agree_with_all_vertices(model, kind):
    c = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    vertices = model.vertices(c)
    if kind == "68":
        expected = vertices[:, torch.tensor(model.basis.landmarks68).long()].mean(2)
    else:
        expected = vertices[:, torch.tensor(model.basis.landmarks468).long()]
    torch.testing.assert_close(model.points(kind).at(c), expected, atol=1e-4, rtol=1e-4)


def test_normals_point_outwards_and_are_unit(model):
    normals = model.normals(model.shape.mean[None])[0]
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(normals)))
    side = np.abs(model.basis.mean[:, 0]) > 5
    assert (normals[:, 0].numpy() * model.basis.mean[:, 0])[side].min() > 0
    assert normals[len(normals) // 2, 2] > 0.5


def test_a_face_does_not_depend_on_its_batch(model):
    c = torch.randn(21, 16, generator=torch.Generator().manual_seed(0))
    all_ = model.vertices(c)
    normals = model.normals(all_)
    for i in (0, 13, 20):
        assert torch.equal(model.vertices(c[i : i + 1])[0], all_[i])
        assert torch.equal(model.normals(all_[i : i + 1])[0], normals[i])


def test_basis_without_mesh_points_says_so():
    from dataclasses import replace

    bare = MorphableModel(replace(synthetic_basis(), landmarks468=np.zeros(0, np.int32)))
    with pytest.raises(ValueError, match="ask for points 68"):
        bare.points("468")
