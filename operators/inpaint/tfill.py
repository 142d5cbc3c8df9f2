"""TFill: to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from operators.inpaint.base import READS
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class TfillInpainterConfig(NetworkInpainterConfig):
    """Settings of `TfillInpainter`."""

    system: ClassVar[str] = "tfill"

    kind: Literal["tfill"] = option("tfill", "TFill with an official checkpoint")


class TfillInpainter(NetworkInpainter):
    """Fills holes with TFill."""

    info: ClassVar[OperatorInfo] = OperatorInfo("TfillInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: TfillInpainterConfig

    def prepare(self, network):
        from operators.networks.packed import packed
        return packed(network)
