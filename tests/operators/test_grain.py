from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.grain import bands, blur, blur_within, noise, spread


@pytest.mark.parametrize("sigma_px", [0.7, 2.0, 5.0, 12.0])
def test_blur_spreads_a_point_by_sigma(sigma_px):
    point = torch.zeros((1, 1, 128, 128))
    point[..., 64, 64] = 1
    result = blur(point, sigma_px)[0, 0].double().numpy()
    x = np.arange(128)
    row = result.sum(0)
    mean = (row * x).sum()
    assert result.sum() == pytest.approx(1, abs=0.02)
    assert np.sqrt((row * (x - mean) ** 2).sum()) == pytest.approx(sigma_px, rel=0.05)


def test_blur_keeps_a_constant():
    assert torch.allclose(blur(torch.full((2, 3, 33, 21), 0.3), 9.0), torch.tensor(0.3), atol=1e-5)


def test_blur_within_ignores_what_is_masked():
    picture = torch.full((1, 1, 32, 32), 0.5)
    picture[..., 16:] = 100
    weight = torch.ones((1, 1, 32, 32))
    weight[..., 16:] = 0
    assert torch.allclose(blur_within(picture, weight, 2.0)[..., :16], torch.tensor(0.5), atol=1e-4)


def test_bands_add_up():
    picture = torch.rand((2, 3, 40, 40), generator=torch.Generator().manual_seed(0))
    within = torch.rand((2, 40, 40), generator=torch.Generator().manual_seed(1)) > 0.3
    assert torch.allclose(sum(bands(picture, within, 3)), picture, atol=1e-5)


def test_spread_measures_noise_and_ignores_a_few_edges():
    values = 0.02 * torch.randn((1, 3, 128, 128), generator=torch.Generator().manual_seed(0))
    values[..., :20, :] += 0.5
    within = torch.ones((1, 128, 128), dtype=torch.bool)
    assert torch.allclose(spread(values, within), torch.tensor(0.02), rtol=0.3)
    assert torch.equal(spread(values, torch.zeros_like(within)), torch.zeros((1, 3)))


def test_noise_belongs_to_its_seed():
    first = noise(torch.tensor([3, 4]), 1, 64, 64, 2)
    again = noise(torch.tensor([4]), 1, 64, 64, 2)
    assert torch.equal(first[0][1], again[0][0]) and torch.equal(first[1][1], again[1][0])
    assert not torch.equal(first[0][0], first[0][1])
    assert all(band.square().mean(dim=(1, 2, 3)).sqrt().allclose(torch.tensor(1.0), atol=1e-4) for band in first)


@pytest.mark.parametrize("sigma_px", [0.7, 2.9, 11.0])
def test_compiled_blur_is_the_reference(sigma_px):
    picture = torch.randn(2, 3, 41, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(blur(picture, sigma_px).double(), blur(picture.double(), sigma_px), atol=2e-6, rtol=0)
