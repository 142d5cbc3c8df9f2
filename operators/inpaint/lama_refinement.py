"""LaMa's refinement: features of the finer scales are optimised until the picture agrees with the coarser one.

Kulshreshtha, Pugh and Jiddi, Feature Refinement to Improve High Resolution Image Inpainting, 2022. The network is cut before
its first residual block; what the front part gives is the start, and Adam moves it for a few steps per scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from operators.inpaint.sizes import pad_to_multiple, resized_back
from operators.networks.lama_fused import Prepared

_EROSION = 15


@dataclass(frozen=True)
class Refinement:
    """Settings, as in the official configs/prediction/default.yaml."""

    n_iters: int = 15
    lr: float = 0.002
    min_side: int = 512
    max_scales: int = 3
    px_budget: int = 1_800_000
    modulo: int = 8


def refined(
    network: Prepared, image: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], settings: Refinement
) -> Float[Tensor, "1 3 h w"]:
    """A picture in [0, 1] with its hole (1) filled by refinement, at its own size.

    Gradients are taken inside, also where the caller works without. Weights must not be inference tensors.
    """
    *_, (filled, _) = scales(network, image, hole, settings)
    return resized_back(filled, (image.shape[-2], image.shape[-1]))


def scales(
    network: Prepared, image: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], settings: Refinement
) -> Iterator[tuple[Float[Tensor, "1 3 h2 w2"], Float[Tensor, "1 1 h2 w2"]]]:
    """The filled picture and its hole at every scale, the coarsest first."""
    front, rear = network.model[: network.first_block], network.model[network.first_block :]
    coarser: Tensor | None = None
    for picture, mask in pyramid(image, hole, settings):
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(image.device.type, enabled=False):
            # clones: tensors of inference mode cannot take part in a backward pass
            coarser = _filled(front, rear, picture.clone(), mask.clone(), coarser, settings)
        yield coarser, mask


def pyramid(image: Tensor, hole: Tensor, settings: Refinement) -> list[tuple[Tensor, Tensor]]:
    """Picture and hole at every scale, the coarsest first. A pixel is hole as soon as blur brings any of the hole into it."""
    height, width = image.shape[-2:]
    if height * width > settings.px_budget:
        ratio = math.sqrt(settings.px_budget / (height * width))
        image, hole = (_resize(x, (int(height * ratio), int(width * ratio))) for x in (image, hole))
        hole = (hole > 1e-8).to(image.dtype)
    octaves = math.log2(min(image.shape[-2:]) / settings.min_side)
    levels = [(image, hole)]
    for _ in range(min(1 + round(max(0.0, octaves)), settings.max_scales) - 1):
        image, hole = halved(image), (halved(hole) >= 1e-8).to(image.dtype)
        levels.append((image, hole))
    return levels[::-1]


def halved(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Blurred (5x5, sigma 1, mirrored at the border) and at half the size."""
    offsets = torch.arange(-2, 3, device=x.device, dtype=x.dtype)
    weights = torch.exp(-(offsets**2) / 2)
    weights = weights / weights.sum()
    channels = x.shape[1]
    x = functional.pad(x, (2, 2, 2, 2), mode="reflect")
    x = functional.conv2d(x, weights.view(1, 1, 1, 5).expand(channels, -1, -1, -1), groups=channels)
    x = functional.conv2d(x, weights.view(1, 1, 5, 1).expand(channels, -1, -1, -1), groups=channels)
    return _resize(x, ((x.shape[-2]) // 2, (x.shape[-1]) // 2))


def sure(hole: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 h2 w2"]:
    """Pixels of half the size that lie well inside the hole: all of it hole, eroded by an ellipse of 15 px."""
    whole = _resize(hole, (hole.shape[-2] // 2, hole.shape[-1] // 2)) >= 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_EROSION, _EROSION))
    kernel = torch.from_numpy(ellipse).to(hole)[None, None]
    near_known = functional.conv2d((~whole).to(hole.dtype), kernel, padding=_EROSION // 2) > 0.5
    return (whole & ~near_known).to(hole.dtype)


def _filled(
    front: nn.Module, rear: nn.Module, image: Tensor, hole: Tensor, coarser: Tensor | None, settings: Refinement
) -> Tensor:
    """One scale: a forward pass, or `n_iters` of them with a step after each but the last."""
    height, width = image.shape[-2:]
    # two rows and columns at least where the network is coarsest: mirrored convolutions need them
    modulo = settings.modulo if min(height, width) > settings.modulo else 2 * settings.modulo
    image, hole = (pad_to_multiple(x, modulo, "reflect") for x in (image, hole))
    with torch.no_grad():
        start = front(torch.cat([image * (1 - hole), hole], 1))
    pair = isinstance(start, tuple)
    parts = [None if part is None else part.detach().clone() for part in (start if pair else (start,))]
    free = [part.requires_grad_() for part in parts if part is not None]

    def painted() -> Tensor:
        return rear(tuple(parts) if pair else parts[0])

    steps = settings.n_iters - 1 if coarser is not None else 0
    if coarser is not None and steps > 0:
        inside = sure(hole[..., :height, :width])
        optimiser = torch.optim.Adam(free, lr=settings.lr)
        for _ in range(steps):
            optimiser.zero_grad()
            picture = painted()
            loss = _mean(picture - image, 1 - hole) + _mean(halved(picture[..., :height, :width]) - coarser, inside)
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return (hole * painted() + (1 - hole) * image)[..., :height, :width]


def _mean(difference: Float[Tensor, "1 c h w"], where: Float[Tensor, "1 1 h w"]) -> Tensor:
    """Mean absolute difference where `where` is 1; 0 where it nowhere is."""
    chosen = difference[:, :, where[0, 0] > 0.5]
    return chosen.abs().mean() if chosen.numel() else difference.sum() * 0


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size, mode="bilinear", align_corners=False)
