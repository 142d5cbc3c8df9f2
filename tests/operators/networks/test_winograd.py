from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from operators.networks.winograd import MirroredConv, available

pytestmark = pytest.mark.skipif(not available(), reason="needs a torch with oneDNN")


def direct(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """The same by torch: mirrored borders, convolution, instance norm; channels last."""
    by = conv.dilation[0]
    padded = functional.pad(x.permute(2, 0, 1)[None], (by, by, by, by), mode="reflect")
    return functional.instance_norm(conv(padded), eps=1e-5)[0].permute(1, 2, 0)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (7, 5), (9, 22), (3, 30)])
@torch.inference_mode()
def test_it_is_the_direct_convolution(dilation: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(24, 40, 3, dilation=dilation), torch.randn(*size, 24)
    fast, expected, other = MirroredConv(conv), direct(conv, x), torch.randn(*size, 40)
    torch.testing.assert_close(fast(x), expected, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(fast(x, relu=True), expected.relu(), rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(fast(x, add=other), expected + other, rtol=1e-4, atol=2e-5)


@torch.inference_mode()
def test_threads_change_no_bit() -> None:
    conv, x = MirroredConv(nn.Conv2d(32, 32, 3)), torch.randn(20, 24, 32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(conv(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("other", [nn.Conv2d(8, 8, 5), nn.Conv2d(8, 8, 3, stride=2), nn.Conv2d(8, 8, 3, groups=2)])
def test_other_convolutions_are_refused(other: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="expected a 3x3 convolution of stride 1 in one group"):
        MirroredConv(other)
