import torch

from operators.morphable.appearance import AppearanceSettings, fit_appearance
from operators.morphable.atlas import AlbedoModel
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.light import frontal_light, sh_basis
from operators.morphable.model import MorphableModel
from operators.morphable.surface import SurfaceSamples

SHARP = AppearanceSettings(noise=0.02, rounds=12)
BASIS = synthetic_basis()
SAMPLES = SurfaceSamples(MorphableModel(BASIS), AlbedoModel(BASIS), 900)


def scene(n=3, seed=0, noise=0.0):
    g = torch.Generator().manual_seed(seed)
    normals = torch.nn.functional.normalize(
        torch.randn(n, len(SAMPLES), 3, generator=g) * torch.tensor([1, 1, 0.5]) + torch.tensor([0, 0, 1.0]), dim=-1
    )
    albedo = torch.randn(n, SAMPLES.albedo.shape[-1], generator=g)
    light = frontal_light().expand(n, -1, -1).clone() + 0.08 * torch.randn(n, 9, 1, generator=g)
    colours = SAMPLES.tint(albedo) * torch.bmm(sh_basis(normals), light)
    return colours + noise * torch.randn(colours.shape, generator=g), normals, albedo, light


def fit(colours, weights, normals, settings=SHARP):
    return fit_appearance(colours, weights, normals, SAMPLES, frontal_light(), torch.full((9, 3), 0.3), settings)


def test_recovers_known_light_and_albedo():
    colours, normals, albedo, light = scene()
    result = fit(colours, torch.ones(3, len(SAMPLES)), normals)
    assert (result.light - light).abs().max() < 0.05
    assert (result.albedo - albedo).abs().max() < 0.15


def test_hidden_pixels_say_nothing():
    colours, normals, *_ = scene()
    weights = torch.ones(3, len(SAMPLES))
    weights[:, ::3] = 0
    first = fit(colours, weights, normals)
    colours[:, ::3] = 0.9
    second = fit(colours, weights, normals)
    assert torch.equal(first.light, second.light) and torch.equal(first.albedo, second.albedo)


def test_glasses_and_shadows_lose_their_say():
    colours, normals, _, light = scene(noise=0.01)
    colours[:, :150] = torch.tensor([0.05, 0.05, 0.06])
    result = fit(colours, torch.ones(3, len(SAMPLES)), normals)
    assert (result.light - light).abs().max() < 0.1
    assert result.inliers[:, :150].mean() < 0.2 * result.inliers[:, 150:].mean()


def test_too_few_pixels_give_the_priors_means():
    colours, normals, *_ = scene()
    weights = torch.ones(3, len(SAMPLES))
    weights[1, 10:] = 0
    result = fit(colours, weights, normals)
    torch.testing.assert_close(result.light[1], frontal_light())
    assert not result.albedo[1].any() and torch.isfinite(result.albedo).all()


def test_a_face_does_not_depend_on_its_batch():
    colours, normals, *_ = scene(5)
    together = fit(colours, torch.ones(5, len(SAMPLES)), normals)
    alone = fit(colours[3:4], torch.ones(1, len(SAMPLES)), normals[3:4])
    assert torch.equal(together.light[3], alone.light[0]) and torch.equal(together.albedo[3], alone.albedo[0])


def test_albedo_on_vertices_and_on_texels_look_the_same_where_they_describe_the_same():
    from dataclasses import replace

    basis = synthetic_basis(texture_px=64)
    plain = torch.linspace(0.2, 0.8, 64).repeat(64, 1).reshape(-1, 1).repeat(1, 3).numpy()
    on_texels = AlbedoModel(replace(basis, albedo_mean=plain))
    on_vertices = AlbedoModel(
        replace(
            basis,
            texture_px=0,
            albedo_mean=(0.2 + 0.6 * (basis.uv[:, :1] * 64 - 0.5) / 63).repeat(3, 1),
            albedo=basis.albedo[:, :1089],
        )
    )
    g = torch.Generator().manual_seed(0)
    triangle = torch.randint(0, len(basis.triangles), (200,), generator=g)
    weights = torch.distributions.Dirichlet(torch.ones(3)).sample((200,))
    uv = (torch.tensor(basis.uv)[torch.tensor(basis.triangles).long()[triangle]] * weights[..., None]).sum(1)
    inner = (uv[:, 0] > 0.02) & (uv[:, 0] < 0.98)
    torch.testing.assert_close(
        on_texels.at(triangle, weights)[inner, :, 0], on_vertices.at(triangle, weights)[inner, :, 0], atol=1e-4, rtol=0
    )


def test_albedo_at_vertices_is_that_of_their_uv():
    on_texels = AlbedoModel(BASIS).at_vertices()
    corner = BASIS.triangles[100]
    expected = AlbedoModel(BASIS).at(torch.tensor([100] * 3), torch.eye(3))
    torch.testing.assert_close(on_texels[torch.as_tensor(corner).long()], expected, atol=1e-6, rtol=0)
