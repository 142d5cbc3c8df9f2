"""LaMa as an inpainter: sizes, the channels that the network takes, and refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from operators.inpaint.base import READS, FillInput
from operators.inpaint.lama_refinement import Refinement, refined
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.inpaint.sizes import pad_to_multiple
from operators.networks.lama_fused import Prepared, fused
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class LamaInpainterConfig(NetworkInpainterConfig):
    """Settings of `LamaInpainter`."""

    system: ClassVar[str] = "lama"

    kind: Literal["lama"] = option("lama", "LaMa with an official checkpoint")
    refine: bool = option(
        False,
        "optimise features of finer scales against coarser ones: for crops larger than 1.4 times min_side, about 40 times slower",
    )
    n_iters: int = option(15, "refine: forward passes per scale")
    lr: float = option(0.002, "refine: step of Adam")
    min_side: int = option(512, "refine: scales are halved until the shorter side comes near this, in px")
    max_scales: int = option(3, "refine: scales at most")
    px_budget: int = option(1_800_000, "refine: larger pictures are filled at this many pixels and enlarged")


class LamaInpainter(NetworkInpainter):
    """Fills holes with LaMa.

    Sides are mirrored at the bottom and right to multiples of 8, as in the official code (of what the network halves, where
    that is more). Refinement goes face by face on any device, in float32.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("LamaInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: LamaInpainterConfig

    def prepare(self, network: Prepared) -> Prepared:
        return fused(network)

    def fill(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        if not self.config.refine:
            return super().fill(given)
        painted = torch.cat([self._refined(given.take(slice(i, i + 1))) for i in range(len(given.image))])
        return torch.where(given.hole[:, None], painted, given.image)

    def paint(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        height, width = given.image.shape[-2:]
        hole = given.hole[:, None].to(given.image.dtype)
        multiple = max(8, self.network.multiple)
        # two rows and columns at least where the network is coarsest: mirrored convolutions need them
        multiple = multiple if min(height, width) > multiple else 2 * multiple
        seen = pad_to_multiple(torch.cat([given.image * (1 - hole), hole], 1), multiple)
        return self.network(seen)[..., :height, :width]

    def _refined(self, given: FillInput) -> Float[Tensor, "1 3 h w"]:
        config = self.config
        modulo = max(8, self.network.multiple)
        settings = Refinement(config.n_iters, config.lr, config.min_side, config.max_scales, config.px_budget, modulo)
        return refined(self.network, given.image, given.hole[:, None].to(given.image.dtype), settings)
