"""The segmenter that a config describes."""

from __future__ import annotations

from operators.assets import AssetStore
from operators.segment.grabcut import GrabcutSegmenter, GrabcutSegmenterConfig
from operators.segment.sam import SamSegmenter, SamSegmenterConfig

SegmenterConfig = GrabcutSegmenterConfig | SamSegmenterConfig
"""Told apart by `kind`."""

SEGMENTERS = {"grabcut": (GrabcutSegmenterConfig, GrabcutSegmenter), "sam": (SamSegmenterConfig, SamSegmenter)}


def build_segmenter(
    config: SegmenterConfig, assets: AssetStore | None = None, device: str = "cpu"
) -> GrabcutSegmenter | SamSegmenter:
    """The segmenter of `config.kind`, ready to be called on batches."""
    return SEGMENTERS[config.kind][1](config, assets, device)  # type: ignore[arg-type]
