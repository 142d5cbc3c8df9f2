"""LPIPS (Zhang et al. 2018) by the `lpips` package's network, with both the published number and the map behind it."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Trunk = Literal["alex", "vgg"]
SMALLEST = {"alex": 31, "vgg": 16}
"""Sides in pixels below which a trunk has nothing left after its last pooling."""


def build(trunk: Trunk) -> Any:
    """The package's network with its own linear weights (version 0.1) and a trunk to be loaded (`net.slice…`)."""
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    return network.eval().requires_grad_(False)


def trunk_weights(trunk: Trunk, official: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's `features.N.*` under the package's names. Errors: KeyError names a key that is missing."""
    names = [name for name in build(trunk).state_dict() if name.startswith("net.")]
    return {name: official[f"features.{name.split('.', 2)[2]}"] for name in names}


def layer_maps(
    network: Any, a: Float[Tensor, "images 3 h w"], b: Float[Tensor, "images 3 h w"]
) -> list[Float[Tensor, "images 1 _ _"]]:
    """Weighted distances of every layer, at its own resolution; pictures in [-1, 1]."""
    features = [network.net(network.scaling_layer(x)) for x in (a, b)]
    maps = []
    for lin, x, y in zip(network.lins, *features, strict=True):
        x, y = (f / (torch.sqrt((f**2).sum(1, keepdim=True)) + 1e-10) for f in (x, y))
        maps.append(lin((x - y) ** 2))
    return maps


def distance(maps: list[Tensor]) -> Float[Tensor, " images"]:
    """The published number: the layers' spatial means, summed."""
    return torch.stack([m.mean((1, 2, 3)) for m in maps]).sum(0)


def distance_map(maps: list[Tensor], height: int, width: int) -> Float[Tensor, "images h w"]:
    """The layers' maps, brought to the picture's size (bilinear) and summed, as the package's `spatial=True` does."""
    return torch.stack([F.interpolate(m, (height, width), mode="bilinear", align_corners=False) for m in maps]).sum(0)[:, 0]
