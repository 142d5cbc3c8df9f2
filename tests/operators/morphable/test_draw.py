import torch

from operators.morphable.draw import Drawing, bilinear, draw_textured, supersampled, to_uint8
from operators.rasterize import select

TRIANGLES = torch.tensor([[0, 2, 1], [1, 2, 3]])
SQUARE = torch.tensor([[[4.0, 4, 1], [12, 4, 1], [4, 12, 1], [12, 12, 1]]])


def ramp(px):
    """A texture that is linear in u and v, where the mean of samples is the sample of the mean."""
    y, x = torch.meshgrid(torch.arange(px) / px, torch.arange(px) / px, indexing="ij")
    return torch.stack((x, y, 0.3 + 0.2 * x - 0.3 * y), -1)[None]


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
    texture = ramp(8)
    fine = supersampled(select("numba"), SQUARE, TRIANGLES, 16, 2)
    fast = draw_textured(fine, UV, texture, 2)
    slow = draw_textured(fine, UV, texture.requires_grad_(), 2)
    inside = (0, slice(5, 11), slice(5, 11))  # at the rim the mean of clamped places is not the clamped mean
    torch.testing.assert_close(slow.colour.detach()[inside], fast.colour[inside], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(slow.colour.detach(), fast.colour, atol=0.02, rtol=0)
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


def test_bytes_and_floats_are_the_same_texture():
    texture = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    fine = supersampled(select("numba"), SQUARE, TRIANGLES, 16, 2)
    torch.testing.assert_close(draw_textured(fine, UV, texture, 2).colour, draw_textured(fine, UV, texture / 255, 2).colour)


def test_picture_is_over_as_bytes():
    g = torch.Generator().manual_seed(0)
    drawing = Drawing(torch.rand(2, 8, 8, 3, generator=g), torch.rand(2, 8, 8, generator=g).round(decimals=1))
    photo = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8, generator=g)
    for background in (photo, 236):
        fast = drawing.picture(background, 0.9)
        slow = Drawing(drawing.colour.clone().requires_grad_(), drawing.coverage).picture(background, 0.9)
        assert (fast.int() - slow.int()).abs().max() <= 1
        expected = drawing.over(torch.zeros(8, 8, 3) + torch.as_tensor(background) / 255, 0.9) * 255
        assert (fast - expected).abs().max() <= 0.51


def test_one_texture_for_all_faces():
    texture = ramp(8)
    both = supersampled(select("numba"), torch.cat((SQUARE, SQUARE + torch.tensor([2.0, 1, 0]))), TRIANGLES, 16, 2)
    expected = draw_textured(both, UV, texture.repeat(2, 1, 1, 1), 2).colour
    assert torch.equal(draw_textured(both, UV, texture, 2).colour, expected)
    slow = draw_textured(both, UV, texture.clone().requires_grad_(), 2).colour.detach()
    torch.testing.assert_close(slow, expected, atol=0.02, rtol=0)
