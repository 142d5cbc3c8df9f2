"""LPIPS of every picture of a batch against its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from operators.assets import AssetStore
from operators.batch import Batch
from operators.columns import REGIONS
from operators.metrics.pairs import PairConfig, pairs
from operators.metrics.pixels import rim_of
from operators.metrics.weights import ready, unavailable
from operators.networks import lpips
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class PerceptualMeasurerConfig(PairConfig):
    """Which LPIPS, and of what."""

    network: lpips.Trunk = option("alex", "trunk of LPIPS: alex (what papers report as a metric) or vgg")
    rim_px: float = option(16.0, "width of the rim outside the hole, pixels")

    @property
    def weights(self) -> tuple[str, ...]:
        """Assets that the operator needs."""
        return (f"lpips_{self.network}",)


class PerceptualMeasurer:
    """LPIPS (Zhang et al. 2018) over the picture, and its spatial map averaged inside the hole and in its rim.

    The picture's number is the published one; a region's is the mean of the map that `lpips` gives with `spatial=True`.
    Without the weights everything is NaN and `unavailable` says so; so is a picture too small for the network.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="PerceptualMeasurer",
        version="1",
        reads=("image_bytes", "truth_bytes", "given_mask_bytes"),
        writes=tuple(f"lpips_{region}" for region in REGIONS),
        wants_gpu=True,
    )

    def __init__(
        self,
        config: PerceptualMeasurerConfig = PerceptualMeasurerConfig(),
        assets: AssetStore | None = None,
        device: str = "cpu",
    ):
        self.config, self.device = config, device
        self.network: Any = None
        if not self.unavailable(config, assets):
            network = lpips.build(config.network)
            network.load_state_dict((assets or AssetStore()).weights(config.weights[0]), strict=False)
            self.network = ready(network, device)

    @classmethod
    def unavailable(cls, config: PerceptualMeasurerConfig, assets: AssetStore | None = None) -> tuple[str, ...]:
        """What this node lacks, as `weights not available: …`; then the columns are NaN. Empty = all is here."""
        return unavailable(config.weights, assets)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Batch:
        values = {region: np.full(len(batch), np.nan) for region in REGIONS}
        for pair in pairs(batch, self.config, self.info.name) if self.network is not None else ():
            height, width = pair.image.shape[:2]
            if min(height, width) < lpips.SMALLEST[self.config.network]:
                continue
            maps = lpips.layer_maps(self.network, self._tensor(pair.image), self._tensor(pair.truth))
            values["image"][pair.row] = float(lpips.distance(maps)[0])
            spatial = lpips.distance_map(maps, height, width)[0].cpu().numpy().astype(np.float64)
            for region, where in (("hole", pair.hole), ("rim", rim_of(pair.hole, self.config.rim_px))):
                if where.any():
                    values[region][pair.row] = spatial[where].mean()
        for region, column in values.items():
            batch.put_row(f"lpips_{region}", column)
        return batch

    def _tensor(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
        pixels = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
        return torch.from_numpy(pixels / np.float32(127.5) - 1)[None].to(self.device)
