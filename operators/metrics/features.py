"""Inception features of every picture of a batch, for FID, KID, P-IDS and U-IDS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from operators.assets import AssetStore
from operators.batch import Batch
from operators.images import ImageError
from operators.metrics.weights import ready, steps, unavailable
from operators.networks.inception import FEATURES, FidInception, Resize, inception_input
from operators.types import OperatorConfig, OperatorInfo, option

WEIGHTS = ("fid_inception",)


@dataclass(frozen=True)
class FeatureExtractorConfig(OperatorConfig):
    """How a picture reaches the network; only features of one kind may be compared."""

    convention: Resize = option(
        "pytorch-fid", "how the picture is resized to 299 and scaled: pytorch-fid, clean-fid or torch-fidelity"
    )

    @property
    def weights(self) -> tuple[str, ...]:
        """Assets that the operator needs."""
        return WEIGHTS


class FeatureExtractor:
    """pool3 features (2048) of the FID Inception of the whole picture `image_bytes`.

    NaN without the weights (`unavailable` says so) and for rows that are not ok.
    """

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
        self.config, self.device = config, device
        self.network: nn.Module | None = None
        if not self.unavailable(config, assets):
            network = FidInception()
            network.load_state_dict((assets or AssetStore()).weights(WEIGHTS[0]))
            self.network = ready(network, device)

    @classmethod
    def unavailable(cls, config: FeatureExtractorConfig, assets: AssetStore | None = None) -> tuple[str, ...]:
        """What this node lacks, as `weights not available: …`; then the column is NaN. Empty = all is here."""
        return unavailable(config.weights, assets)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Batch:
        features = np.full((len(batch), FEATURES), np.nan, np.float32)
        if self.network is not None:
            for rows in steps(batch.live_rows().tolist(), self.device):
                there, pictures = [], []
                for i in rows:
                    try:
                        pictures.append(inception_input(batch.frame(i), self.config.convention))
                        there.append(i)
                    except ImageError as error:
                        batch.mark_row(i, error.status, self.info.name, type(error).__name__, str(error))
                if there:
                    features[there] = self.network(torch.stack(pictures).to(self.device)).cpu().numpy()
        batch.put_row("inception_features", features)
        return batch
