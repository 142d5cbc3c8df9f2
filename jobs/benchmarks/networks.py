"""Networks of the source projects, with random weights: seconds per image as published (plain modules) and as used here."""

from __future__ import annotations

import torch

from operators.inpaint.base import FillInput
from operators.inpaint.edgeconnect import EdgeConnectInpainterConfig
from operators.inpaint.facefill3d import FaceFillInpainterConfig
from operators.inpaint.lama import LamaInpainterConfig
from operators.inpaint.mat import MatInpainterConfig
from operators.inpaint.tfill import TfillInpainterConfig

CONFIGS = (
    EdgeConnectInpainterConfig(),
    LamaInpainterConfig(),
    MatInpainterConfig(),
    TfillInpainterConfig(),
    FaceFillInpainterConfig(),
)


def scene(faces: int, side: int) -> FillInput:
    """Noise with a hole where a mask sits, and everything that a system may ask for."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand((faces, 3, side, side), generator=random)
    hole = torch.zeros(faces, side, side, dtype=torch.bool)
    hole[:, side // 2 : side * 7 // 8, side // 4 : side * 3 // 4] = True
    return FillInput(
        image=torch.where(hole[:, None], 0.5, image),
        hole=hole,
        seeds=torch.arange(faces),
        edges=torch.rand((faces, side, side), generator=random) < 0.05,
        prior=image,
        prior_mask=torch.ones_like(hole),
        visible_face=~hole,
        valid=torch.ones_like(hole),
    )
