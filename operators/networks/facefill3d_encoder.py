"""3DFaceFill's encoder (`modelE`): a face's shape, pose and light from a picture of 224 px.

Convolutions are spectrally normalised in the files; they are plain here. Group norms have four channels to a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

SIDE, GROUP = 224, 4
MOST_SCALE = 2e-3
"""Pixels per unit of the face basis (a micrometre) at most: the scale is half of it where the head says 0."""
_TRUNK = (
    (("k0_1", 1), ("k0_2", 2)),
    (("k1_0", 2), ("k1_1", 3), ("k1_2", 4)),
    (("k2_0", 4), ("k2_1", 6), ("k2_2", 8)),
    (("k3_0", 8), ("k3_1", 8), ("k3_2", 8)),
    (("k4_0", 16), ("k4_1", 16)),
)
"""Layers of each stage and their width in units of the first's; the first layer of a stage halves the picture."""


class Encoding(NamedTuple):
    """What the encoder says. `pose` is in (-1, 1): three Euler angles in right angles, two translations in half pictures.

    `light` is spherical harmonics of order 2 for red, then green, then blue. `texture` and `confidence` are codes of the
    pretraining's decoders.
    """

    shape: Float[Tensor, "faces coefficients"]
    texture: Float[Tensor, "faces code"]
    confidence: Float[Tensor, "faces code"]
    scale: Float[Tensor, " faces"]
    pose: Float[Tensor, "faces 5"]
    light: Float[Tensor, "faces 27"]


class _Unit(nn.Module):
    """Convolution, group norm, ELU."""

    def __init__(self, channels: int, out: int, size: int = 3, stride: int = 1, bias: bool = False):
        super().__init__()
        self.conv2d = nn.Conv2d(channels, out, size, stride, size // 2, bias=bias)
        self.norm_layer = nn.GroupNorm(out // GROUP, out)
        self.act = nn.ELU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm_layer(self.conv2d(x)))


class Encoder(nn.Module):
    """Pictures in [-1, 1], holes 0 (faces 3 224 224), to `Encoding`."""

    def __init__(self, width: int = 32, code: int = 512, coefficients: int = 228, pose: int = 6, light: int = 27):
        super().__init__()
        channels = 3
        for layers in _TRUNK:
            for i, (name, times) in enumerate(layers):
                first = channels == 3
                self.add_module(name, _Unit(channels, times * width, 7 if first else 3, 2 if i == 0 else 1))
                channels = times * width
        self.k5_m, self.k6_m = _Unit(channels, 5 * width, bias=True), nn.Linear(5 * width, pose)
        self.k5_il, self.k6_il = _Unit(channels, 5 * width, bias=True), nn.Linear(5 * width, light)
        self.k5_shape, self.k6_shape = _Unit(channels, code, bias=True), _Unit(code, code, bias=True)
        self.k7_shape = nn.Linear(code, coefficients)
        self.k5_tex, self.k5_conf = _Unit(channels, code, bias=True), _Unit(channels, code, bias=True)

    @classmethod
    def like(cls, state: Mapping[str, Tensor]) -> Encoder:
        """An encoder of the sizes of these weights. Errors: KeyError when it has none of its kind."""
        heads = (len(state[f"{name}.weight"]) for name in ("k7_shape", "k6_m", "k6_il"))
        return cls(len(state["k0_1.norm_layer.weight"]), state["k7_shape.weight"].shape[1], *heads)

    def features(self, image: Tensor) -> Tensor:
        """What all heads look at."""
        x = image
        for layers in _TRUNK:
            for name, _ in layers:
                x = self.get_submodule(name)(x)
        return x

    def geometry(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Shape, scale, pose and light: all that filling a hole needs."""
        moved = self.k6_m(_mean(self.k5_m(features)))
        scale = 0.5 * (torch.tanh(moved[:, 0]) + 1) * MOST_SCALE
        light = self.k6_il(_mean(self.k5_il(features)))
        shape = self.k7_shape(_mean(self.k6_shape(self.k5_shape(features))))
        return shape, scale, torch.tanh(moved[:, 1:]), light

    def forward(self, image: Float[Tensor, "faces 3 h w"]) -> Encoding:
        features = self.features(image)
        shape, scale, pose, light = self.geometry(features)
        return Encoding(shape, _mean(self.k5_tex(features)), _mean(self.k5_conf(features)), scale, pose, light)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))
