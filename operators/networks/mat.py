"""MAT: Mask-Aware Transformer for Large Hole Image Inpainting (Li, Lin, Zhou, Qi, Wang, Jia; CVPR 2022).

A photo in [-1, 1] with known pixels (1) and holes (0), and a latent code: a transformer paints a coarse picture, a StyleGAN2
decoder under the style of code and features paints the final one. Key names are the official ones. Two maps of zeros and ones
decide which features come from the photo and which from the code; the official code draws them anew in every pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official, System, drawn
from operators.networks.equalised import EqualisedConv, EqualisedLinear, StyledConv, ToRgb
from operators.networks.mat_checkpoint import GIVE, PUBLISHED, MatShape, find, read, shape_of
from operators.networks.mat_transformer import FirstStage, StyledUp

Noise = Callable[[int, int, int], Tensor]
"""Number of the convolution, height, width -> `n 1 h w`, standard normal."""


class Drop(NamedTuple):
    """What comes from the photo (1) and what from the latent code (0); one number serves for a whole map."""

    tokens: Tensor | float = 0.5
    features: Tensor | float = 0.5


HALF = Drop()


class MappingNetwork(nn.Module):
    """Latent code to style code. `psi` 1 leaves the style, 0 gives the mean style."""

    w_avg: Tensor

    def __init__(self, shape: MatShape):
        super().__init__()
        widths = (shape.z, *[shape.w] * shape.layers)
        self.layers = shape.layers
        for i in range(shape.layers):
            self.add_module(f"fc{i}", EqualisedLinear(widths[i], widths[i + 1], activated=True, rate=0.01))
        self.register_buffer("w_avg", torch.zeros(shape.w))

    def forward(self, z: Float[Tensor, "n z"], psi: float = 1.0) -> Float[Tensor, "n w"]:
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        with torch.autocast(z.device.type, enabled=False):
            for i in range(self.layers):
                x = self.get_submodule(f"fc{i}")(x)
        return x if psi == 1 else torch.lerp(self.w_avg, x, psi)


class _EncoderBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, first: bool):
        super().__init__()
        self.conv0 = EqualisedConv(inputs, outputs, 1 if first else 3, down=not first)
        self.conv1 = EqualisedConv(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.conv0(x))


class _ToStyle(nn.Module):
    """The overall style of the smallest features."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Sequential(*(EqualisedConv(inputs, inputs, 3, down=True) for _ in range(3)))
        self.fc = EqualisedLinear(inputs, outputs, activated=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


class _DecoderStart(nn.Module):
    def __init__(self, channels: int, colours: int, style: int):
        super().__init__()
        self.conv0 = EqualisedConv(channels, channels, 3)
        self.conv1 = StyledConv(channels, channels, style, 16)
        self.toRGB = ToRgb(channels, colours, style)

    def forward(self, x: Tensor, styles: tuple[Tensor, Tensor], noise: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.conv0(x) + x, styles[0], noise)
        return x, self.toRGB(x, styles[1])


class Synthesis(nn.Module):
    """Both stages. `ws` are the styles of the decoder's layers, all the same where none are mixed."""

    def __init__(self, shape: MatShape):
        super().__init__()
        self.sides, channels, style = shape.sides, shape.channels, shape.w + shape.overall
        self.first_stage = FirstStage(shape.resolution, shape.colours, shape.dim, shape.w)
        self.enc, self.dec = nn.Module(), nn.Module()
        for i, side in enumerate(self.sides):
            inputs = channels[i - 1] if i else 2 * shape.colours + 1
            self.enc.add_module(f"EncConv_Block_{side}x{side}", _EncoderBlock(inputs, channels[i], first=i == 0))
        self.to_square = EqualisedLinear(shape.w, 16 * 16, activated=True)
        self.to_style = _ToStyle(channels[-1], shape.overall)
        self.dec.Dec_16x16 = _DecoderStart(channels[-1], shape.colours, style)
        for i, side in reversed(list(enumerate(self.sides[:-1]))):
            self.dec.add_module(f"Dec_{side}x{side}", StyledUp(channels[i + 1], channels[i], shape.colours, style, side))

    def forward(
        self, image: Tensor, known: Tensor, ws: Float[Tensor, "n layers w"], drop: Drop = HALF, noise: Noise | None = None
    ) -> tuple[Tensor, Tensor]:
        coarse = self.first_stage(image, known, ws[:, -1], drop.tokens)
        features = self._encoded(torch.cat([known - 0.5, coarse, image * known], 1))
        x = features.pop()
        square = self.to_square(ws[:, 0]).view(-1, 1, 16, 16)
        added = F.interpolate(square, x.shape[-2:], mode="bilinear") if x.shape[-2:] != square.shape[-2:] else square
        x = x * drop.features + added * (1 - drop.features)
        overall = self.to_style(x)
        picture = self._decoded(x, features, ws, overall, noise)
        return torch.lerp(picture.to(image.dtype), image, known), coarse

    def _encoded(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for side in self.sides:
            x = self.enc.get_submodule(f"EncConv_Block_{side}x{side}")(x)
            features.append(x)
        return features

    def _decoded(self, x: Tensor, features: list[Tensor], ws: Tensor, overall: Tensor, noise: Noise | None) -> Tensor:
        styles = [torch.cat([w, overall], 1) for w in ws.unbind(1)]
        drawn = (lambda i, h, w: None) if noise is None else noise
        x, picture = self.dec.get_submodule("Dec_16x16")(x, (styles[0], styles[1]), drawn(0, *x.shape[-2:]))
        for i, side in enumerate(reversed(self.sides[:-1])):
            h, w = 2 * x.shape[-2], 2 * x.shape[-1]
            both = drawn(2 * i + 1, h, w), drawn(2 * i + 2, h, w)
            three = styles[2 * i + 1], styles[2 * i + 2], styles[2 * i + 3]
            x, picture = self.dec.get_submodule(f"Dec_{side}x{side}")(x, picture, three, features.pop(), both)
        return picture


class Generator(nn.Module):
    """The whole network. Sides of a picture are multiples of `shape.resolution`; other than it only with `noise` given."""

    def __init__(self, shape: MatShape):
        super().__init__()
        self.shape = shape
        self.synthesis = Synthesis(shape)
        self.mapping = MappingNetwork(shape)

    def forward(
        self,
        image: Float[Tensor, "n 3 h w"],
        known: Float[Tensor, "n 1 h w"],
        z: Float[Tensor, "n z"],
        psi: float = 1.0,
        drop: Drop = HALF,
        noise: Noise | None = None,
    ) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3 h w"]]:
        """The final picture and that of the first stage, about [-1, 1], not clamped; known pixels are the photo's.

        Noise None: the constant noise of the checkpoint. Errors: ValueError on other sizes.
        """
        side = self.shape.resolution
        h, w = image.shape[-2:]
        if h % side or w % side or (noise is None and (h, w) != (side, side)):
            rule = f"multiples of {side}" if noise is not None else f"{side} x {side}, or multiples of it with random noise"
            raise ValueError(f"a picture of {h} x {w}: expected {rule}")
        style = self.mapping(z, psi)
        return self.synthesis(image, known, style[:, None].expand(-1, 2 * len(self.shape.channels), -1), drop, noise)


def build(official: Official) -> Generator:
    """The generator of these weights; its sizes are those that they state. Errors: CheckpointError."""
    with torch.device("meta"):
        network = Generator(shape_of(official.weights))
    file = official.settings.get("file", "MAT")
    return fill(network.to_empty(device="cpu"), official.weights, file, SYSTEM.title)


def untrained(resolution: int = 256) -> Official:
    """Weights drawn at random, of the release at 256 px or 512 px."""
    return Official(drawn(Generator(PUBLISHED[resolution])))


SYSTEM = System(
    name="mat",
    title="MAT (mask-aware transformer)",
    licence="CC-BY-NC-4.0",
    non_commercial=True,
    terms="research only, as its page says; parts are under the NVIDIA Source Code License of StyleGAN2-ADA (non-commercial)",
    page="https://github.com/fenglinglwb/MAT",
    give=GIVE,
    find=find,
    read=read,
    build=build,
    untrained=untrained,
    marks=(r"^synthesis\.first_stage\.tran\.0\.", r"^mapping\.fc0\.", r"^synthesis\.dec\.Dec_16x16\."),
)
