"""LaMa: resolution-robust large mask inpainting with Fourier convolutions (Suvorov et al., 2021), and its files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import fill, recognise
from operators.checkpoints.restricted import Held
from operators.checkpoints.system import Official, System, drawn
from operators.networks.lama_config import FfcSettings, GlobalSettings, Ratios, read_config, settings_of, settings_of_weights
from operators.networks.lama_ffc import FFCResNetGenerator
from operators.networks.lama_global import GlobalGenerator

Generator = FFCResNetGenerator | GlobalGenerator

GIVE = "the folder with config.yaml and models/best.ckpt, one .ckpt with config.yaml beside or above it, or big-lama.pt"
_CONFIG, _PREFIXES = "config.yaml", ("generator.", "model.generator.")
BIG_LAMA = FfcSettings(
    n_blocks=18,
    add_out_act="sigmoid",
    init_conv_kwargs=Ratios(enable_lfu=False),
    downsample_conv_kwargs=Ratios(enable_lfu=False),
    resnet_conv_kwargs=Ratios(0.75, 0.75, enable_lfu=False),
)


def find(path: Path) -> list[Path]:
    """config.yaml and the checkpoint, or a checkpoint alone. Errors: CheckpointError."""
    if not path.is_dir():
        if path.suffix == ".zip":
            raise CheckpointError(path, GIVE, "an archive", "unpack it and give the folder")
        configs = [path.with_name(_CONFIG), path.parent.parent / _CONFIG]
        return [*[config for config in configs if config.is_file()][:1], path]
    names = ("models/best.ckpt", "best.ckpt", "models/last.ckpt", "last.ckpt")
    found = [path / name for name in names if (path / name).is_file()]
    found = found or [file for pattern in ("models/*.ckpt", "*.ckpt", "*.pt") for file in sorted(path.glob(pattern))]
    if not found:
        there = ", ".join(sorted(item.name for item in path.iterdir())[:6])
        raise CheckpointError(path, "config.yaml and models/best.ckpt", there or "an empty folder", f"give {GIVE}")
    return find(found[0])


def read(files: Sequence[Path]) -> Official:
    """The generator's weights by their names in it, and its settings. Discriminator, losses and trainer are left out.

    Errors: CheckpointError.
    """
    file = files[-1]
    contents = read_checkpoint(file)
    weights = generator_weights(state_dict_of(contents, file, "state_dict", "generator"))
    if isinstance(contents, Held):  # TorchScript: a traced wrapper, published without its config
        settings = settings_of_weights(weights, file)
    elif len(files) > 1:
        settings = read_config(files[0])
    else:
        other = recognise(weights)
        if other is not None and other.name != "lama":
            raise CheckpointError(file, "a checkpoint of LaMa", other.title, f"use kind {other.name}, or give {GIVE}")
        raise CheckpointError(file, f"{_CONFIG} beside it or in the folder above", "none", f"give {GIVE}")
    return Official(weights, {"generator": settings.as_json()})


def generator_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict's generator by the names in it, in float32: what is called `generator.`, else what looks like it."""
    first = re.compile(r"(.*\.)?model\.1\.(ffc\.convl2l\.)?weight")
    alike = sorted({match[1] or "" for key in state if (match := first.fullmatch(key))}, key=len)
    for prefix in (*_PREFIXES, *alike):
        inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(f"{prefix}model.")}
        if inner:
            state = inner
            break
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def build(official: Official) -> Generator:
    """The generator, in eval mode. Errors: CheckpointError."""
    settings = settings_of(official.settings.get("generator", {}), "LaMa")
    return generator(settings, official.weights)


def generator(settings: FfcSettings | GlobalSettings, weights: Mapping[str, Tensor]) -> Generator:
    """The generator of these settings with these weights, in eval mode. Errors: CheckpointError."""
    with torch.device("meta"):  # checked before any memory is taken: settings are the file's own word
        network = empty(settings)
    counters = [key for key in network.state_dict() if key.endswith("num_batches_tracked") and key not in weights]
    weights = {**weights, **{key: torch.zeros((), dtype=torch.int64) for key in counters}}
    own = {key: value.shape for key, value in network.state_dict().items()}
    if own != {key: value.shape for key, value in weights.items()}:
        fill(network, weights, "LaMa", "LaMa's generator")  # says what differs
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def empty(settings: FfcSettings | GlobalSettings) -> Generator:
    """The generator before its weights."""
    return FFCResNetGenerator(settings) if isinstance(settings, FfcSettings) else GlobalGenerator(settings)


def untrained(settings: FfcSettings | GlobalSettings = BIG_LAMA) -> Official:
    """Random weights of big-lama's architecture."""
    return Official(drawn(empty(settings)), {"generator": settings.as_json()})


SYSTEM = System(
    name="lama",
    title="LaMa",
    licence="Apache-2.0",
    non_commercial=False,
    terms="",
    page="https://github.com/advimman/lama",
    give=GIVE,
    find=find,
    read=read,
    build=build,
    untrained=untrained,
    marks=(r"(^|\.)model\.\d+\.(conv1\.ffc\.convl2l|conv_block\.1)\.weight$", r"(^|\.)model\.1\.(ffc\.convl2l\.)?weight$"),
)
