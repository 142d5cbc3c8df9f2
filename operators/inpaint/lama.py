"""LaMa as an inpainter: sizes, the channels that the network takes, and refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from operators.inpaint.base import READS, FillInput
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.inpaint.sizes import pad_to_multiple
from operators.types import OperatorInfo, option

_MULTIPLE = 8


@dataclass(frozen=True)
class LamaInpainterConfig(NetworkInpainterConfig):
    """Settings of `LamaInpainter`."""

    system: ClassVar[str] = "lama"

    kind: Literal["lama"] = option("lama", "LaMa with an official checkpoint")


class LamaInpainter(NetworkInpainter):
    """Fills holes with LaMa."""

    info: ClassVar[OperatorInfo] = OperatorInfo("LamaInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: LamaInpainterConfig

    def paint(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        height, width = given.image.shape[-2:]
        hole = given.hole[:, None].to(given.image.dtype)
        seen = pad_to_multiple(torch.cat([given.image * (1 - hole), hole], 1), _MULTIPLE)
        return self.network(seen)[..., :height, :width]
