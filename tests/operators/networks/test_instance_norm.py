from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from operators.networks.instance_norm import normed_


@pytest.mark.parametrize("size", [(17, 9, 5), (1, 40, 64), (64, 2, 1)])
def test_it_is_torchs_in_place_with_what_follows(size: tuple[int, int, int]) -> None:
    x, other = torch.randn(size) * 3 + 100, torch.randn(size)
    expected = functional.instance_norm(x.double().permute(2, 0, 1)[None], eps=1e-5)[0].permute(1, 2, 0).float()
    for result, wanted in (
        (normed_(x.clone()), expected),
        (normed_(x.clone(), relu=True), expected.relu()),
        (normed_(x.clone(), add=other), expected + other),
    ):
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-4)
    assert normed_(x) is x


def test_a_channel_of_one_value_stays_finite() -> None:
    assert torch.equal(normed_(torch.full((4, 4, 2), 7.0)), torch.zeros(4, 4, 2))
