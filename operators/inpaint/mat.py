"""MAT: to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from operators.inpaint.base import READS
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class MatInpainterConfig(NetworkInpainterConfig):
    """Settings of `MatInpainter`."""

    system: ClassVar[str] = "mat"

    kind: Literal["mat"] = option("mat", "MAT with an official checkpoint")


class MatInpainter(NetworkInpainter):
    """Fills holes with MAT."""

    info: ClassVar[OperatorInfo] = OperatorInfo("MatInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: MatInpainterConfig
