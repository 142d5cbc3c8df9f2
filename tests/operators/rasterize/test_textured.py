import torch

from operators.morphable.draw import bilinear
from operators.rasterize import select
from operators.rasterize.textured import average_texture


def test_average_of_a_block_is_the_mean_of_its_covered_samples():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.tensor([[[1.3, 0.4, 2.0], [30, 4, 3.0], [7, 29, 2.5]]]).repeat(2, 1, 1)
    vertices[1, :, 0] += 2
    fragments = select("numba")(vertices, torch.tensor([[0, 1, 2]]), 32, 32)
    corner_uv = torch.rand(1, 3, 2, generator=generator)
    y, x = torch.meshgrid(torch.arange(8) / 8, torch.arange(8) / 8, indexing="ij")
    textures = torch.stack((x, y, 0.5 * x - y), -1) * torch.tensor([1.0, 0.6])[:, None, None, None]
    colour, coverage = average_texture(fragments, corner_uv, textures, 2)
    hit = fragments.pix_to_face >= 0
    samples = torch.zeros(2, 32, 32, 3)
    uv = (corner_uv[fragments.pix_to_face[hit].long()] * fragments.barycentric[hit][..., None]).sum(1)
    samples[hit] = bilinear(textures, torch.nonzero(hit)[:, 0], uv)
    count = hit.float().reshape(2, 16, 2, 16, 2).sum((2, 4))
    expected = samples.reshape(2, 16, 2, 16, 2, 3).sum((2, 4)) / count.clamp_min(1)[..., None]
    torch.testing.assert_close(colour, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(coverage, count / 4)
    assert coverage[coverage < 1].max() > 0


def test_samples_of_different_places_are_looked_up_one_by_one():
    vertices = torch.tensor([[[0.0, 0, 1], [32, 0, 1], [0, 32, 1], [32, 32, 1]]])
    fragments = select("numba")(vertices, torch.tensor([[0, 2, 1], [1, 2, 3]]), 32, 32)
    corner_uv = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])[torch.tensor([[0, 2, 1], [1, 2, 3]])]
    chequers = ((torch.arange(64)[:, None] // 2 + torch.arange(64) // 2) % 2).float()[None, ..., None].expand(-1, -1, -1, 3)
    colour, _ = average_texture(fragments, corner_uv, chequers, 4)
    torch.testing.assert_close(colour, torch.full_like(colour, 0.5), atol=1e-3, rtol=0)
