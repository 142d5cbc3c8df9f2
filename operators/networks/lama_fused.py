"""LaMa's generators for inference: batch norms in the weights, both parts of a map in one tensor, channels last.

Outputs are those of the official network to float32 noise. Features may still be optimised (refinement); weights may not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from operators.networks.lama_ffc import (
    FFC,
    FFCResnetBlock,
    FFCResNetGenerator,
    Joined,
    NormedFFC,
    map_to_spectrum,
    spectrum_to_map,
)
from operators.networks.lama_global import GlobalGenerator, ResnetBlock

_CHANNELS_LAST = torch.channels_last


class Fused(nn.Module):
    """A generator with the same outputs, made of fewer and faster layers; cut before `first_block` for refinement."""

    def __init__(self, layers: list[nn.Module], first_block: int, multiple: int):
        super().__init__()
        self.first_block, self.multiple = first_block, multiple
        self.model = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "n 4 h w"]) -> Float[Tensor, "n 3 h w"]:
        return self.model(x.contiguous(memory_format=_CHANNELS_LAST))


class FusedFFC(nn.Module):
    """Fast Fourier convolution, batch norms and ReLU of a map whose first channels are the local part.

    Convolutions from the local part to both, from the global one to the local one, and the spectral transform.
    """

    def __init__(self, layer: NormedFFC):
        super().__init__()
        ffc, spectral = layer.ffc, layer.ffc.convg2g
        assert spectral is not None and isinstance(ffc.convg2l, nn.Conv2d)
        mode = ffc.convg2l.padding_mode
        self.mode = "constant" if mode == "zeros" else mode
        (scale_l, shift_l), (scale_g, shift_g) = _affine(layer.bn_l), _affine(layer.bn_g)
        self.local = len(scale_l)
        self.from_l = _parameter(torch.cat([_scaled(ffc.convl2l, scale_l), _scaled(ffc.convl2g, scale_g)]))
        self.bias = _parameter(torch.cat([shift_l, shift_g]))
        self.g2l = _parameter(_scaled(ffc.convg2l, scale_l))
        scale, shift = _affine(spectral.conv1[1])  # type: ignore[arg-type]
        self.down, self.down_bias = _parameter(_scaled(spectral.conv1[0], scale)), _parameter(shift)
        scale, shift = _affine(spectral.fu.bn)
        self.spectrum, self.spectrum_bias = _parameter(_scaled(spectral.fu.conv_layer, scale)), _parameter(shift)
        self.up = _parameter(_scaled(spectral.conv2, scale_g))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        wide_l, wide_g = self._parts(functional.pad(x, (1, 1, 1, 1), self.mode))
        to_l, to_g = self._parts(functional.conv2d(wide_l, self.from_l, self.bias))
        to_l = functional.conv2d(wide_g, self.g2l).add_(to_l)
        to_g = pointwise(self._mixed(self._parts(x)[1]), self.up).add_(to_g)
        return functional.relu_(torch.cat([to_l, to_g], 1))

    def _parts(self, x: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
        local, whole = x.split([self.local, x.shape[1] - self.local], 1)
        return local, whole

    def _mixed(self, x: Float[Tensor, "n g h w"]) -> Float[Tensor, "n half h w"]:
        x = functional.relu_(pointwise(x, self.down, self.down_bias))
        spectrum = functional.relu_(pointwise(map_to_spectrum(x), self.spectrum, self.spectrum_bias))
        return x + spectrum_to_map(spectrum, x)


class ToPicture(nn.Module):
    """A large convolution to very few channels: one along the columns to all columns of the kernel at once, and their sum.

    Convolutions compute 16 channels at a time; so three of them with a 7x7 kernel cost a third of the time this way.
    """

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self.channels, self.columns = layer.out_channels, layer.kernel_size[1]
        self.weight = _parameter(layer.weight.permute(3, 0, 1, 2).flatten(0, 1)[..., None])
        self.bias = _parameter(torch.zeros(self.channels) if layer.bias is None else layer.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        parts = functional.conv2d(x, self.weight).unflatten(1, (self.columns, self.channels))
        width = parts.shape[-1] - self.columns + 1
        shifted = [parts[:, i, ..., i : i + width] for i in range(self.columns)]
        return sum(shifted[1:], shifted[0] + self.bias[:, None, None])


class Residual(nn.Module):
    """Layers beside the identity."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return self.layers(x) + x


Prepared = FFCResNetGenerator | GlobalGenerator | Fused


def fused(network: Prepared) -> Prepared:
    """The generator for inference. One of unusual settings (gates, local Fourier units, other shares) comes back as it is."""
    if isinstance(network, Fused) or not all(_is_plain(layer) for layer in network.modules() if isinstance(layer, FFC)):
        return network
    with torch.inference_mode(False), torch.no_grad():
        layers = list(network.model)
        front, rear = (_fused(some) for some in (layers[: network.first_block], layers[network.first_block :]))
        last = next(layer for layer in reversed(layers) if isinstance(layer, nn.Conv2d))
        rear = [ToPicture(last) if layer is last else layer for layer in rear]
        return Fused([*front, *rear], len(front), network.multiple).eval()


def _is_plain(ffc: FFC) -> bool:
    """From the local part alone, or both parts to both at one size."""
    spectral, whole = ffc.convg2g, None not in (ffc.convl2l, ffc.convl2g, ffc.convg2l, ffc.convg2g)
    from_local = ffc.convl2l is not None and ffc.convg2l is None and spectral is None
    level = spectral is not None and spectral.lfu is None and isinstance(spectral.downsample, nn.Identity)
    return ffc.gate is None and (from_local or (whole and level))


def _fused(layers: Iterable[nn.Module]) -> list[nn.Module]:
    out: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, NormedFFC):
            out += [_from_local(layer), nn.ReLU(inplace=True)]
        elif isinstance(layer, FFCResnetBlock):
            both = [layer.conv1, layer.conv2]
            out.append(Residual(*(_fused(both) if layer.conv1.ffc.convg2g is None else map(FusedFFC, both))))
        elif isinstance(layer, ResnetBlock):
            out.append(Residual(*_fused(list(layer.conv_block))))
        elif isinstance(layer, nn.BatchNorm2d):
            out[-1] = _normed(out[-1], layer)
        elif isinstance(layer, nn.ReLU):
            out.append(nn.ReLU(inplace=True))
        elif not isinstance(layer, Joined):
            out.append(layer)
    return out


def _normed(layer: nn.Module, norm: nn.BatchNorm2d) -> nn.Module:
    """A convolution, transposed or not, with the batch norm after it."""
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    scale, shift = _affine(norm)
    made = copy.copy(layer)  # its weights are replaced, not changed
    made._parameters = dict(layer._parameters)
    along = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    made.weight = _parameter(layer.weight.double() * scale.view([-1 if i == along else 1 for i in range(4)]))
    made.bias = _parameter(shift if layer.bias is None else layer.bias.double() * scale + shift)
    return made


def _from_local(layer: NormedFFC) -> nn.Conv2d:
    """A fast Fourier convolution that has no global part to start from: one convolution to both parts."""
    local, both = layer.ffc.convl2l, [(layer.ffc.convl2l, layer.bn_l), (layer.ffc.convl2g, layer.bn_g)]
    assert isinstance(local, nn.Conv2d)
    weights, shifts = [], []
    for convolution, norm in both:
        if isinstance(convolution, nn.Conv2d) and norm is not None:
            scale, shift = _affine(norm)
            weights.append(_scaled(convolution, scale))
            shifts.append(shift)
    made = copy.copy(local)
    made._parameters = dict(local._parameters)
    made.weight, made.bias = _parameter(torch.cat(weights)), _parameter(torch.cat(shifts))
    made.out_channels = len(made.weight)
    return made


def _affine(norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch norm in eval mode, in float64."""
    assert norm is not None and norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _scaled(layer: nn.Module | None, scale: Tensor) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    return layer.weight.double() * scale[:, None, None, None]


def _parameter(value: Tensor) -> nn.Parameter:
    value = value.float()
    return nn.Parameter(value.contiguous(memory_format=_CHANNELS_LAST) if value.ndim == 4 else value, requires_grad=False)


def pointwise(x: Float[Tensor, "n c h w"], weight: Tensor, bias: Tensor | None = None) -> Float[Tensor, "n d h w"]:
    """1x1 convolution. On one thread conv2d would choose an im2col that takes twice oneDNN's time."""
    if x.device.type == "cpu" and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu"):
        return torch.mkldnn_convolution(x, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    return functional.conv2d(x, weight, bias)
