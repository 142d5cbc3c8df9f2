"""MAT fills holes: the network of `operators.networks.mat` with an official checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from operators.inpaint import seeds
from operators.inpaint.base import READS, FillInput
from operators.inpaint.network import NetworkInpainter, NetworkInpainterConfig
from operators.inpaint.sizes import resized, resized_back, square
from operators.networks.equalised import fold
from operators.networks.mat import Drop, Generator
from operators.types import OperatorInfo, option

_LATENT, _TOKENS, _FEATURES, _NOISE = range(4)  # streams of a face's random numbers; noise takes this one and those after it


@dataclass(frozen=True)
class MatInpainterConfig(NetworkInpainterConfig):
    """Settings of `MatInpainter`."""

    system: ClassVar[str] = "mat"

    kind: Literal["mat"] = option("mat", "MAT with an official checkpoint")
    truncation_psi: float = option(1.0, "how far a face's style may be from the mean style; less is safer and less varied")
    noise: Literal["const", "random", "none"] = option(
        "const", "noise in the decoder: that of the checkpoint, drawn per face, or none; random where larger is native"
    )
    dropout: Literal["seeded", "half"] = option(
        "seeded", "features from photo or style: drawn per face, as the official code draws them, or half of each everywhere"
    )
    larger: Literal["resize", "native"] = option(
        "resize", "crops whose sides are multiples of the model's: at the model's size like all others, or as they are"
    )


class MatInpainter(NetworkInpainter):
    """Fills holes with MAT. Crops of other sizes than the model's are resized to it and back; the hole's outline stays."""

    info: ClassVar[OperatorInfo] = OperatorInfo("MatInpainter", "1", READS, ("inpainted",), wants_gpu=True)
    config: MatInpainterConfig
    network: Generator

    def prepare(self, network: nn.Module) -> nn.Module:
        """Layer gains go into the weights."""
        return fold(network)

    def paint(self, given: FillInput) -> Float[Tensor, "faces 3 h w"]:
        height, width = given.image.shape[-2:]
        side = self.network.shape.resolution
        image, hole = given.image, given.hole
        native = self.config.larger == "native" and height % side == 0 and width % side == 0
        if not native:
            image, hole = square(image, hole)
            image, hole = resized(image, hole, (side, side))
        painted = self._pass(image, hole, given.seeds)
        if not native:
            longer = max(height, width)
            painted = resized_back(painted, (longer, longer))[..., :height, :width]
        return painted

    def _pass(self, image: Tensor, hole: Tensor, faces: Int[Tensor, " faces"]) -> Tensor:
        """One pass of the network; hole 1 -> known 0, [0, 1] -> [-1, 1], and back."""
        shape = self.network.shape
        h, w = (16 * side // shape.resolution for side in image.shape[-2:])
        drop = Drop()
        if self.config.dropout == "seeded":
            tokens = seeds.uniform(faces, (h * w, shape.dim), _TOKENS) < 0.5
            features = seeds.uniform(faces, (shape.channels[-1], h, w), _FEATURES) < 0.5
            drop = Drop(tokens.to(image), features.to(image))
        latent = seeds.normal(faces, (shape.z,), _LATENT).to(image)
        larger = tuple(image.shape[-2:]) != (shape.resolution, shape.resolution)
        kind = "random" if larger and self.config.noise == "const" else self.config.noise

        def noise(index: int, rows: int, columns: int) -> Tensor:
            if kind == "none":
                return image.new_zeros(1, 1, rows, columns)
            return seeds.normal(faces, (1, rows, columns), _NOISE + index).to(image)

        known = (~hole)[:, None].to(image.dtype)
        drawn = None if kind == "const" else noise
        final, _ = self.network(image * 2 - 1, known, latent, self.config.truncation_psi, drop, drawn)
        return final.clamp(-1, 1) * 0.5 + 0.5
