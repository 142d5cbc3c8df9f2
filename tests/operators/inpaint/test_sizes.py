import numpy as np
import pytest
import torch

from operators.inpaint.sizes import pad_to_multiple, resized, resized_back, square


@pytest.mark.parametrize("mode", ["symmetric", "reflect"])
@pytest.mark.parametrize("size", [(5, 13), (8, 16), (3, 1)])
def test_pads_as_numpy_does(mode, size):
    x = torch.rand(2, 3, *size)
    padded = pad_to_multiple(x, 8, mode)
    down, right = -size[0] % 8, -size[1] % 8
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (0, down), (0, right)), mode=mode)
    assert np.array_equal(padded.numpy(), expected)


def test_replicate_and_zero():
    x = torch.rand(1, 2, 3, 5)
    assert torch.equal(pad_to_multiple(x, 4, "replicate")[..., 3, 5:], x[..., 2, 4:].expand(-1, -1, 3))
    assert pad_to_multiple(x, 4, "zero")[..., 3, :].abs().sum() == 0


def test_the_hole_does_not_bleed_into_known_pixels():
    image = torch.full((1, 3, 64, 64), 0.25)
    hole = torch.zeros(1, 64, 64, dtype=torch.bool)
    hole[:, 20:41, 17:30] = True
    image[:, :, 20:41, 17:30] = 1.0
    for size in ((32, 32), (23, 23), (128, 128)):
        smaller, covered = resized(image, hole, size)
        known = ~covered[:, None].expand_as(smaller)
        assert float((smaller[known] - 0.25).abs().max()) < 1e-5
        assert covered.any() and not covered.all()


def test_every_hole_pixel_stays_hole():
    hole = torch.zeros(1, 60, 60, dtype=torch.bool)
    hole[0, 31, 7] = True
    _, covered = resized(torch.rand(1, 3, 60, 60), hole, (16, 16))
    assert covered[0, 31 * 16 // 60, 7 * 16 // 60]


def test_there_and_back_keeps_a_smooth_picture():
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 40), indexing="ij")
    image = torch.stack((x, y, (x + y) / 2))[None]
    none = torch.zeros(1, 48, 40, dtype=torch.bool)
    back = resized_back(resized(image, none, (96, 80))[0], (48, 40))
    assert float((back - image)[..., 2:-2, 2:-2].abs().max()) < 0.01
    same, _ = resized(image, none, (48, 40))
    assert same is image


def test_square_mirrors_the_short_side():
    image, hole = torch.rand(1, 3, 6, 4), torch.rand(1, 6, 4) < 0.5
    made, holes = square(image, hole)
    assert made.shape == (1, 3, 6, 6) and torch.equal(made[..., :4], image)
    assert torch.equal(made[..., 4], image[..., 3]) and torch.equal(holes[..., 5], hole[..., 2])
