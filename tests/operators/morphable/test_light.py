import pytest
import torch

from operators.morphable.light import frontal_light, sh_basis, shade, to_viewer


def sphere(n: int) -> torch.Tensor:
    i = torch.arange(n, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * i / n, torch.pi * (1 + 5**0.5) * i
    r = (1 - z * z).sqrt()
    return torch.stack((r * torch.cos(turn), r * torch.sin(turn), z), -1)


def test_bands_are_orthogonal_on_the_sphere():
    bands = sh_basis(sphere(20000))
    gram = bands.mT @ bands / 20000
    off = gram - torch.diag(torch.diag(gram))
    assert off.abs().max() < 1e-3
    assert gram.diagonal().min() > 0.05


def test_frontal_light():
    normals = torch.tensor([[[0.0, 0, 1], [1, 0, 0], [0, 0, -1]]])
    values = shade(normals, frontal_light()[None])[0, :, 0]
    assert values.tolist() == pytest.approx([1.0, 0.5, 1e-3], abs=1e-6)


def test_light_from_the_viewers_right_is_brighter_there():
    light = torch.zeros(1, 9, 3)
    light[:, 0], light[:, 3] = 0.5, 0.5
    assert shade(torch.tensor([[[0.8, 0, 0.6], [-0.8, 0, 0.6]]]), light)[0, :, 0].diff() < 0


def test_normals_turn_with_the_head():
    from operators.morphable.camera import rotation_from_deg

    turned = to_viewer(torch.tensor([[[0.0, 0, 1]]]), rotation_from_deg(torch.tensor([[0.0, 90, 0]])))
    torch.testing.assert_close(turned[0, 0], torch.tensor([1.0, 0, 0]), atol=1e-6, rtol=0)
