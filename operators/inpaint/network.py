"""What inpainting networks share: their checkpoint, their device and precision, and how many faces go through at once.

A system is a config with its own `kind`, and `paint`. On a CPU faces go through one by one: that is the faster way there,
and a face's bytes do not depend on who comes with it. On a GPU they go in batches of one fixed size, the last one filled up
with copies, for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from operators.assets import AssetStore
from operators.checkpoints.open import open_network
from operators.inpaint.base import FillInput, Inpainter, InpainterConfig
from operators.types import option

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class NetworkInpainterConfig(InpainterConfig):
    """What every network's config has. `system` is its name in `operators.checkpoints.registry`."""

    system: ClassVar[str] = ""

    checkpoint: str = option(
        "", "official files (see docs/networks.md), or the name of a network that `jobs.assets convert` made"
    )
    batch_size: int = option(16, "faces filled at once on a GPU; on a CPU they go one by one")
    precision: Precision = option(
        "float32", "arithmetic of the network; where half precision gives a face no numbers, it is done again in float32"
    )

    @property
    def checkpoints(self) -> dict[str, str]:
        """Field -> system of every official checkpoint that the config names."""
        return {"checkpoint": self.system}


class NetworkInpainter(Inpainter):
    """Fills holes with a published network. Subclasses set `info`, `config` and implement `paint`.

    `network` takes the place of the checkpoint: a network that is built already. Errors: CheckpointError.
    """

    config: NetworkInpainterConfig

    def __init__(
        self,
        config: NetworkInpainterConfig,
        assets: AssetStore | None = None,
        device: str = "cpu",
        network: nn.Module | None = None,
    ):
        super().__init__(config, assets, device)
        self.network: Any = self.prepare(network or open_network(config.system, config.checkpoint, assets)).to(device)

    def prepare(self, network: nn.Module) -> nn.Module:
        """Inference-time changes of a built network that leave its outputs what they are: folded norms, memory layout."""
        return network

    def paint(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        """The filled pictures in [0, 1] (clamped later), same size as given; known pixels may be anything."""
        raise NotImplementedError

    def fill(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        count = len(given.image)
        if torch.device(self.device).type == "cpu":
            painted = torch.cat([self._paint_safely(given.take(slice(i, i + 1))) for i in range(count)])
        else:
            painted = self._paint_safely(filled_up(given, self.config.batch_size))[:count]
        return torch.where(given.hole[:, None], painted, given.image)

    def _paint_safely(self, given: FillInput) -> Tensor:
        """`paint` in the precision that was asked for; faces without finite numbers once more in float32."""
        if self.config.precision == "float32":
            return self.paint(given)
        kind = torch.device(self.device).type
        with torch.autocast(kind, getattr(torch, self.config.precision)):
            painted = self.paint(given).float()
        return retried(painted, given, self.paint)


def retried(painted: Tensor, given: FillInput, again: Callable[[FillInput], Tensor]) -> Tensor:
    """The pictures, those with numbers that are not finite made anew one by one."""
    for i in torch.nonzero(~torch.isfinite(painted).flatten(1).all(1))[:, 0].tolist():
        painted[i : i + 1] = again(given.take(slice(i, i + 1)))
    return painted


def filled_up(given: FillInput, count: int) -> FillInput:
    """The faces, with copies of the last one up to `count`."""
    missing = count - len(given.image)
    if missing <= 0:
        return given
    names = [name for name in given.__dataclass_fields__ if getattr(given, name) is not None]
    longer: dict[str, Any] = {}
    for name in names:
        value = getattr(given, name)
        longer[name] = torch.cat([value, value[-1:].expand(missing, *value.shape[1:])])
    return replace(given, **longer)
