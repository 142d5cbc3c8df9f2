"""The generator of lama-regular: pix2pixHD's global one, without Fourier convolutions (Wang et al., 2018)."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from operators.networks.lama_config import GlobalSettings
from operators.networks.lama_ffc import decoder

_PADS = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zero": nn.ZeroPad2d}


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside the identity."""

    def __init__(self, channels: int, padding_type: str):
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            # padding "zero" is the convolution's own in the official code: no module, so the indices of the files move up
            own = padding_type == "zero"
            layers += [] if own else [_PADS[padding_type](1)]
            layers += [nn.Conv2d(channels, channels, 3, padding=int(own)), nn.BatchNorm2d(channels), nn.ReLU()]
        self.conv_block = nn.Sequential(*layers[:-1])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.conv_block(x)


class GlobalGenerator(nn.Module):
    """Encoder, residual blocks, decoder.

    `first_block` is the index in `model` where refinement cuts it; sides have to be multiples of `multiple`.
    """

    def __init__(self, settings: GlobalSettings):
        super().__init__()
        widths = settings.widths
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(settings.input_nc, widths[0], 7),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 3, 2, 1), nn.BatchNorm2d(outer), nn.ReLU()]
        self.first_block, self.multiple = len(layers), 2**settings.n_downsampling
        layers += [ResnetBlock(widths[-1], settings.padding_type) for _ in range(settings.n_blocks)]
        layers += decoder(widths, settings.output_nc, settings.activation())
        self.model = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "n 4 h w"]) -> Float[Tensor, "n 3 h w"]:
        return self.model(x)
