"""3DFaceFill's picture discriminator (`discI`, Discriminator_localglobal): one map of scores per scale. For training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class _Unit(nn.Module):
    """Convolution and leaky ReLU. The files hold a group norm too, which the published code does not apply."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv2d = nn.Conv2d(channels, out, 4, 2, 1)
        self.norm = nn.GroupNorm(max(out // 4, 1), out)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.conv2d(x), 0.2)


class _Out(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Discriminator(nn.Module):
    """Pictures in [-1, 1] to scores of every scale but the first, finest first."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256, 512), given: int = 3):
        super().__init__()
        self.l1 = _Unit(given, widths[0])
        self.layers = nn.ModuleList(_Unit(a, b) for a, b in pairwise(widths))
        self.outlayers = nn.ModuleList(_Out(width) for width in widths[1:])

    @classmethod
    def like(cls, state: Mapping[str, Tensor]) -> Discriminator:
        """A discriminator of the sizes of these weights. Errors: KeyError when it has none of its kind."""
        count = sum(key.startswith("layers.") and key.endswith(".norm.weight") for key in state)
        names = ["l1", *(f"layers.{i}" for i in range(count))]
        given = next(state[key].shape[1] for key in ("l1.conv2d.weight_orig", "l1.conv2d.weight") if key in state)
        return cls(tuple(len(state[f"{name}.norm.weight"]) for name in names), given)

    def forward(self, image: Float[Tensor, "faces 3 h w"]) -> list[Float[Tensor, "faces 1 rows columns"]]:
        x, scores = self.l1(image), []
        for layer, out in zip(self.layers, self.outlayers, strict=True):
            x = layer(x)
            scores.append(out(x))
        return scores
