"""LaMa: to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from operators.inpaint.base import READS
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class LamaInpainterConfig(NetworkInpainterConfig):
    """Settings of `LamaInpainter`."""

    system: ClassVar[str] = "lama"

    kind: Literal["lama"] = option("lama", "LaMa with an official checkpoint")


class LamaInpainter(NetworkInpainter):
    """Fills holes with LaMa."""

    info: ClassVar[OperatorInfo] = OperatorInfo("LamaInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: LamaInpainterConfig
