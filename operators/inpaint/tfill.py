"""TFill: a transformer completes the picture at 256 px, a second network refines it at full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from operators.checkpoints.errors import CheckpointError
from operators.inpaint.base import READS, FillInput
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.inpaint.seeds import normal
from operators.inpaint.sizes import pad_to_multiple, resized, resized_back
from operators.networks.packed import packed
from operators.networks.tfill import GIVE, TFill
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class TfillInpainterConfig(NetworkInpainterConfig):
    """Settings of `TfillInpainter`."""

    system: ClassVar[str] = "tfill"

    kind: Literal["tfill"] = option("tfill", "TFill with an official checkpoint")
    refine: Literal["auto", "on", "off"] = option(
        "auto", "the second stage: auto = where the checkpoint has one, on = must have one, off = the first stage alone"
    )
    short_side_px: int = option(
        0, "bring the crop's shorter side to this size first; 0 = as it is; the published refinement was trained at 512"
    )


class TfillInpainter(NetworkInpainter):
    """Fills holes with TFill; the noise of its generator is drawn from each face's seed.

    Its mask is 1 where the picture is known, its range [-1, 1]. The first stage sees the picture stretched to 256 x 256, as the
    official code does; for the second one sides are padded (mirrored) to multiples of 16, where the official code stretches the
    picture to multiples of 32. Errors: CheckpointError when `refine` is on and the checkpoint has no second stage.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("TfillInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: TfillInpainterConfig
    network: TFill

    def prepare(self, network: TFill) -> TFill:  # type: ignore[override]
        """Without the second stage where it is off; weights in the order that the device reads them."""
        if self.config.refine == "on" and network.G_Ref is None:
            name, found = self.config.checkpoint or "TFill", "only the first stage's networks"
            raise CheckpointError(name, "latest_net_G_Ref.pth", found, f"set refine to auto, or give {GIVE}")
        if self.config.refine == "off":
            network = TFill(network.E, network.T, network.G).eval()
        if torch.device(self.device).type == "cpu" and self.config.precision == "float32":
            packed(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def paint(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        size = (given.image.shape[-2], given.image.shape[-1])
        image, hole = resized(given.image, given.hole, self._working_size(size))
        image = (image * 2 - 1).contiguous(memory_format=torch.channels_last)
        known = (~hole)[:, None].to(image.dtype)
        maps = enumerate(self.network.noise_sizes().items())
        noise = {name: normal(given.seeds, (1, *side), stream=i).to(image.device) for i, (name, side) in maps}
        painted = self.network.coarse(image, known, noise)
        if self.network.G_Ref is not None:
            padded, mask = (pad_to_multiple(x, self.network.multiple) for x in (painted, known))
            refined = self.network.refine(padded.contiguous(memory_format=torch.channels_last), mask)
            painted = refined[..., : image.shape[-2], : image.shape[-1]]
        return resized_back((painted.float() + 1) / 2, size)

    def _working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        shorter, wanted = min(size), self.config.short_side_px
        height, width = (round(side * wanted / shorter) for side in size) if wanted > 0 else size
        return height, width
