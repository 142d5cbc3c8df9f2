"""Is the lower face covered at all? Evidence from colours at landmarks, before any segmentation."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8


def occluder_evidence(
    crops: UInt8[np.ndarray, "faces h w 3"], landmarks: Float[np.ndarray, "faces 468 2"]
) -> Float[np.ndarray, "faces"]:
    """Log-odds that something covers the lower face."""
    return np.ones(len(crops), np.float32)
