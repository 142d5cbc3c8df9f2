"""Fast Fourier convolutions and the generator that LaMa makes of them.

Suvorov et al., Resolution-robust Large Mask Inpainting with Fourier Convolutions, 2021; Chi et al., Fast Fourier
Convolution, 2020. A map is a pair: a local part for ordinary convolutions, and a global part that spectral transforms mix
over the whole picture. Either may be absent (None). Names of modules are those of the official files.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from operators.networks.lama_config import FfcSettings, Padding, Ratios

Pair = tuple[Tensor | None, Tensor | None]


class FourierUnit(nn.Module):
    """A 1x1 convolution of the spectrum: real and imaginary parts are channels beside each other (c0 re, c0 im, c1 re …)."""

    def __init__(self, inner: int, outer: int):
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * inner, 2 * outer, 1, bias=False)
        self.bn = nn.BatchNorm2d(2 * outer)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        return spectrum_to_map(torch.relu(self.bn(self.conv_layer(map_to_spectrum(x)))), x)


def map_to_spectrum(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n parts h half"]:
    """Orthonormal real FFT. In float32 whatever autocast says: cuFFT takes half precision for powers of two alone."""
    spectrum = torch.view_as_real(torch.fft.rfft2(x.float(), norm="ortho"))
    return spectrum.permute(0, 1, 4, 2, 3).flatten(1, 2)


def spectrum_to_map(spectrum: Float[Tensor, "n parts h half"], like: Float[Tensor, "n d h w"]) -> Float[Tensor, "n c h w"]:
    """The way back, to the size and type of `like`."""
    parts = spectrum.float().unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2).contiguous()
    size = (like.shape[-2], like.shape[-1])
    return torch.fft.irfft2(torch.view_as_complex(parts), s=size, norm="ortho").to(like.dtype)


class SpectralTransform(nn.Module):
    """Global to global: down to half the channels, Fourier unit beside the identity, and up again.

    With `local` a second Fourier unit sees the four quarters of the map as channels (of a quarter of the channels).
    """

    def __init__(self, inner: int, outer: int, stride: int, local: bool):
        super().__init__()
        half = outer // 2
        self.downsample = nn.AvgPool2d(2, 2) if stride == 2 else nn.Identity()
        self.conv1 = nn.Sequential(nn.Conv2d(inner, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.fu = FourierUnit(half, half)
        self.lfu = FourierUnit(half, half) if local else None
        self.conv2 = nn.Conv2d(half, outer, 1, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        return self.conv2(self.mixed(x))

    def mixed(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n half h2 w2"]:
        """What the last 1x1 convolution gets."""
        x = self.conv1(self.downsample(x))
        out = x + self.fu(x)
        return out if self.lfu is None else out + self.lfu(quarters(x[:, : x.shape[1] // 4])).tile(2, 2)


def quarters(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n quarters h2 w2"]:
    """The four quarters of a map of even size as channels: upper and lower left, upper and lower right."""
    left, right = torch.cat(x.chunk(2, -2), 1).chunk(2, -1)
    return torch.cat([left, right], 1)


class FFC(nn.Module):
    """One fast Fourier convolution: local and global part, each from both, three by convolution and one by FFT."""

    def __init__(self, inner: int, outer: int, kernel: int, ratios: Ratios, stride: int, padding: int, mode: Padding):
        super().__init__()
        in_g, out_g = int(inner * ratios.ratio_gin), int(outer * ratios.ratio_gout)
        in_l, out_l = inner - in_g, outer - out_g

        def convolution(a: int, b: int) -> nn.Module | None:
            return nn.Conv2d(a, b, kernel, stride, padding, bias=False, padding_mode=mode) if a and b else None

        self.convl2l, self.convl2g = convolution(in_l, out_l), convolution(in_l, out_g)
        self.convg2l = convolution(in_g, out_l)
        self.convg2g = SpectralTransform(in_g, out_g, stride, ratios.enable_lfu) if in_g and out_g else None
        self.gate = nn.Conv2d(inner, 2, 1) if ratios.gated and in_g and out_l else None

    def forward(self, x: Pair) -> Pair:
        x_l, x_g = x
        from_g, from_l = _through(self.convg2l, x_g), _through(self.convl2g, x_l)
        if self.gate is not None:
            gates = torch.sigmoid(self.gate(joined(x)))
            from_g, from_l = (None if part is None else part * gates[:, i : i + 1] for i, part in enumerate((from_g, from_l)))
        return _sum(_through(self.convl2l, x_l), from_g), _sum(from_l, _through(self.convg2g, x_g))


class NormedFFC(nn.Module):
    """FFC, batch norm and ReLU of both parts."""

    def __init__(
        self, inner: int, outer: int, kernel: int, ratios: Ratios, stride: int = 1, padding: int = 0, mode: Padding = "reflect"
    ):
        super().__init__()
        self.ffc = FFC(inner, outer, kernel, ratios, stride, padding, mode)
        out_g = int(outer * ratios.ratio_gout)
        self.bn_l = nn.BatchNorm2d(outer - out_g) if outer > out_g else None
        self.bn_g = nn.BatchNorm2d(out_g) if out_g else None

    def forward(self, x: Pair | Tensor) -> Pair:
        x_l, x_g = self.ffc(x if isinstance(x, tuple) else (x, None))
        x_l, x_g = _through(self.bn_l, x_l), _through(self.bn_g, x_g)
        return None if x_l is None else torch.relu(x_l), None if x_g is None else torch.relu(x_g)


class FFCResnetBlock(nn.Module):
    """Two fast Fourier convolutions beside the identity."""

    def __init__(self, channels: int, ratios: Ratios, mode: Padding):
        super().__init__()
        self.conv1 = NormedFFC(channels, channels, 3, ratios, padding=1, mode=mode)
        self.conv2 = NormedFFC(channels, channels, 3, ratios, padding=1, mode=mode)

    def forward(self, x: Pair) -> Pair:
        y_l, y_g = self.conv2(self.conv1(x))
        return _sum(x[0], y_l), _sum(x[1], y_g)


class Joined(nn.Module):
    """Both parts of a map as one."""

    def forward(self, x: Pair) -> Tensor:
        return joined(x)


class FFCResNetGenerator(nn.Module):
    """LaMa's generator: picture without its hole and the hole (1) as channels in, a whole picture out.

    `first_block` is the index in `model` where refinement cuts it; sides have to be multiples of `multiple`.
    """

    def __init__(self, settings: FfcSettings):
        super().__init__()
        widths = settings.widths
        body = settings.resnet_conv_kwargs
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            NormedFFC(settings.input_nc, widths[0], 7, settings.init_conv_kwargs),
        ]
        for i, (inner, outer) in enumerate(pairwise(widths)):
            last = i == settings.n_downsampling - 1
            ratios = settings.downsample_conv_kwargs
            ratios = ratios.replaced(ratio_gout=body.ratio_gin) if last else ratios
            layers.append(NormedFFC(inner, outer, 3, ratios, stride=2, padding=1))
        self.first_block, self.multiple = len(layers), 2**settings.n_downsampling * (2 if body.enable_lfu else 1)
        layers += [FFCResnetBlock(widths[-1], body, settings.padding_type) for _ in range(settings.n_blocks)]
        layers.append(Joined())
        layers += decoder(widths, settings.output_nc, settings.activation())
        self.model = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "n 4 h w"]) -> Float[Tensor, "n 3 h w"]:
        return self.model(x)


def decoder(widths: list[int], channels: int, activation: nn.Module | None) -> list[nn.Module]:
    """Back to full size: transposed convolutions through the widths, and the picture."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(reversed(widths)):
        layers += [nn.ConvTranspose2d(inner, outer, 3, 2, 1, 1), nn.BatchNorm2d(outer), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(widths[0], channels, 7)]
    return layers if activation is None else [*layers, activation]


def joined(x: Pair) -> Tensor:
    """Both parts of a map as one, the local one first."""
    return torch.cat([part for part in x if part is not None], 1)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _through(module: nn.Module | None, x: Tensor | None) -> Tensor | None:
    return None if module is None or x is None else module(x)
