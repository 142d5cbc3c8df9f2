"""Edge maps: Canny as holes are planned with, and as scikit-image computes it, which published networks were trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

GREY = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in scikit-image's rgb2gray (ITU-R BT.709, CRT phosphors)."""


def canny(images: UInt8[np.ndarray, "faces h w 3"], sigma: float) -> Bool[np.ndarray, "faces h w"]:
    """Canny edges of the luminance (ITU-R 601): Gaussian of `sigma` pixels, 3 x 3 Sobel, hysteresis at 0.1 and 0.2.

    The thresholds are on the unnormalised Sobel magnitude of a picture in [0, 1]. Canny, "A computational approach to
    edge detection", PAMI 1986.
    """
    scale = 64.0
    out = np.empty(images.shape[:3], bool)
    for i, image in enumerate(images):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255 * scale * 8
        smooth = cv2.GaussianBlur(grey, (0, 0), sigma)
        dx, dy = (cv2.Sobel(smooth, cv2.CV_32F, *axis).round().astype(np.int16) for axis in ((1, 0), (0, 1)))
        out[i] = cv2.Canny(dx, dy, 0.1 * scale * 8, 0.2 * scale * 8, L2gradient=True) > 0
    return out


def fused(votes: UInt8[np.ndarray, "faces h w"], agreement: float) -> Bool[np.ndarray, "faces h w"]:
    """Lines one pixel wide along which at least this share of the views found an edge (votes of 255 = all of them)."""
    from skimage.morphology import skeletonize

    thinned: Callable[..., Any] = skeletonize
    return np.stack([thinned(agreed) for agreed in votes >= max(agreement * 255, 1)]).astype(bool)


def grey(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """One channel, as scikit-image's rgb2gray weights it."""
    red, green, blue = (images[:, i : i + 1] * weight for i, weight in enumerate(GREY))
    return red + green + blue


def canny_skimage(
    images: Float[Tensor, "n 3 h w"], sigma: float, known: Bool[Tensor, "n h w"] | None = None
) -> Bool[Tensor, "n h w"]:
    """scikit-image's Canny with its default thresholds, on the 8-bit levels of pictures in [0, 1], computed on the CPU.

    What is not `known` neither counts nor has edges, nor do the pixels beside it.
    """
    from skimage.feature import canny as published

    detect: Callable[..., Any] = published
    levels = images.detach().mul(255).round().to("cpu", torch.float64).div(255)
    pictures = grey(levels)[:, 0].numpy()
    masks = [None] * len(pictures) if known is None else list(known.cpu().numpy())
    maps = [detect(picture, sigma=sigma, mask=mask) for picture, mask in zip(pictures, masks, strict=True)]
    return torch.from_numpy(np.stack(maps)).to(images.device)
