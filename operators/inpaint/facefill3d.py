"""3DFaceFill: to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from operators.inpaint.base import READS
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class FaceFillInpainterConfig(NetworkInpainterConfig):
    """Settings of `FaceFillInpainter`."""

    system: ClassVar[str] = "facefill3d"

    kind: Literal["facefill3d"] = option("facefill3d", "3DFaceFill with an official checkpoint")


class FaceFillInpainter(NetworkInpainter):
    """Fills holes with 3DFaceFill."""

    info: ClassVar[OperatorInfo] = OperatorInfo("FaceFillInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: FaceFillInpainterConfig
