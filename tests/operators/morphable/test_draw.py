import torch

from operators.morphable.draw import Drawing, bilinear, draw_textured, supersampled, to_uint8
from operators.rasterize import select

TRIANGLES = torch.tensor([[0, 2, 1], [1, 2, 3]])
SQUARE = torch.tensor([[[4.0, 4, 1], [12, 4, 1], [4, 12, 1], [12, 12, 1]]])
UV = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])[TRIANGLES]


def test_texture_lies_as_it_should():
    texture = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    drawing = draw_textured(supersampled(select("numba"), SQUARE, TRIANGLES, 16, 1), UV, texture, 1)
    torch.testing.assert_close(drawing.colour[0, 4:12, 4:12], texture[0], atol=1e-4, rtol=0)
    assert drawing.coverage.sum() == 64


def test_edges_blend_and_the_surface_keeps_its_colour():
    shifted = SQUARE + torch.tensor([0.5, 0, 0])
    drawing = draw_textured(supersampled(select("numba"), shifted, TRIANGLES, 16, 2), UV, torch.full((1, 4, 4, 3), 0.8), 2)
    assert drawing.coverage[0, 6, 4] == 0.5 and drawing.coverage[0, 6, 6] == 1
    torch.testing.assert_close(drawing.colour[0, 6, 4], torch.full((3,), 0.8))
    torch.testing.assert_close(drawing.over(torch.zeros(16, 16, 3))[0, 6, 4], torch.full((3,), 0.4))


def test_gradients_reach_the_texture_and_the_picture_is_the_same():
    texture = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    fragments = supersampled(select("numba"), SQUARE, TRIANGLES, 16, 2)
    fast = draw_textured(fragments, UV, texture, 2)
    slow = draw_textured(fragments, UV, texture.requires_grad_(), 2)
    torch.testing.assert_close(slow.colour.detach(), fast.colour, atol=1e-5, rtol=1e-5)
    slow.colour.sum().backward()
    assert texture.grad is not None and float(texture.grad.sum()) > 100


def test_bilinear_clamps_at_the_rim():
    texture = torch.rand(1, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    uv = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.125, 0.375]])
    out = bilinear(texture, torch.zeros(3, dtype=torch.long), uv)
    torch.testing.assert_close(out, torch.stack((texture[0, 0, 0], texture[0, 3, 3], texture[0, 1, 0])))


def test_to_uint8_rounds():
    assert to_uint8(torch.tensor([-1.0, 0.0, 0.5, 0.999, 2.0])).tolist() == [0, 0, 128, 255, 255]
    assert isinstance(Drawing(torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2)).over(torch.ones(2, 2, 3)), torch.Tensor)
