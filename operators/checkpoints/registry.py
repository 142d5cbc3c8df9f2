"""All systems whose official checkpoints can be used, by name. Each is described beside its network."""

from __future__ import annotations

import importlib
from functools import cache

from operators.checkpoints.system import System

MODULES = {
    "sam": "operators.networks.sam",
    "edgeconnect": "operators.networks.edgeconnect",
    "lama": "operators.networks.lama",
    "mat": "operators.networks.mat",
    "tfill": "operators.networks.tfill",
    "facefill3d": "operators.networks.facefill3d",
    "deep3d": "operators.networks.deep3d",
    "inverse_rendering": "operators.networks.inverse_rendering",
}


@cache
def systems() -> dict[str, System]:
    """Every system by name."""
    return {name: importlib.import_module(module).SYSTEM for name, module in MODULES.items()}


def system_of(name: str) -> System:
    """One system, without importing the others. Errors: KeyError."""
    return importlib.import_module(MODULES[name]).SYSTEM
