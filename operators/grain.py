"""Film grain, skin texture and sharpness: measured band by band, taken away or put back.

A picture is split into octave bands by Gaussian blurs of 0.7, 1.4, 2.8 … px (the coarsest band is not touched). In each band
a robust spread over trusted pixels says how much structure there is; noise is made in the same bands.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def blur(picture: Float[Tensor, "faces channels h w"], sigma_px: float) -> Float[Tensor, "faces channels h w"]:
    """Gaussian blur, edges replicated."""
    radius = min(max(1, round(3 * sigma_px)), min(picture.shape[-2:]) - 1)
    x = torch.arange(-radius, radius + 1, dtype=picture.dtype, device=picture.device)
    kernel = torch.exp(-0.5 * (x / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    faces, channels, h, w = picture.shape
    flat = picture.reshape(faces * channels, 1, h, w)
    flat = functional.conv2d(functional.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    flat = functional.conv2d(functional.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    return flat.reshape(faces, channels, h, w)


def blur_within(
    picture: Float[Tensor, "faces channels h w"], weight: Float[Tensor, "faces 1 h w"], sigma_px: float, floor: float = 1e-4
) -> Float[Tensor, "faces channels h w"]:
    """Gaussian blur of the weighted pixels only (normalised convolution, Knutsson and Westin 1993); 0 where none is near."""
    both = blur(torch.cat([picture * weight, weight], dim=1), sigma_px)
    return both[:, :-1] / both[:, -1:].clamp_min(floor)


def bands(
    picture: Float[Tensor, "faces channels h w"], within: Bool[Tensor, "faces h w"], count: int
) -> list[Float[Tensor, "faces channels h w"]]:
    """`count` octave bands, finest first, then what is left; they add up to the picture. Blurs stay within the mask."""
    weight = within[:, None].to(picture.dtype)
    result, sigma, current = [], 0.7, picture
    for _ in range(count):
        smooth = torch.where(within[:, None], blur_within(picture, weight, sigma), picture)
        result.append(current - smooth)
        current, sigma = smooth, 2 * sigma
    return [*result, current]


def spread(
    values: Float[Tensor, "faces channels h w"], within: Bool[Tensor, "faces h w"], least: int = 64
) -> Float[Tensor, "faces channels"]:
    """Robust standard deviation (1.4826 x median absolute value) of zero-mean values inside a mask; 0 below `least` pixels."""
    absolute = values.abs().masked_fill(~within[:, None], float("nan")).flatten(2)
    median = 1.4826 * torch.nanmedian(absolute, dim=-1).values
    return torch.where(within.flatten(1).sum(1, keepdim=True) >= least, median, torch.zeros_like(median)).nan_to_num(0.0)


def noise(seeds: Int[Tensor, "faces"], channels: int, height: int, width: int, count: int) -> list[Tensor]:
    """`count` bands of noise like `bands` makes them, each of unit spread; same seed, same noise."""
    shape = (channels, height, width)
    white = np.stack([np.random.Generator(np.random.PCG64(int(seed))).standard_normal(shape, np.float32) for seed in seeds.tolist()])
    everywhere = torch.ones((len(white), height, width), dtype=torch.bool)
    split = bands(torch.from_numpy(white), everywhere, count)[:count]
    # spreads of unit white noise in the bands of blurs 0.7, 1.4, 2.8 px and on
    return [band / band.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() for band in split]
