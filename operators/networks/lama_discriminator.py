"""The discriminator that LaMa is trained against: pix2pixHD's patch classifier (Wang et al., 2018)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

_MOST = 512


class NLayerDiscriminator(nn.Module):
    """Logits of patches, and the activations of every level for feature matching. Names are those of the official files."""

    def __init__(self, input_nc: int = 3, ndf: int = 64, n_layers: int = 4):
        super().__init__()
        self.levels = n_layers + 2
        widths = [input_nc, ndf]
        while len(widths) < n_layers + 2:
            widths.append(min(2 * widths[-1], _MOST))
        for i in range(n_layers + 1):
            stride = 2 if i < n_layers else 1
            norm = [nn.BatchNorm2d(widths[i + 1])] if i else []
            level = [nn.Conv2d(widths[i], widths[i + 1], 4, stride, 2), *norm, nn.LeakyReLU(0.2)]
            self.add_module(f"model{i}", nn.Sequential(*level))
        self.add_module(f"model{n_layers + 1}", nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 2)))

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, list[Tensor]]:
        seen = []
        for i in range(self.levels):
            x = self.get_submodule(f"model{i}")(x)
            seen.append(x)
        return x, seen[:-1]
