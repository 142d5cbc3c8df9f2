"""Official weights that a user obtained, checked against the network that they are for. No pickle is ever run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from operators.checkpoints.errors import AssetError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.networks import lpips
from operators.networks.inception import FidInception
from operators.networks.iresnet import IResNet

Weights = dict[str, Tensor]


def official_weights(name: str, file: Path) -> Weights:
    """The state_dict of that network out of its official file, its keys and shapes checked.

    Errors: AssetError names the first keys that are missing, too many or of another shape.
    """
    found = state_dict_of(read_checkpoint(file), file, "state_dict")
    try:
        build, chosen = NETWORKS[name]
        network, weights = build(), chosen(found)
        network.load_state_dict(weights)
    except KeyError as error:
        raise AssetError(f"{file.name} does not hold {name}: it has no {error}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise AssetError(f"{file.name} does not hold {name}: {reason}") from error
    return dict(network.state_dict())


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
