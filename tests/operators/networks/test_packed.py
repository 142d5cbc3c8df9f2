import copy

import pytest
import torch
from torch import nn

from operators.networks.packed import packed


class Net(nn.Module):
    """Every kind of layer that is packed, and some that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4, bias=False),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2),
            nn.Conv2d(8, 6, 1),
            nn.Conv2d(6, 6, 1, stride=2, bias=False),
            nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
            nn.ConvTranspose2d(6, 6, 2, stride=2),
        )
        self.vectors = nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 4, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.vectors(self.maps(x).flatten(2).transpose(1, 2))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_stay_what_they_were(layout):
    torch.manual_seed(0)
    net = Net().eval().requires_grad_(False)
    before = copy.deepcopy(net)
    after = packed(net)
    assert packed(after) is after  # a second time changes nothing
    for size in ((1, 3, 16, 24), (3, 3, 33, 17)):
        x = torch.randn(size).contiguous(memory_format=layout)
        torch.testing.assert_close(after(x), before(x), rtol=1e-4, atol=1e-5)


def test_one_picture_gives_the_same_in_a_batch():
    torch.manual_seed(0)
    net = packed(Net().eval().requires_grad_(False))
    x = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-4, atol=1e-5)
