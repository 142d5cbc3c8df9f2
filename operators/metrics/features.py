"""Inception features of every picture of a batch, for FID, KID, P-IDS and U-IDS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from operators.assets import AssetStore
from operators.batch import Batch
from operators.types import OperatorConfig, OperatorInfo, option

FEATURES = 2048


@dataclass(frozen=True)
class FeatureExtractorConfig(OperatorConfig):
    """How a picture reaches the network; only features of one kind may be compared."""

    convention: Literal["pytorch-fid", "clean-fid", "torch-fidelity"] = option(
        "pytorch-fid", "how the picture is resized to 299 and scaled: pytorch-fid, clean-fid or torch-fidelity"
    )


class FeatureExtractor:
    """pool3 features (2048) of the FID Inception of the whole picture `image_bytes`."""

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FeatureExtractor",
        version="1",
        reads=("image_bytes",),
        writes=("inception_features",),
        wants_gpu=True,
    )

    def __init__(
        self, config: FeatureExtractorConfig = FeatureExtractorConfig(), assets: AssetStore | None = None, device: str = "cpu"
    ):
        self.config = config

    @classmethod
    def unavailable(cls, config: FeatureExtractorConfig, assets: AssetStore) -> tuple[str, ...]:
        """What this node lacks, as `weights not available: …`; then the column is NaN. Empty = all is here."""
        return ("weights not available: fid_inception",)

    def __call__(self, batch: Batch) -> Batch:
        batch.put_row("inception_features", np.full((len(batch), FEATURES), np.nan))
        return batch
