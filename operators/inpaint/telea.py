"""OpenCV's two classic inpainters: no learning, no prior; the lower bound that everything else must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from operators.inpaint.base import READS, FillInput, Inpainter, InpainterConfig
from operators.types import OperatorInfo, option


@dataclass(frozen=True)
class TeleaInpainterConfig(InpainterConfig):
    """Fast marching (Telea 2004) or Navier-Stokes (Bertalmio et al. 2001)."""

    kind: Literal["telea", "navier_stokes"] = "telea"
    radius_px: float = option(5.0, "radius of the neighbourhood that each filled pixel is made from, crop pixels")


class TeleaInpainter(Inpainter):
    """Continues the surroundings into the hole with cv2.inpaint."""

    info: ClassVar[OperatorInfo] = OperatorInfo("TeleaInpainter", "1", READS, ("inpainted",))
    config: TeleaInpainterConfig

    def __init__(self, config: TeleaInpainterConfig = TeleaInpainterConfig(), assets: object | None = None, device: str = "cpu"):
        super().__init__(config, assets, device)

    def fill(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        method = cv2.INPAINT_TELEA if self.config.kind == "telea" else cv2.INPAINT_NS
        images = given.image.mul(255.0).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        holes = given.hole.cpu().numpy().astype(np.uint8)
        filled = [cv2.inpaint(image, hole, self.config.radius_px, method) for image, hole in zip(images, holes, strict=True)]
        result = torch.from_numpy(np.stack(filled)).to(given.image.device).permute(0, 3, 1, 2).to(torch.float32).div(255.0)
        return torch.where(given.hole[:, None], result, given.image)
