import pytest
import torch

from operators.rasterize import differentiable, interpolate
from operators.rasterize.numba_backend import NumbaRasterizer
from tests.operators.rasterize.meshes import grid, soup


def test_interpolate_reproduces_linear_functions_and_passes_gradients():
    vertices, triangles = grid(0)
    fragments = NumbaRasterizer()(vertices, triangles, 32, 32)
    attributes = vertices[..., :2].double().requires_grad_()
    image = interpolate(attributes, fragments, triangles)
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    torch.testing.assert_close(image[0].detach(), torch.stack((x, y), -1).double(), atol=1e-3, rtol=0)
    image.sum().backward()
    assert float(attributes.grad.sum()) == pytest.approx(2 * 32 * 32, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_compiled_and_torch_path_give_the_same_bits(channels):
    vertices, triangles = (torch.tensor(a) for a in soup(1))
    batch = torch.stack([vertices, vertices + 1.3, vertices - 2.1])
    fragments = NumbaRasterizer()(batch, triangles, 31, 40)
    attributes = torch.randn(3, len(vertices), channels, generator=torch.Generator().manual_seed(0))
    plain = interpolate(attributes, fragments, triangles)
    through_torch = interpolate(attributes.clone().requires_grad_(), fragments, triangles)
    assert through_torch.requires_grad and not plain.requires_grad
    assert torch.equal(plain, through_torch.detach())
    with torch.no_grad():
        assert torch.equal(plain, interpolate(attributes.clone().requires_grad_(), fragments, triangles))
    torch.testing.assert_close(plain.double(), interpolate(attributes.double(), fragments, triangles), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("perspective", [True, False])
def test_differentiable_fragments_have_the_rasterizers_values(perspective):
    vertices, triangles = (torch.tensor(a) for a in soup(2))
    batch = torch.stack([vertices, vertices + 0.123456])
    fragments = NumbaRasterizer(perspective=perspective)(batch, triangles, 48, 56)
    again = differentiable(batch, fragments, triangles, perspective)
    assert torch.equal(again.pix_to_face, fragments.pix_to_face)
    torch.testing.assert_close(again.barycentric, fragments.barycentric, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.depth, fragments.depth, atol=0, rtol=1e-6)


@pytest.mark.parametrize("perspective", [True, False])
def test_gradients_reach_the_geometry(perspective):
    generator = torch.Generator().manual_seed(0)
    vertices = torch.tensor([[[0.3, 0.2, 1.5], [6.1, 1.0, 2.0], [1.2, 6.3, 3.0], [6.7, 6.6, 2.5]]], dtype=torch.float64)
    vertices = torch.cat((vertices, vertices + torch.rand(vertices.shape, generator=generator) * 0.3)).requires_grad_()
    triangles = torch.tensor([[0, 2, 1], [1, 2, 3]])
    fragments = NumbaRasterizer(perspective=perspective)(vertices, triangles, 7, 6)
    assert set(fragments.pix_to_face.unique().tolist()) == {-1, 0, 1}
    covered = fragments.pix_to_face >= 0

    def values(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = differentiable(v, fragments, triangles, perspective, snap=False)
        return found.barycentric, found.depth[covered]

    assert torch.autograd.gradcheck(values, (vertices,))


def test_snapping_changes_values_by_a_hair_and_gradients_as_little():
    vertices, triangles = grid(1)
    vertices = (vertices * torch.tensor([1.0, 1.0, 2.0]) + 0.00003).requires_grad_()
    fragments = NumbaRasterizer()(vertices, triangles, 32, 32)
    colours = torch.rand(1, vertices.shape[1], 3, generator=torch.Generator().manual_seed(0))
    gradients = []
    for snap in (True, False):
        picture = interpolate(colours, differentiable(vertices, fragments, triangles, snap=snap), triangles)
        gradients.append(torch.autograd.grad(picture.square().sum(), vertices)[0])
    assert gradients[0].abs().max() > 1
    torch.testing.assert_close(*gradients, atol=2e-3, rtol=2e-3)
