"""LPIPS (Zhang et al. 2018) by the `lpips` package's network, with both the published number and the map behind it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Trunk = Literal["alex", "vgg"]
_SCALING = {"shift": (-0.030, -0.088, -0.188), "scale": (0.458, 0.448, 0.450)}
SMALLEST = {"alex": 31, "vgg": 16}
"""Sides in pixels below which a trunk has nothing left after its last pooling."""


def build(trunk: Trunk) -> Any:
    """The package's network with its own linear weights (version 0.1) and an empty trunk to be loaded (`net.slice…`)."""
    import lpips

    with warnings.catch_warnings(), torch.device("meta"):  # without drawing and throwing away a trunk of random numbers
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=trunk, pretrained=False, pnet_rand=True, verbose=False)
    network = network.to_empty(device="cpu")
    linear = torch.load(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{trunk}.pth", "cpu", weights_only=True)
    zeros = {name: torch.zeros_like(value) for name, value in network.state_dict().items() if name.startswith("net.")}
    again = {name.replace("lin", "lins.", 1): value for name, value in linear.items()}  # the same layers by another name
    scaling = {f"scaling_layer.{name}": torch.tensor(value)[None, :, None, None] for name, value in _SCALING.items()}
    network.load_state_dict({**zeros, **linear, **again, **scaling})
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
