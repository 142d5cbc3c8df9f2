"""EdgeConnect: edges of the hole from a grey picture, then the picture along those edges.

Nazeri et al., "EdgeConnect: Generative Image Inpainting with Adversarial Edge Learning", ICCV workshops 2019. Both generators
have one trunk (Johnson et al. 2016): three convolutions down to a quarter of the size, residual blocks dilated by two, and up
again; every convolution but the last is followed by instance norm (no gain, no running statistics). Spectral norm is folded into
the weights when files are read. Module names are those of the official files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official, System, drawn
from operators.edges import grey
from operators.networks.spectral_norm import plain_weights

Role = Literal["edge", "inpaint"]
Mode = Literal["edge", "inpaint", "edge_inpaint", "joint"]
CHANNELS: Mapping[Role, tuple[int, int]] = {"edge": (3, 1), "inpaint": (4, 3)}
FILES = ("EdgeModel_gen.pth", "InpaintingModel_gen.pth")
CONFIG = "config.yml"
GIVE = f"the folder with {FILES[0]} and {FILES[1]} (and their {CONFIG}, if there is one)"
PAGE = "https://github.com/knazeri/edge-connect"
_TITLES: Mapping[Role, str] = {"edge": "EdgeConnect's edge generator", "inpaint": "EdgeConnect's inpainting generator"}
_WIDEST, _DEEPEST, _LONGEST_CONFIG = 128, 32, 1 << 16


def normed(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Instance norm: every channel of every picture to mean 0 and variance 1."""
    return functional.instance_norm(x, eps=1e-5)


def reflected(x: Float[Tensor, "n c h w"], by: int) -> Float[Tensor, "n c H W"]:
    """Mirrored at all four sides, the border pixel not repeated."""
    return functional.pad(x, (by, by, by, by), mode="reflect")


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(dilated conv(x))))), with no activation at its end."""

    def __init__(self, width: int, bias: bool):
        super().__init__()
        self.conv_block = nn.ModuleDict(
            {"1": nn.Conv2d(width, width, 3, dilation=2, bias=bias), "5": nn.Conv2d(width, width, 3, bias=bias)}
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        y = functional.relu_(normed(self.conv_block["1"](reflected(x, 2))))
        return x + normed(self.conv_block["5"](reflected(y, 1)))


class Generator(nn.Module):
    """What both generators are. Sides are multiples of 4, and at least 12. `block_bias`: the blocks' convolutions have biases,
    as they have where they were trained without spectral norm.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int = 8, width: int = 64, block_bias: bool = True):
        super().__init__()
        self.encoder = nn.ModuleDict(
            {
                "1": nn.Conv2d(inputs, width, 7),
                "4": nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                "7": nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            }
        )
        self.middle = nn.Sequential(*(ResidualBlock(4 * width, block_bias) for _ in range(blocks)))
        self.decoder = nn.ModuleDict(
            {
                "0": nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
                "3": nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
                "7": nn.Conv2d(width, outputs, 7),
            }
        )

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h w"]:
        """Before the last activation."""
        x = functional.relu_(normed(self.encoder["1"](reflected(x, 3))))
        for name in ("4", "7"):
            x = functional.relu_(normed(self.encoder[name](x)))
        x = self.middle(x)
        for name in ("0", "3"):
            x = functional.relu_(normed(self.decoder[name](x)))
        return self.decoder["7"](reflected(x, 3))


class EdgeConnect(nn.Module):
    """The two generators; one is None when its file was not given. Maps are 0 or 1 (hole = 1), pictures in [0, 1].

    `sigma` is the Canny scale that the weights were trained with, as far as their config.yml says.
    """

    def __init__(self, edge: nn.Module | None, inpaint: nn.Module | None, sigma: float | None = None):
        super().__init__()
        self.edge, self.inpaint, self.sigma = edge, inpaint, sigma

    def forward(
        self,
        image: Float[Tensor, "n 3 h w"],
        edges: Float[Tensor, "n 1 h w"],
        hole: Float[Tensor, "n 1 h w"],
        mode: Mode = "joint",
        merged: bool = False,
    ) -> Float[Tensor, "n channels h w"]:
        """What the authors' test.py computes with `--model` 1 to 4, not composited: edges in mode edge, else a picture.

        edge_inpaint and joint differ in training alone. There and in sampling, the map between the generators is `merged`: the
        known edges are put back outside the hole. test.py hands the edge generator's map on as it is.
        """
        if mode == "inpaint":
            return self.picture(image, edges, hole)
        found = self.edges(grey(image), edges, hole)
        if mode == "edge":
            return found
        return self.picture(image, found * hole + edges * (1 - hole) if merged else found, hole)

    def edges(
        self, grey: Float[Tensor, "n 1 h w"], edges: Float[Tensor, "n 1 h w"], hole: Float[Tensor, "n 1 h w"]
    ) -> Float[Tensor, "n 1 h w"]:
        """How likely an edge is at every pixel; the edges and the grey picture inside the hole are not looked at."""
        assert self.edge is not None
        known = 1 - hole
        return torch.sigmoid(self.edge(torch.cat((grey * known + hole, edges * known, hole), 1)))

    def picture(
        self, image: Float[Tensor, "n 3 h w"], edges: Float[Tensor, "n 1 h w"], hole: Float[Tensor, "n 1 h w"]
    ) -> Float[Tensor, "n 3 h w"]:
        """The whole picture painted anew, along edges that are given inside the hole and outside of it."""
        assert self.inpaint is not None
        return (torch.tanh(self.inpaint(torch.cat((image * (1 - hole) + hole, edges), 1))) + 1) / 2


class Discriminator(nn.Module):
    """70 x 70 patches: real or made? Sees the grey picture and its edges (2 channels), or the picture (3)."""

    STRIDES = (2, 2, 2, 1, 1)

    def __init__(self, inputs: int, width: int = 64, bias: bool = False, use_sigmoid: bool = True):
        super().__init__()
        self.use_sigmoid = use_sigmoid
        widths = (inputs, width, 2 * width, 4 * width, 8 * width, 1)
        for i, stride in enumerate(self.STRIDES):
            convolution = nn.Conv2d(widths[i], widths[i + 1], 4, stride=stride, padding=1, bias=bias)
            self.add_module(f"conv{i + 1}", nn.Sequential(convolution))

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> tuple[Tensor, list[Tensor]]:
        """The verdict on every patch, and the five maps that feature matching compares (the last one before the sigmoid)."""
        maps: list[Tensor] = []
        for i in range(1, 6):
            x = self.get_submodule(f"conv{i}")(x)
            x = functional.leaky_relu(x, 0.2) if i < 5 else x
            maps.append(x)
        return (torch.sigmoid(x) if self.use_sigmoid else x), maps


def generator_weights(state: Mapping[str, Tensor], file: Path | str) -> tuple[Role, dict[str, Any], dict[str, Tensor]]:
    """Which generator an official state_dict is of, its shape, and its plain weights. Errors: CheckpointError."""
    weights = plain_weights(state, file, ("decoder.0", "decoder.3"))
    first = weights.get("encoder.1.weight")
    inputs = first.shape[1] if first is not None and first.ndim == 4 else 0
    role: Role = "edge" if inputs == CHANNELS["edge"][0] else "inpaint"
    numbers = [int(key.split(".")[1]) for key in weights if key.startswith("middle.") and key.split(".")[1].isdecimal()]
    shape = {
        "blocks": min(max(numbers, default=7) + 1, _DEEPEST),
        "width": min(len(first), _WIDEST) if first is not None and first.ndim else 64,
        "block_bias": "middle.0.conv_block.1.bias" in weights or not numbers,
    }
    fill(Generator(*CHANNELS[role], **shape), weights, file, _TITLES[role])
    return role, shape, weights


def read_discriminator(path: Path, use_sigmoid: bool = True) -> Discriminator:
    """The network of a `*_dis.pth`; `use_sigmoid` is False where it was trained with GAN_LOSS hinge. Errors: CheckpointError."""
    return discriminator(state_dict_of(read_checkpoint(path), path, "discriminator"), path, use_sigmoid)


def discriminator(state: Mapping[str, Tensor], file: Path | str, use_sigmoid: bool = True) -> Discriminator:
    """The network of an official state_dict. Errors: CheckpointError."""
    weights = plain_weights(state, file)
    again = {key: weights.pop(key) for key in list(weights) if key.startswith("features.")}
    weights |= {key.replace("features", "conv1", 1): value for key, value in again.items()}  # one module, saved under two names
    first = weights.get("conv1.0.weight")
    inputs, width = (first.shape[1], len(first)) if first is not None and first.ndim == 4 else (3, 64)
    network = Discriminator(inputs, min(width, _WIDEST), "conv1.0.bias" in weights, use_sigmoid)
    return fill(network, weights, file, "EdgeConnect's discriminator")


def find(path: Path) -> list[Path]:
    """The generators that lie in a folder, and their config.yml; or one generator's file of any other name."""
    if path.is_file() and path.name not in FILES:
        return [path]
    folder = path if path.is_dir() else path.parent
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if not found:
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:6]) if folder.is_dir() else "no such folder"
        raise CheckpointError(path, " and ".join(FILES), there or "an empty folder", f"give {GIVE}")
    return [*found, *(item for item in (folder / CONFIG,) if item.is_file())]


def read(files: Sequence[Path]) -> Official:
    """Weights of one generator or both, each under its role's name; their shapes and the Canny scale as settings."""
    weights: dict[str, Tensor] = {}
    settings: dict[str, Any] = {}
    for file in files:
        if file.name == CONFIG:
            settings |= _config(file)
            continue
        role, shape, plain = generator_weights(state_dict_of(read_checkpoint(file), file, "generator"), file)
        if role in settings:
            raise CheckpointError(file, "one generator of each kind", f"a second one of {_TITLES[role]}", f"give {GIVE}")
        settings[role] = shape
        weights |= {f"{role}.{key}": value for key, value in plain.items()}
    return Official(weights, settings)


def _config(file: Path) -> dict[str, Any]:
    """What of a config.yml matters once the weights are trained: SIGMA."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_LONGEST_CONFIG).decode("utf-8", "replace")
        found = yaml.safe_load(text)
        sigma = found.get("SIGMA") if isinstance(found, dict) else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = " ".join(str(error).split())[:120]
        raise CheckpointError(file, "EdgeConnect's options in YAML", problem, "repair it or take it away") from error
    return {"sigma": float(sigma)} if isinstance(sigma, int | float) and -1 <= sigma <= 100 else {}


def build(official: Official) -> EdgeConnect:
    """The network of what was read. Errors: CheckpointError."""
    made: dict[Role, Generator] = {}
    for role, channels in CHANNELS.items():
        if role in official.settings:
            own = {key.removeprefix(f"{role}."): value for key, value in official.weights.items() if key.startswith(f"{role}.")}
            made[role] = fill(Generator(*channels, **official.settings[role]), own, "edgeconnect", _TITLES[role])
    return EdgeConnect(made.get("edge"), made.get("inpaint"), official.settings.get("sigma")).eval()


def untrained() -> Official:
    """Random weights of the published architecture."""
    weights: dict[str, Tensor] = {}
    settings: dict[str, Any] = {}
    for role, channels in CHANNELS.items():
        settings[role] = {"blocks": 8, "width": 64, "block_bias": role == "inpaint"}
        weights |= drawn(Generator(*channels, **settings[role]), f"{role}.")
    return Official(weights, settings)


SYSTEM = System(
    name="edgeconnect",
    title="EdgeConnect",
    licence="CC-BY-NC-4.0",
    non_commercial=True,
    terms="non-commercial use only, with credit to the authors",
    page=PAGE,
    give=GIVE,
    find=find,
    read=read,
    build=build,
    untrained=untrained,
    marks=(r"(^|\.)encoder\.1\.weight(_orig)?$", r"(^|\.)middle\.0\.conv_block\.1\.weight", r"(^|\.)decoder\.7\.weight$"),
)
