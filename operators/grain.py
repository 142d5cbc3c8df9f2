"""Film grain, skin texture and sharpness: measured band by band, taken away or put back.

A picture is split into octave bands by Gaussian blurs of 0.7, 1.4, 2.8 … px (the coarsest band is not touched). In each band
a robust spread over trusted pixels says how much structure there is; noise is made in the same bands.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def blur(picture: Float[Tensor, "faces channels h w"], sigma_px: float) -> Float[Tensor, "faces channels h w"]:
    """Gaussian blur, edges replicated. Above 3 px it is made on a smaller grid and comes back bilinearly."""
    h, w = picture.shape[-2:]
    if sigma_px > 3 and min(h, w) >= 8:
        # pooling and interpolating blur a little themselves
        return doubled(blur(halved(picture), max(0.5, (sigma_px**2 - 0.5) ** 0.5 / 2)), (h, w))
    radius = min(max(1, round(3 * sigma_px)), min(h, w) - 1)
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma_px) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    if picture.device.type == "cpu" and picture.dtype == torch.float32:
        return _compiled(picture, np.concatenate((taps[:0:-1], taps)))
    for axis in (-1, -2):
        size = picture.shape[axis]
        around = functional.pad(picture, (radius, radius, 0, 0) if axis == -1 else (0, 0, radius, radius), mode="replicate")
        picture = taps[0] * picture
        for i in range(1, radius + 1):
            picture.add_(around.narrow(axis, radius - i, size), alpha=float(taps[i]))
            picture.add_(around.narrow(axis, radius + i, size), alpha=float(taps[i]))
    return picture


def halved(picture: Float[Tensor, "faces channels h w"]) -> Float[Tensor, "faces channels h2 w2"]:
    """Half the size, means of 2 x 2 pixels; odd rims count twice."""
    h, w = picture.shape[-2:]
    return functional.avg_pool2d(functional.pad(picture, (0, w % 2, 0, h % 2), mode="replicate"), 2)


def doubled(picture: Float[Tensor, "faces channels h w"], size: tuple[int, int]) -> Float[Tensor, "faces channels h2 w2"]:
    """Twice the size, bilinear, cut to (rows, columns)."""
    large = functional.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
    return large[..., : size[0], : size[1]]


def _compiled(picture: Tensor, kernel: np.ndarray) -> Tensor:
    """The same convolution plane by plane, by OpenCV."""
    planes = np.ascontiguousarray(picture.detach().numpy()).reshape(-1, *picture.shape[-2:])
    out = np.empty_like(planes)
    for plane, target in zip(planes, out, strict=True):
        cv2.sepFilter2D(plane, cv2.CV_32F, kernel, kernel, target, borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(out).reshape(picture.shape)


def blur_within(
    picture: Float[Tensor, "faces channels h w"], weight: Float[Tensor, "faces 1 h w"], sigma_px: float, floor: float = 1e-4
) -> Float[Tensor, "faces channels h w"]:
    """Gaussian blur of the weighted pixels only (normalised convolution, Knutsson and Westin 1993); 0 where none is near."""
    both = blur(torch.cat([picture * weight, weight], dim=1), sigma_px)
    return both[:, :-1] / both[:, -1:].clamp_min(floor)


def _steps_px(count: int) -> list[float]:
    """Blurs that take 0 to 0.7 px, 0.7 to 1.4 px, 1.4 to 2.8 px and on."""
    return [0.7, *(0.7 * 3**0.5 * 2**i for i in range(count - 1))][:count]


def bands(
    picture: Float[Tensor, "faces channels h w"], within: Bool[Tensor, "faces h w"], count: int
) -> list[Float[Tensor, "faces channels h w"]]:
    """`count` octave bands, finest first, then what is left; they add up to the picture. Blurs stay within the mask."""
    weight = within[:, None].to(picture.dtype)
    result, current = [], picture
    for sigma in _steps_px(count):
        smooth = torch.where(within[:, None], blur_within(current, weight, sigma), current)
        result.append(current - smooth)
        current = smooth
    return [*result, current]


def quantile(
    values: Float[Tensor, "faces channels h w"], within: Bool[Tensor, "faces h w"], share: float
) -> Float[Tensor, "faces channels"]:
    """Quantile inside a mask, from every second pixel of every second line; 0 where the mask is empty."""
    within = within[:, ::2, ::2].flatten(1)
    ordered = values[..., ::2, ::2].flatten(2).masked_fill(~within[:, None], float("inf")).sort(dim=-1).values
    index = (share * (within.sum(1) - 1)).round().clamp_min(0).to(torch.int64)
    found = ordered.gather(-1, index[:, None, None].expand(-1, values.shape[1], 1))[..., 0]
    return torch.where(within.any(1)[:, None], found, torch.zeros_like(found))


def spread(
    values: Float[Tensor, "faces channels h w"], within: Bool[Tensor, "faces h w"], least: int = 64
) -> Float[Tensor, "faces channels"]:
    """Standard deviation of zero-mean values inside a mask, as its flatter parts have it; 0 below `least` pixels.

    Taken from the 0.3 quantile of the absolute values (0.3853 standard deviations of a normal distribution): features,
    hairs and edges lie above it.
    """
    enough = within.flatten(1).sum(1, keepdim=True) >= least
    return torch.where(enough, quantile(values.abs(), within, 0.3) / 0.3853, 0.0)


def noise(seeds: Int[Tensor, "faces"], channels: int, height: int, width: int, count: int) -> list[Tensor]:
    """`count` bands of noise like `bands` makes them, each of unit spread; same seed, same noise."""
    shape = (channels, height, width)
    white = np.stack(
        [np.random.Generator(np.random.PCG64(int(seed))).standard_normal(shape, np.float32) for seed in seeds.tolist()]
    )
    result, current = [], torch.from_numpy(white)
    for sigma in _steps_px(count):
        smooth = blur(current, sigma)
        result.append(current - smooth)
        current = smooth
    return [band / band.double().square().mean(dim=(1, 2, 3), keepdim=True).sqrt().float() for band in result]
