import torch

from operators.morphable.atlas import AlbedoModel, TextureAtlas
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.texture import complete, plausible, pull_push, soft_edge, unwrap, usable_pixels
from operators.rasterize import select


def atlas(px=32):
    basis = synthetic_basis()
    return basis, TextureAtlas(basis, AlbedoModel(basis), px)


def test_atlas_texels_name_the_surface_point_of_their_uv():
    basis, a = atlas()
    uv = (torch.tensor(basis.uv)[a.corners] * a.barycentric[..., None]).sum(1)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    expected = torch.stack((columns, rows), -1).reshape(-1, 2)[a.covered] + 0.5
    torch.testing.assert_close(uv[a.covered] * 32, expected, atol=1e-3, rtol=0)


def test_mirror_texel_is_the_other_column():
    _, a = atlas()
    mirrored = a.mirror.reshape(32, 32)
    expected = torch.arange(1024).reshape(32, 32).flip(1)
    assert (mirrored == expected).float().mean() > 0.95


def test_pull_push_keeps_what_is_known_and_fills_the_rest_smoothly():
    field = torch.linspace(0, 1, 32).repeat(32, 1)[None, None]
    weights = torch.ones(1, 1, 32, 32)
    weights[..., 8:24, 8:24] = 0
    noise = torch.where(weights > 0, field, torch.full_like(field, 99.0))
    filled = pull_push(noise, weights)
    torch.testing.assert_close(filled[weights > 0], field[weights > 0])
    assert (filled - field).abs().max() < 0.3
    odd = pull_push(torch.full((1, 3, 33, 33), 0.5), torch.zeros(1, 1, 33, 33).index_fill(-1, torch.tensor([4]), 1.0))
    torch.testing.assert_close(odd, torch.full_like(odd, 0.5), atol=1e-4, rtol=0)


def test_nothing_known_leaves_the_model():
    _, a = atlas()
    model = torch.rand(2, 1024, 3, generator=torch.Generator().manual_seed(0))
    done = complete(a, model, torch.zeros_like(model), torch.zeros(2, 1024))
    torch.testing.assert_close(done.flatten(1, 2)[:, a.covered], model[:, a.covered], atol=1e-4, rtol=0)


def test_trusted_texels_are_the_photo_and_the_rest_follows_its_colour():
    _, a = atlas()
    model = torch.full((1, 1024, 3), 0.4)
    photo = torch.full((1, 1024, 3), 0.6)
    trust = (torch.arange(1024) < 512).float()[None]
    done = complete(a, model, photo, trust)[0]
    torch.testing.assert_close(done, torch.full_like(done, 0.6), atol=0.01, rtol=0)


def test_one_sided_detail_comes_back_mirrored():
    _, a = atlas()
    model = torch.full((1, 1024, 3), 0.5)
    photo = model.clone().reshape(1, 32, 32, 3)
    photo[:, 10:14, 4:8] = 0.35
    left = (torch.arange(32) < 16).float().repeat(32, 1).reshape(1, -1)
    done = complete(a, model, photo.reshape(1, -1, 3), left)[0]
    assert done[11:13, 25:27].mean() < 0.43 < done[20:24, 25:27].mean()


def test_implausible_colour_is_not_spread():
    ratio = torch.zeros(1, 100, 3)
    ratio[:, :10] = torch.tensor([1.2, -0.8, 1.0])
    weight = plausible(ratio, torch.ones(1, 100))
    assert weight[:, :10].max() < 0.02 and weight[:, 10:].min() > 0.9


def test_unwrap_trusts_only_what_is_seen():
    basis, a = atlas()
    front = torch.tensor(basis.mean)[None] * torch.tensor([2.0, -2, -1]) + torch.tensor([32.0, 32, 60])
    fragments = select("numba")(front, torch.tensor(basis.triangles), 64, 64)
    normals = torch.nn.functional.normalize(torch.tensor(basis.mean), dim=-1)[None]
    photo = torch.full((1, 64, 64, 3), 0.5)
    usable = torch.ones(1, 64, 64)
    usable[:, :, 40:] = 0
    _, trust = unwrap(a, photo, usable, front, normals, fragments)
    grid = trust.reshape(32, 32)
    assert grid[12:20, 8:12].min() > 0.9
    assert grid[:, 24:].max() == 0
    wall = torch.zeros_like(fragments.depth)
    _, behind = unwrap(a, photo, usable, front, normals, type(fragments)(fragments.pix_to_face, fragments.barycentric, wall + 1))
    assert behind.max() == 0


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
