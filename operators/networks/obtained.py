"""Official weights that a user obtained, checked against the network that they are for. No pickle is ever run."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from operators.networks import lpips
from operators.networks.inception import FidInception
from operators.networks.iresnet import IResNet

Weights = dict[str, Tensor]


def official_weights(name: str, file_name: str, data: bytes) -> Weights:
    """The state_dict of that network out of its official file (.pth, .pt, .safetensors), its keys and shapes checked.

    Errors: AssetError names the first keys that are missing, too many or of another shape.
    """
    from operators.assets import AssetError

    found = _tensors(file_name, data)
    try:
        build, chosen = NETWORKS[name]
        network, weights = build(), chosen(found)
        network.load_state_dict(weights)
    except KeyError as error:
        raise AssetError(f"{file_name} does not hold {name}: it has no {error}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise AssetError(f"{file_name} does not hold {name}: {reason}") from error
    return dict(network.state_dict())


def _tensors(file_name: str, data: bytes) -> Weights:
    from operators.assets import AssetError

    try:
        found: Any = load(data) if file_name.endswith(".safetensors") else torch.load(io.BytesIO(data), "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        kind = type(error).__name__
        raise AssetError(f"{file_name} is damaged, or cannot be read without running code in it: not used ({kind})") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise AssetError(f"{file_name} holds no state_dict: expected tensors by name")
    return {key.removeprefix("module."): value for key, value in found.items()}


class _Trunk(nn.Module):
    """LPIPS without the weights that its package brings."""

    def __init__(self, trunk: Literal["alex", "vgg"]):
        super().__init__()
        self.net = lpips.build(trunk).net


def _trunk(trunk: Literal["alex", "vgg"]) -> tuple[Callable[[], nn.Module], Callable[[Weights], Weights]]:
    return lambda: _Trunk(trunk), lambda found: lpips.trunk_weights(trunk, found)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[Weights], Weights]]] = {
    "fid_inception": (FidInception, dict),
    "lpips_alex": _trunk("alex"),
    "lpips_vgg": _trunk("vgg"),
    "arcface_r50": (IResNet, dict),
}
