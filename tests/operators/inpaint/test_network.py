from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn

from operators.inpaint.base import READS, FillInput
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig, filled_up
from operators.types import OperatorInfo
from tests.operators.inpaint.faces import batch_of, drawn, given


@dataclass(frozen=True)
class SmoothConfig(NetworkInpainterConfig):
    kind: Literal["smooth"] = "smooth"


class Smoother(NetworkInpainter):
    """A convolution that is large enough to overflow in half precision where `gain` is."""

    info: ClassVar[OperatorInfo] = OperatorInfo("Smoother", "1", READS, ("inpainted",))
    config: SmoothConfig
    seen: list[tuple[int, torch.dtype]]

    def paint(self, given: FillInput) -> torch.Tensor:
        out = self.network(given.image)
        self.seen = [*getattr(self, "seen", []), (len(given.image), out.dtype)]
        return out


def blur(gain: float = 1.0) -> nn.Module:
    first, second = (nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False) for _ in range(2))
    nn.init.constant_(first.weight, gain / 25)
    nn.init.constant_(second.weight, 1 / gain / 25)
    return nn.Sequential(first, second)


def test_fills_the_hole_and_nothing_else():
    faces = [drawn(64, seed) for seed in range(3)]
    result = Smoother(SmoothConfig(), network=blur())(batch_of(*faces)).faces["inpainted"]
    for face, made in zip(faces, result, strict=True):
        assert np.array_equal(made[~face["hole"]], face["crop"][~face["hole"]])
        assert not np.array_equal(made[face["hole"]], face["crop"][face["hole"]])


def test_faces_go_one_by_one_on_a_cpu_and_have_the_same_bytes_in_any_company():
    faces = [drawn(64, seed) for seed in range(3)]
    operator = Smoother(SmoothConfig(), network=blur())
    together = operator(batch_of(*faces)).faces["inpainted"]
    assert [count for count, _ in operator.seen] == [1, 1, 1]
    assert np.array_equal(operator(batch_of(faces[2])).faces["inpainted"][0], together[2])


def test_half_precision_falls_back_for_the_faces_that_need_it():
    faces = [drawn(64, seed) for seed in range(2)]
    faces[1]["crop"] //= 60  # dark enough not to overflow
    exact = Smoother(SmoothConfig(), network=blur(1e6))(batch_of(*faces)).faces["inpainted"]
    operator = Smoother(SmoothConfig(precision="float16"), network=blur(3e5))
    result = operator(batch_of(*faces)).faces["inpainted"]
    kinds = [kind for _, kind in operator.seen]
    assert kinds.count(torch.float32) >= 1 and torch.float16 in kinds
    assert np.abs(result.astype(int) - exact).max() <= 1


def test_a_batch_is_filled_up_to_one_size():
    few = given(*(drawn(32, seed) for seed in range(2)))
    full = filled_up(few, 5)
    assert (
        full.image.shape[0] == 5
        and torch.equal(full.image[4], few.image[1])
        and torch.equal(full.seeds[2:], few.seeds[1:].expand(3))
    )
    assert filled_up(few, 2) is few and full.edges is None
