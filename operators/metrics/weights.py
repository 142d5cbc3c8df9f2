"""What metrics do without the weights of their networks: say so, and measure nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from operators.assets import AssetStore


def unavailable(names: Iterable[str], assets: AssetStore | None) -> tuple[str, ...]:
    """One sentence for each of these weights that this node lacks; it says what to run."""
    store = assets or AssetStore()
    return tuple(f"weights not available: {name} (`{store.how(name)}`)" for name in names if not store.has(name))


def ready(network: nn.Module, device: str) -> nn.Module:
    """The network as it is used: no training, no gradients."""
    return network.eval().requires_grad_(False).to(device)


def steps(rows: Sequence[int], device: str) -> list[Sequence[int]]:
    """Which rows a network sees together: one at a time on a CPU, where the last bits may depend on a row's company."""
    size = 1 if device == "cpu" else 32
    return [rows[start : start + size] for start in range(0, len(rows), size)]
