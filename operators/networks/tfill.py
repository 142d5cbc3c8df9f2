"""TFill: C. Zheng et al., Bridging Global Context Interactions for High-Fidelity Image Completion, CVPR 2022.

A checkpoint is a folder of bare state_dicts, `latest_net_E.pth` and so on; its options follow from their shapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import Network, fill
from operators.checkpoints.system import Official, System, drawn
from operators.networks.tfill_blocks import resized
from operators.networks.tfill_coarse import Encoder, Generator, Transformer
from operators.networks.tfill_discriminator import Discriminator
from operators.networks.tfill_refine import RefinedGenerator

FIXED_PX = 256
GIVE = "a folder with latest_net_E.pth, latest_net_T.pth and latest_net_G.pth (and latest_net_G_Ref.pth), or one of these files"
_NAME = re.compile(r"(?P<iteration>.+)_net_(?P<network>E|T|G|G_Ref|D|D_Ref)\.pth")
_COARSE = ("E", "T", "G")
_MOST = 1 << 14


class Painted(NamedTuple):
    """Both stages' pictures at full size, in [-1, 1], with known pixels as given; None for a stage that is not there."""

    coarse: Float[Tensor, "n 3 h w"]
    refined: Float[Tensor, "n 3 h w"] | None


class TFill(nn.Module):
    """Encoder, transformer and generator at 256 px, and the refinement at full size where the checkpoint has one."""

    def __init__(self, encoder: Encoder, transformer: Transformer, generator: Generator, refined: RefinedGenerator | None = None):
        super().__init__()
        self.E, self.T, self.G, self.G_Ref = encoder, transformer, generator, refined

    def forward(
        self,
        image: Float[Tensor, "n 3 h w"],
        mask: Float[Tensor, "n 1 h w"],
        noise: Mapping[str, Float[Tensor, "n 1 _ _"]] | None = None,
    ) -> Painted:
        """Both stages: image in [-1, 1], mask 1 = known, sides multiples of `multiple`, `noise` see `noise_sizes`."""
        coarse = self.coarse(image, mask, noise)
        return Painted(coarse, None if self.G_Ref is None else self.refine(coarse, mask))

    def coarse(
        self,
        image: Float[Tensor, "n 3 h w"],
        mask: Float[Tensor, "n 1 h w"],
        noise: Mapping[str, Float[Tensor, "n 1 _ _"]] | None = None,
    ) -> Float[Tensor, "n 3 h w"]:
        """The first stage, which works at 256 x 256 whatever the picture's size."""
        size, fixed = (image.shape[-2], image.shape[-1]), (FIXED_PX, FIXED_PX)
        known = (resized(mask, fixed, "bicubic") > 0.9).to(image.dtype)
        tokens = self.T(*self.E(resized(image * mask, fixed, "bicubic").clamp(-1, 1), known))
        painted = resized(self.G(tokens, mask, noise), size, "bicubic").clamp(-1, 1)
        return mask * image + (1 - mask) * painted

    def refine(self, coarse: Float[Tensor, "n 3 h w"], mask: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 3 h w"]:
        """The second stage on the first one's result. Errors: ValueError when the checkpoint has none."""
        if self.G_Ref is None:
            raise ValueError("this checkpoint has no G_Ref: there is no second stage")
        return mask * coarse + (1 - mask) * self.G_Ref(coarse, mask)

    @property
    def multiple(self) -> int:
        """What both sides must be multiples of for `refine`."""
        return 1 if self.G_Ref is None else 1 << len(self.G_Ref.down)

    def noise_sizes(self) -> dict[str, tuple[int, int]]:
        """Name -> size of each map of normal noise that the generator adds; nothing where the checkpoint has no noise."""
        side = FIXED_PX >> len(self.E.down)
        return self.G.noise_sizes(side, side)


def find(path: Path) -> list[Path]:
    """The generators' files of an iteration: the one that a file's name says, else `latest`, else the only one."""
    folder, match = (path, None) if path.is_dir() else (path.parent, _NAME.fullmatch(path.name))
    names = [found for item in sorted(folder.iterdir()) if (found := _NAME.fullmatch(item.name))] if folder.is_dir() else []
    if not path.is_dir() and match is None:
        raise CheckpointError(path, "a name such as latest_net_G.pth", path.name, f"give {GIVE}")
    have = sorted({found["iteration"] for found in names})
    iteration = match["iteration"] if match else "latest" if "latest" in have or len(have) != 1 else have[0]
    files = [folder / f"{iteration}_net_{network}.pth" for network in (*_COARSE, "G_Ref")]
    lacking = [file.name for file in files[: len(_COARSE)] if not file.is_file()]
    if lacking:
        there = ", ".join(found.group() for found in names[:8]) or ", ".join(sorted(item.name for item in folder.glob("*"))[:6])
        raise CheckpointError(path, " and ".join(lacking), there or "nothing of that kind", f"give {GIVE}")
    return [file for file in files if file.is_file()]


def read(files: Sequence[Path]) -> Official:
    """State_dicts, each with its network's name in front."""
    weights: dict[str, Tensor] = {}
    for file in files:
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise CheckpointError(file, "a name such as latest_net_G.pth", file.name, f"give {GIVE}")
        state = state_dict_of(read_checkpoint(file), file)
        weights |= {f"{match['network']}.{key}": value for key, value in state.items()}
    return Official(weights)


def build(official: Official) -> TFill:
    """The network of these weights, coarse only when they have no `G_Ref`."""
    parts = {name: _part(official.weights, name) for name in (*_COARSE, "G_Ref")}
    lacking = [f"{name}.pth" for name in _COARSE if not parts[name]]
    if lacking:
        found = ", ".join(name for name, part in parts.items() if part) or "none of its networks"
        raise CheckpointError("TFill", " and ".join(lacking), found, f"give {GIVE}")
    encoder, transformer = _filled(parts["E"], _encoder, "E"), _filled(parts["T"], _transformer, "T")
    generator = _filled(parts["G"], _generator, "G")
    refined = _filled(parts["G_Ref"], _refined, "G_Ref") if parts["G_Ref"] else None
    return TFill(encoder, transformer, generator, refined).eval()


def discriminator(weights: Mapping[str, Tensor], file: Path | str = "latest_net_D.pth") -> Discriminator:
    """`D` or `D_Ref` with a file's weights. Errors: CheckpointError."""
    blocks = _count(weights, r"convs\.(\d+)\.skip\.1\.weight", first=1)
    widths = [_size(weights, "convs.0.0.weight", 0, 32)]
    widths += [_size(weights, f"convs.{i + 1}.skip.1.weight", 0, 512) for i in range(blocks)]
    final, channels = _size(weights, "final_conv.0.weight", 0, 512), _size(weights, "convs.0.0.weight", 1, 3)
    return fill(Discriminator(widths, final, channels), weights, file, "a TFill discriminator", (r".*\.kernel",))


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def _filled(weights: Mapping[str, Tensor], make: Callable[[Mapping[str, Tensor]], Network], name: str) -> Network:
    with torch.device("meta"):  # no time spent on random weights
        network = make(weights)
    return fill(network.to_empty(device="cpu"), weights, f"*_net_{name}.pth", f"TFill's {name}")


def _size(weights: Mapping[str, Tensor], key: str, axis: int, default: int) -> int:
    """A side of a tensor; the releases' where it is missing or absurd, so that `fill` says what is wrong."""
    shape = weights[key].shape if key in weights else ()
    return shape[axis] if axis < len(shape) and 0 < shape[axis] <= _MOST else default


def _count(weights: Mapping[str, Tensor], pattern: str, first: int = 0) -> int:
    found = {int(match[1]) for key in weights if (match := re.fullmatch(pattern, key))}
    return next(i for i in range(len(found) + 1) if i + first not in found)


def _levels(weights: Mapping[str, Tensor], way: str) -> tuple[int, int]:
    """Levels, and blocks in each."""
    levels = _count(weights, rf"{way}\.(\d+)\.block\.0\.conv1\.weight")
    blocks = _count(weights, rf"{way}\.0\.block\.(\d+)\.conv1\.weight")
    return (levels, blocks) if 1 <= levels <= 8 and blocks else (4, 2)


def _encoder(weights: Mapping[str, Tensor]) -> Encoder:
    return Encoder(
        _size(weights, "encode.weight", 1, 3),
        _size(weights, "encode.weight", 0, 32),
        _size(weights, "encode.weight", 2, 1),
        _size(weights, "conv_out.conv2.weight", 0, 512),
        *_levels(weights, "down"),
        attention=_size(weights, "mid.attn.conv1.weight", 0, 0),
    )


def _transformer(weights: Mapping[str, Tensor]) -> Transformer:
    return Transformer(
        _size(weights, "token_embed.weight", 1, 512),
        _size(weights, "token_embed.weight", 0, 512),
        _size(weights, "to_token.2.weight", 0, 512),
        layers=_count(weights, r"encoder_trans\.layers\.(\d+)\.conv1\.weight") or 12,
        hidden=_size(weights, "encoder_trans.layers.0.conv1.weight", 0, 2048),
        kernel=_size(weights, "encoder_trans.layers.0.conv1.weight", 2, 1),
        positions=_size(weights, "pos_embed.row_embed.weight", 0, 32),
    )


def _generator(weights: Mapping[str, Tensor]) -> Generator:
    levels, blocks = _levels(weights, "up")
    return Generator(
        _size(weights, "conv_in.weight", 1, 512),
        max(_size(weights, "conv_in.weight", 0, 512) >> levels, 1),
        _size(weights, "conv_in.weight", 2, 3),
        levels,
        blocks,
        channels=_size(weights, "decode.conv.2.weight", 0, 3),
        attention=_size(weights, "mid.attn.conv1.weight", 0, 0),
        noise="up.0.noise.0.alpha" in weights,
        constant=tuple(weights["pos_embed.input"].shape) if "pos_embed.input" in weights else (),
    )


def _refined(weights: Mapping[str, Tensor]) -> RefinedGenerator:
    levels, blocks = _levels(weights, "down")
    attentions = [key for key in weights if re.fullmatch(r"up\.\d+\.attn\.weight\.weight", key)]
    return RefinedGenerator(
        _size(weights, "encode.weight", 0, 32),
        _size(weights, "mid.0.conv1.weight", 0, 512),
        max(levels, 3),
        _count(weights, r"mid\.(\d+)\.conv1\.weight"),
        blocks,
        heads=max(_size(weights, attentions[0], 1, 4) // 2, 1) if attentions else 2,
        channels=_size(weights, "encode.weight", 1, 3),
    )


def untrained() -> Official:
    """The architecture of the FFHQ and CelebA-HQ releases: ngf 32, embedding 512, 12 layers, --attn_G, --add_noise."""
    parts: dict[str, nn.Module] = {
        "E": Encoder(3, 32, 1, 512, 4, 2),
        "T": Transformer(512, 512, 512, 12, 2048, 1, 32),
        "G": Generator(512, 32, 3, 4, 2, attention=2048, noise=True),
        "G_Ref": RefinedGenerator(32, 512, 4, 6, 2, 2),
    }
    weights = {key: value for name, part in parts.items() for key, value in drawn(part, f"{name}.").items()}
    gains = {key: torch.ones_like(value) for key, value in weights.items() if key.endswith("alpha") and value.ndim == 4}
    return Official(weights | gains)


SYSTEM = System(
    name="tfill",
    title="TFill",
    licence="TFill-academic",
    non_commercial=True,
    terms="code under MIT; its README: for educational and academic research only, commercial licences from the authors",
    page="https://github.com/lyndonzheng/TFill",
    give=GIVE,
    find=find,
    read=read,
    build=build,
    untrained=untrained,
    marks=(r"(encoder_trans\.layers\.\d+|mid\.(block)?\d)\.norm1\.alpha$",),
)
