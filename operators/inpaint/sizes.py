"""Pictures at the sizes that a network takes, and back, with the hole's outline kept at full resolution."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

Pad = Literal["symmetric", "reflect", "replicate", "zero"]


def pad_to_multiple(x: Float[Tensor, "*n c h w"], multiple: int, mode: Pad = "symmetric") -> Float[Tensor, "*n c H W"]:
    """Padded at the bottom and right so that both sides are multiples; crop the result with `[..., :h, :w]`.

    symmetric repeats the border pixel (numpy's mode of that name), reflect does not (torch's).
    """
    height, width = x.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if mode in ("symmetric", "reflect"):
        rows, columns = (_mirrored(size, size + more, mode, x.device) for size, more in ((height, down), (width, right)))
        return x[..., rows, :][..., columns] if down or right else x
    if mode == "replicate":
        return functional.pad(x, (0, right, 0, down), mode="replicate")
    return functional.pad(x, (0, right, 0, down))


def _mirrored(size: int, wanted: int, mode: Pad, device: torch.device) -> Tensor:
    """Indices 0 … wanted - 1 folded back into 0 … size - 1, as often as needed."""
    index = torch.arange(wanted, device=device)
    if mode == "symmetric":
        index = index % (2 * size)
        return torch.where(index < size, index, 2 * size - 1 - index)
    period = max(2 * size - 2, 1)
    index = index % period
    return torch.where(index < size, index, period - index)


def resized(
    image: Float[Tensor, "faces 3 h w"], hole: Bool[Tensor, "faces h w"], size: tuple[int, int]
) -> tuple[Float[Tensor, "faces 3 H W"], Bool[Tensor, "faces H W"]]:
    """Picture and hole at another size: antialiased, and what is in the hole does not bleed into known pixels.

    A pixel of the result is hole as soon as any of the hole lies in it. Known pixels are averages of known pixels alone.
    """
    if tuple(image.shape[-2:]) == size:
        return image, hole
    known = (~hole)[:, None].to(image.dtype)
    both = functional.interpolate(torch.cat([image * known, known], 1), size, mode="bilinear", antialias=True)
    smaller = both[:, :-1] / both[:, -1:].clamp_min(1e-3)
    shrinks = size[0] <= image.shape[-2] and size[1] <= image.shape[-1]
    marks = hole[:, None].to(image.dtype)
    grown = functional.adaptive_max_pool2d(marks, size) if shrinks else functional.interpolate(marks, size, mode="bilinear")
    return smaller.clamp(0, 1), grown[:, 0] > 0


def resized_back(painted: Float[Tensor, "faces 3 H W"], size: tuple[int, int]) -> Float[Tensor, "faces 3 h w"]:
    """What a network painted at another size, at the picture's own."""
    if tuple(painted.shape[-2:]) == size:
        return painted
    return functional.interpolate(painted, size, mode="bicubic", antialias=True, align_corners=False)


def square(image: Float[Tensor, "faces 3 h w"], hole: Bool[Tensor, "faces h w"]) -> tuple[Tensor, Tensor]:
    """Mirrored at the bottom or right to a square: for networks of one size; cut the result back with `[..., :h, :w]`."""
    height, width = image.shape[-2:]
    side = max(height, width)
    rows, columns = (_mirrored(size, side, "symmetric", image.device) for size in (height, width))
    return image[..., rows, :][..., columns], hole[..., rows, :][..., columns]
