import torch

from operators.morphable.atlas import AlbedoModel, TextureAtlas
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.texture import complete, model_texture, plausible, pull_push, soft_edge, unwrap, usable_pixels
from operators.rasterize import select


def atlas(px=32):
    basis = synthetic_basis()
    return basis, TextureAtlas(basis, AlbedoModel(basis), px)


def test_atlas_texels_name_the_surface_point_of_their_uv():
    basis, a = atlas()
    uv = (torch.tensor(basis.uv)[a.corners] * a.barycentric[..., None]).sum(1)
    expected = torch.stack((a.texels % 32, a.texels // 32), -1) + 0.5
    torch.testing.assert_close(uv * 32, expected, atol=1e-3, rtol=0)
    whole = a.spread(a.texels[None, :, None]).flatten()
    assert torch.equal(whole[a.texels], a.texels) and torch.isin(whole, a.texels).all()


def test_mirror_texel_is_the_other_column():
    _, a = atlas()
    row, column = a.texels // 32, a.texels % 32
    assert (a.texels[a.mirror] == row * 32 + 31 - column).float().mean() > 0.95


def test_pull_push_keeps_what_is_known_and_fills_the_rest_smoothly():
    field = torch.linspace(0, 1, 32).repeat(32, 1)[None, None]
    weights = torch.ones(1, 1, 32, 32)
    weights[..., 8:24, 8:24] = 0
    filled = pull_push(field * weights, weights)
    torch.testing.assert_close(filled[weights > 0], field[weights > 0])
    assert (filled - field).abs().max() < 0.3
    line = torch.zeros(1, 1, 33, 33).index_fill(-1, torch.tensor([4]), 1.0)
    odd = pull_push(0.5 * line.expand(-1, 3, -1, -1), line)
    torch.testing.assert_close(odd, torch.full_like(odd, 0.5), atol=1e-4, rtol=0)


def half_seen(a, colour, n=1):
    """A photo of one colour, seen on the texture's upper half."""
    count = len(a.texels)
    trust = (a.texels < 512).float().repeat(n, 1)
    return torch.full((n, count, 3), colour) * trust[..., None], trust


def test_nothing_known_leaves_the_model():
    _, a = atlas()
    model = torch.rand(2, len(a.texels), 3, generator=torch.Generator().manual_seed(0))
    done = complete(a, model, torch.zeros_like(model), torch.zeros(model.shape[:2]))
    assert (done.flatten(1, 2)[:, a.texels] - model * 255).abs().max() < 0.6


def test_trusted_texels_are_the_photo_and_the_rest_follows_its_colour():
    _, a = atlas()
    done = complete(a, torch.full((1, len(a.texels), 3), 0.4), *half_seen(a, 0.6))[0]
    assert (done - 0.6 * 255).abs().max() < 3


def test_one_sided_detail_comes_back_mirrored():
    _, a = atlas()
    model = torch.full((1, len(a.texels), 3), 0.5)
    row, column = a.texels // 32, a.texels % 32
    spot = (row >= 10) & (row < 14) & (column >= 4) & (column < 8)
    photo = torch.where(spot[:, None], 0.35, 0.5).expand(1, -1, 3)
    left = (column < 16).float()[None]
    done = complete(a, model, photo * left[..., None], left)[0] / 255
    assert done[11:13, 25:27].mean() < 0.43 < done[20:24, 25:27].mean()


def test_implausible_colour_is_not_spread():
    ratio = torch.zeros(1, 100, 3)
    ratio[:, :10] = torch.tensor([1.2, -0.8, 1.0])
    weight = plausible(ratio, torch.ones(1, 100))
    assert weight[:, :10].max() < 0.02 and weight[:, 10:].min() > 0.9


def front_view():
    basis, a = atlas()
    front = torch.tensor(basis.mean)[None] * torch.tensor([2.0, -2, -1]) + torch.tensor([32.0, 32, 60])
    normals = torch.nn.functional.normalize(torch.tensor(basis.mean), dim=-1)[None]
    fragments = select("numba")(front * torch.tensor([2, 2, 1.0]), torch.tensor(basis.triangles), 128, 128)
    return a, front, normals, fragments


def test_unwrap_trusts_only_what_is_seen():
    a, front, normals, fragments = front_view()
    photo = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    usable = torch.ones(1, 64, 64)
    usable[:, :, 40:] = 0
    colour, trust = unwrap(a, photo, usable, front, normals, fragments)
    row, column = a.texels // 32, a.texels % 32
    assert trust[0, (row >= 12) & (row < 20) & (column >= 8) & (column < 12)].min() > 0.9
    assert trust[0, column >= 24].max() == 0 and colour[0, column >= 24].max() == 0
    torch.testing.assert_close(colour[trust > 0.5], torch.full_like(colour[trust > 0.5], 128 / 255))
    wall = torch.zeros_like(fragments.depth)
    _, behind = unwrap(a, photo, usable, front, normals, type(fragments)(fragments.pix_to_face, fragments.barycentric, wall + 1))
    assert behind.max() == 0


def test_compiled_loops_agree_with_tensor_code():
    """A tensor that needs a gradient takes the path that GPUs take."""
    a, front, normals, fragments = front_view()
    g = torch.Generator().manual_seed(0)
    photo = torch.randint(0, 256, (1, 64, 64, 3), generator=g, dtype=torch.uint8)
    usable = torch.rand(1, 64, 64, generator=g)
    given = [unwrap(a, photo, usable, place, normals, fragments) for place in (front, front.clone().requires_grad_())]
    torch.testing.assert_close(given[0], tuple(x.detach() for x in given[1]), atol=1e-5, rtol=0)

    albedo, light = torch.randn(2, 4, generator=g), torch.randn(2, 9, 3, generator=g) * 0.3
    light[:, 0] += 0.8
    normals = normals.expand(2, -1, -1)
    models = [model_texture(a, albedo, normals, x) for x in (light, light.clone().requires_grad_())]
    torch.testing.assert_close(models[0], models[1].detach(), atol=1e-5, rtol=1e-5)

    photo, trust = torch.rand(models[0].shape, generator=g), torch.rand(models[0].shape[:2], generator=g)
    trust[:, a.texels % 32 > 20] = 0
    done = [
        complete(a, model, photo * (trust > 0)[..., None], trust) for model in (models[0], models[0].clone().requires_grad_())
    ]
    assert (done[0].int() - done[1].int()).abs().max() <= 1
    assert done[0].float().std() > 10


def test_usable_pixels_keep_a_margin():
    occluder = torch.zeros(1, 9, 9, dtype=torch.bool)
    occluder[0, 4, 4] = True
    valid = torch.ones_like(occluder)
    assert (usable_pixels(occluder, valid, 0) == 0).sum() == 1
    assert (usable_pixels(occluder, valid, 2) == 0).sum() == 25
    valid[:, 0] = False
    assert not usable_pixels(occluder, valid, 0)[0, 0].any()


def test_soft_edge_fades_inside_the_mask_only():
    shown = torch.zeros(1, 40, 40, dtype=torch.bool)
    shown[:, 8:32, 8:32] = True
    soft = soft_edge(shown, 3)
    assert soft[0, 20, 20] == 1 and bool((soft[~shown] == 0).all())
    assert 0 < float(soft[0, 20, 10]) < 1
