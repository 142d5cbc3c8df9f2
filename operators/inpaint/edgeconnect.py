"""EdgeConnect: to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from operators.inpaint.base import READS
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class EdgeConnectInpainterConfig(NetworkInpainterConfig):
    """Settings of `EdgeConnectInpainter`."""

    system: ClassVar[str] = "edgeconnect"

    kind: Literal["edgeconnect"] = option("edgeconnect", "EdgeConnect with an official checkpoint")


class EdgeConnectInpainter(NetworkInpainter):
    """Fills holes with EdgeConnect."""

    info: ClassVar[OperatorInfo] = OperatorInfo("EdgeConnectInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: EdgeConnectInpainterConfig
