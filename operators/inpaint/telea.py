"""OpenCV's two classic inpainters: no learning, no prior; the lower bound that everything else must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from operators.inpaint.base import READS, FillInput, Inpainter, InpainterConfig
from operators.types import OperatorInfo, option

Kind = Literal["telea", "navier_stokes"]


def continued(
    picture: UInt8[np.ndarray, "h w 3"], hole: Bool[np.ndarray, "h w"], kind: Kind, radius_px: float
) -> UInt8[np.ndarray, "h w 3"]:
    """The surroundings continued into the hole: fast marching (Telea 2004) or Navier-Stokes (Bertalmio et al. 2001)."""
    how = cv2.INPAINT_TELEA if kind == "telea" else cv2.INPAINT_NS
    return cv2.inpaint(picture, hole.astype(np.uint8), radius_px, how)


@dataclass(frozen=True)
class TeleaInpainterConfig(InpainterConfig):
    """Fast marching (Telea 2004) or Navier-Stokes (Bertalmio et al. 2001)."""

    kind: Kind = "telea"
    radius_px: float = option(5.0, "radius of the neighbourhood that each filled pixel is made from, crop pixels")


class TeleaInpainter(Inpainter):
    """Continues the surroundings into the hole with cv2.inpaint."""

    info: ClassVar[OperatorInfo] = OperatorInfo("TeleaInpainter", "1", READS, ("inpainted",))
    config: TeleaInpainterConfig

    def __init__(self, config: TeleaInpainterConfig = TeleaInpainterConfig(), assets: object | None = None, device: str = "cpu"):
        super().__init__(config, assets, device)

    def fill(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        images = given.image.mul(255.0).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        kind, radius_px = self.config.kind, self.config.radius_px
        filled = [continued(image, hole, kind, radius_px) for image, hole in zip(images, given.hole.cpu().numpy(), strict=True)]
        result = torch.from_numpy(np.stack(filled)).to(given.image.device).permute(0, 3, 1, 2).to(torch.float32).div(255.0)
        return torch.where(given.hole[:, None], result, given.image)
