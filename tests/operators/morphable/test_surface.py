import numpy as np
import torch

from operators.morphable.atlas import AlbedoModel
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.model import MorphableModel
from operators.morphable.surface import SurfaceSamples, farthest_points

BASIS = synthetic_basis(rows=49, columns=49)
MODEL = MorphableModel(BASIS)
SAMPLES = SurfaceSamples(MODEL, AlbedoModel(BASIS), 200)


def test_farthest_points_spread_evenly():
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0), [0.0]), -1).reshape(-1, 3)
    chosen = grid[farthest_points(grid, 25)]
    apart = np.linalg.norm(chosen[:, None] - chosen[None], axis=-1) + 99 * np.eye(25)
    assert apart.min() > 2.5
    assert np.linalg.norm(grid[:, None] - chosen[None], axis=-1).min(1).max() < 4


def test_samples_are_vertices_and_their_normals_those_of_the_mesh():
    coefficients = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    placed, vertices = SAMPLES.place(coefficients), MODEL.vertices(coefficients)
    torch.testing.assert_close(placed.point, vertices[:, SAMPLES.vertex], atol=1e-4, rtol=0)
    agreement = (placed.normal * MODEL.normals(vertices)[:, SAMPLES.vertex]).sum(-1)
    assert agreement.median() > 0.995 and agreement.quantile(0.02) > 0.9


def test_albedo_is_the_surroundings_mean():
    coefficients = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    values = AlbedoModel(BASIS).at_vertices()[SAMPLES.vertex]
    exact = values[..., 0] + torch.einsum("sck,fk->fsc", values[..., 1:], coefficients)
    assert (SAMPLES.tint(coefficients) - exact).abs().mean() < 0.02
    plain = SurfaceSamples(MODEL, AlbedoModel(BASIS), 50)
    assert torch.allclose(plain.albedo_mean.mean(0), values[..., 0].mean(0), atol=0.03)


def test_samples_keep_away_from_the_rim():
    rim = torch.as_tensor(BASIS.mean.reshape(49, 49, 3)[[0, -1]].reshape(-1, 3))
    inner = torch.as_tensor(BASIS.mean)[SAMPLES.vertex]
    assert torch.cdist(inner, rim).min() > 0.1
    assert len(SurfaceSamples(MODEL, AlbedoModel(BASIS), 10**6)) < len(BASIS.mean)
