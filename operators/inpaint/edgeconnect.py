"""EdgeConnect: edges of what the hole hides, from its own network or from our render, and the picture painted along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.edges import canny_skimage
from operators.inpaint.base import READS, FillInput
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.inpaint.seeds import uniform
from operators.inpaint.sizes import pad_to_multiple
from operators.networks import winograd
from operators.networks.edgeconnect import FILES, GIVE, EdgeConnect, Generator, Mode
from operators.networks.edgeconnect_cpu import FastGenerator
from operators.types import OperatorInfo, option

_SMALLEST = 12
_MULTIPLE = 4


@dataclass(frozen=True)
class EdgeConnectInpainterConfig(NetworkInpainterConfig):
    """Settings of `EdgeConnectInpainter`; in brackets what the official options are called."""

    system: ClassVar[str] = "edgeconnect"

    kind: Literal["edgeconnect"] = option("edgeconnect", "EdgeConnect with an official checkpoint")
    mode: Mode = option(
        "joint",
        "edge: the edge map itself; inpaint: along the edges that are there; edge_inpaint and joint: along those that the edge"
        " generator finds (--model 1 to 4; 3 and 4 differ in training alone)",
    )
    edges: Literal["photo", "render"] = option(
        "photo",
        "photo: Canny edges of what is known, none in the hole (EDGE 1); render: the map of the hole's planner, edges of the"
        " rendered face in the hole and of the photo around it (EDGE 2)",
    )
    nms: Literal["none", "photo", "completed"] = option(
        "none",
        "edges of the render are kept only where Canny finds some, too (NMS 1): photo: in what is known, as test.py does,"
        " which leaves none in the hole; completed: in the photo with the render in its hole",
    )
    merged: bool = option(
        False, "the inpainting generator gets known edges around the hole, as in training; test.py gives it the network's alone"
    )
    sigma_px: float | None = option(
        None,
        "Gaussian of Canny (SIGMA); none: as config.yml beside the checkpoint says, else 2; 0: 1 to 4 by chance; -1: no edges",
    )


class EdgeConnectInpainter(NetworkInpainter):
    """Fills holes with EdgeConnect. Sides that are no multiples of 4 are mirrored at the bottom and right, and cut back.

    Errors: CheckpointError, also when the checkpoint lacks the generator that the mode needs.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("EdgeConnectInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: EdgeConnectInpainterConfig
    network: EdgeConnect

    def __init__(
        self,
        config: EdgeConnectInpainterConfig,
        assets: AssetStore | None = None,
        device: str = "cpu",
        network: nn.Module | None = None,
    ):
        super().__init__(config, assets, device, network)
        needed = {"edge": (True, False), "inpaint": (False, True)}.get(config.mode, (True, True))
        have = (self.network.edge is not None, self.network.inpaint is not None)
        lacking = [name for name, wanted, there in zip(FILES, needed, have, strict=True) if wanted and not there]
        if lacking:
            raise CheckpointError(
                config.checkpoint or "network", f"{' and '.join(lacking)} for mode {config.mode}", "none", f"give {GIVE}"
            )

    def prepare(self, network: nn.Module) -> nn.Module:
        """On a CPU in float32: the faster form of both generators, where this torch has what it needs."""
        assert isinstance(network, EdgeConnect)
        if torch.device(self.device).type != "cpu" or self.config.precision != "float32" or not winograd.available():
            return network
        edge, inpaint = (FastGenerator(part) if isinstance(part, Generator) else part for part in (network.edge, network.inpaint))
        return EdgeConnect(edge, inpaint, network.sigma).eval()

    def paint(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        height, width = given.image.shape[-2:]
        hole = given.hole[:, None].to(given.image.dtype)
        layers = torch.cat((given.image, self.known_edges(given)[:, None].to(hole.dtype), hole), 1)
        padded = pad_to_multiple(layers, _MULTIPLE if min(height, width) >= _SMALLEST else _SMALLEST)
        image, edges, hole = padded.split((3, 1, 1), 1)
        made = self.network(image, edges, hole, self.config.mode, self.config.merged)
        return made[..., :height, :width].expand(-1, 3, -1, -1)

    def known_edges(self, given: FillInput) -> Bool[Tensor, "faces h w"]:
        """The edge map that the networks are given."""
        if self.config.edges == "photo":
            return self._canny(given, given.image, ~given.hole)
        if given.edges is None:
            raise ValueError("edges render: expected FillInput.edges, got none: run HolePlanner after FaceRenderer")
        if self.config.nms == "none":
            return given.edges
        if self.config.nms == "photo":
            return given.edges & self._canny(given, given.image, ~given.hole)
        if given.prior is None:
            raise ValueError("nms completed: expected FillInput.prior, got none: run FaceRenderer")
        return given.edges & self._canny(given, torch.where(given.hole[:, None], given.prior, given.image), None)

    def _canny(self, given: FillInput, images: Tensor, known: Bool[Tensor, "faces h w"] | None) -> Bool[Tensor, "faces h w"]:
        asked = self.config.sigma_px if self.config.sigma_px is not None else self.network.sigma
        sigma = 2.0 if asked is None else asked
        if sigma < 0:
            return torch.zeros_like(given.hole)
        if sigma > 0:
            return canny_skimage(images, sigma, known)
        chosen = 1 + (4 * uniform(given.seeds, (1,))[:, 0]).long()
        maps = [
            canny_skimage(images[i : i + 1], float(chosen[i]), None if known is None else known[i : i + 1])
            for i in range(len(images))
        ]
        return torch.cat(maps)
