"""LaMa's settings: the `generator:` block of the config.yaml that comes with its files, or what shapes of weights tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import yaml
from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError

# Other options of the official constructors, and the value with which they change nothing; for the rest that is "off".
_NEUTRAL: dict[str, Any] = {
    **{"dilation": 1, "second_dilation": 1, "groups": 1, "affine": True, "fft_norm": "ortho", "spatial_scale_mode": "bilinear"},
    **{"conv_kind": "default", "norm_layer": "bn", "up_norm_layer": "bn", "dilation_block_kind": "simple"},
}
_LARGEST = {"input_nc": 64, "output_nc": 64, "ngf": 512, "n_downsampling": 6, "n_blocks": 64, "max_features": 4096}
_MOST_YAML = 1 << 20


Padding = Literal["reflect", "zeros", "replicate", "circular"]


@dataclass(frozen=True)
class Ratios:
    """Settings of a fast Fourier convolution: the share of channels that is global, before and after it."""

    ratio_gin: float = 0.0
    ratio_gout: float = 0.0
    enable_lfu: bool = True
    gated: bool = False

    def replaced(self, ratio_gout: float) -> Ratios:
        """The same with another share after it."""
        return replace(self, ratio_gout=ratio_gout)


@dataclass(frozen=True)
class GeneratorSettings:
    """What both kinds of generator have; defaults are those of the official code."""

    kind: ClassVar[str] = ""
    paddings: ClassVar[tuple[str, ...]] = ()

    input_nc: int = 4
    output_nc: int = 3
    ngf: int = 64
    n_downsampling: int = 3
    n_blocks: int = 9
    max_features: int = 1024
    add_out_act: bool | Literal["tanh", "sigmoid"] = True

    @property
    def widths(self) -> list[int]:
        """Channels at full size, half of it, and so on."""
        return [min(self.max_features, self.ngf * 2**i) for i in range(self.n_downsampling + 1)]

    def activation(self) -> nn.Module | None:
        """The last layer."""
        name = "tanh" if self.add_out_act is True else self.add_out_act
        return {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[name]() if name else None

    def as_json(self) -> dict[str, Any]:
        """As in a `generator:` block."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class FfcSettings(GeneratorSettings):
    """`kind: ffc_resnet`: big-lama, lama-fourier."""

    kind: ClassVar[str] = "ffc_resnet"
    paddings: ClassVar[tuple[str, ...]] = get_args(Padding)

    padding_type: Padding = "reflect"
    init_conv_kwargs: Ratios = Ratios()
    downsample_conv_kwargs: Ratios = Ratios()
    resnet_conv_kwargs: Ratios = Ratios()


@dataclass(frozen=True)
class GlobalSettings(GeneratorSettings):
    """`kind: pix2pixhd_global`: lama-regular."""

    kind: ClassVar[str] = "pix2pixhd_global"
    paddings: ClassVar[tuple[str, ...]] = ("reflect", "zero", "replicate")

    padding_type: Literal["reflect", "zero", "replicate"] = "reflect"


KINDS: dict[str, type[FfcSettings] | type[GlobalSettings]] = {kind.kind: kind for kind in (FfcSettings, GlobalSettings)}


def read_config(path: Path) -> FfcSettings | GlobalSettings:
    """The generator of a config.yaml, omegaconf's `${…}` resolved. Errors: CheckpointError."""
    get = "take the config.yaml that lies beside the official checkpoint"
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_YAML + 1)
        if len(text) > _MOST_YAML:
            raise ValueError("it is larger than 1 MiB")
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise CheckpointError(path, "LaMa's config.yaml", " ".join(str(error).split())[:120], get) from error
    block = config.get("generator") if isinstance(config, dict) else None
    if not isinstance(block, dict):
        found = f"{', '.join(map(str, list(config)[:6]))}" if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(path, "a `generator:` block", found or "nothing", get)
    training = config.get("training_model")
    if isinstance(training, dict) and (training.get("add_noise_kwargs") or training.get("concat_mask") is False):
        found = "training_model with add_noise_kwargs or concat_mask: false"
        raise CheckpointError(path, "a generator that gets the picture and the hole", found, "give a released LaMa")
    return settings_of(block, path, config)


def settings_of(
    block: Mapping[str, Any], file: Path | str, root: Mapping[str, Any] | None = None
) -> FfcSettings | GlobalSettings:
    """A `generator:` block, checked. `root` is what its interpolations refer to. Errors: CheckpointError."""
    root = {"generator": block} if root is None else root
    given = {str(name): _resolved(value, root) for name, value in block.items()}
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(file, f"generator kind {' or '.join(KINDS)}", f"{kind!r}"[:80], "give a file of one of these kinds")
    made = _filled(KINDS[kind], given, file, "generator", root)
    last = made.resnet_conv_kwargs if isinstance(made, FfcSettings) else None
    if made.input_nc != 4 or made.output_nc != 3 or made.ngf > made.max_features or (last and last.ratio_gin != last.ratio_gout):
        found = f"input_nc {made.input_nc}, output_nc {made.output_nc}, ngf {made.ngf}, max_features {made.max_features}"
        found += f", ratio_gin {last.ratio_gin}, ratio_gout {last.ratio_gout}" if last else ""
        expected = "a generator from 4 channels (picture, hole) to 3, with blocks that keep their channels"
        raise CheckpointError(file, expected, found, "give a released LaMa's config.yaml")
    return made


def _resolved(value: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """`${a.b}` is what stands at a.b from the top; what cannot be found stays as it is."""
    match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    if match is None or depth > 16:
        return value
    found: Any = root
    for name in match[1].split("."):
        if not isinstance(found, Mapping) or name not in found:
            return value
        found = found[name]
    return _resolved(found, root, depth + 1)


def _filled(kind: Any, given: Mapping[str, Any], file: Path | str, where: str, root: Mapping[str, Any]) -> Any:
    """A settings class of what was given. Options that it lacks may be there as long as they change nothing."""
    known = {field.name: field for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        place = f"{where}.{name}"
        if name in known:
            default = kind.paddings if name == "padding_type" else known[name].default
            values[name] = _checked(name, value, default, file, place, root)
        elif not _changes_nothing(name, value):
            expected = f"a generator with {', '.join(known)}"
            raise CheckpointError(
                file, expected, f"{place}: {str(value)[:60]}", "this option of the official code is not supported"
            )
    return kind(**values)


def _changes_nothing(name: str, value: Any) -> bool:
    """Settings of a part that some other option would have to turn on change nothing by themselves."""
    return value is None or name.endswith("_kwargs") or (value == _NEUTRAL[name] if name in _NEUTRAL else not value)


def _checked(name: str, value: Any, default: Any, file: Path | str, place: str, root: Mapping[str, Any]) -> Any:
    if isinstance(default, Ratios):
        if isinstance(value, Mapping):
            inner = {str(key): _resolved(item, root) for key, item in value.items()}
            return _filled(Ratios, inner, file, place, root)
        expected, fits = "a block of settings", False
    elif name == "add_out_act":
        expected, fits = "true, false, tanh or sigmoid", isinstance(value, bool) or value in ("tanh", "sigmoid")
    elif isinstance(default, tuple):
        expected, fits = " or ".join(default), value in default
    elif isinstance(default, bool):
        expected, fits = "true or false", isinstance(value, bool)
    elif isinstance(default, float):
        expected, fits = "a share from 0 to 1", type(value) in (int, float) and 0 <= value <= 1
    else:
        most = _LARGEST[name]
        least = 0 if name in ("n_downsampling", "n_blocks") else 1
        expected, fits = f"{least} to {most}", type(value) is int and least <= value <= most
    if not fits:
        raise CheckpointError(
            file, f"{place} {expected}", f"{value!r}"[:80], "take the config.yaml that belongs to the checkpoint"
        )
    return float(value) if isinstance(default, float) else value


def settings_of_weights(weights: Mapping[str, Tensor], file: Path | str) -> FfcSettings | GlobalSettings:
    """Settings as far as names and shapes tell, for files without a config; the last layer is a sigmoid, as in all releases.

    Errors: CheckpointError.
    """
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    blocks = {int(match[1]) for key in shapes if (match := re.match(r"model\.(\d+)\.(?:conv1|conv_block)\.", key))}
    if any(".ffc." in key for key in shapes):
        return _ffc_of(shapes, len(blocks), file)
    first = shapes.get("model.1.weight")
    if first is None or len(first) != 4 or not blocks:
        raise CheckpointError(file, "LaMa's generator", f"{len(shapes)} tensors of other names", "give an official file of LaMa")
    down, wide = (min(blocks) - 4) // 3, shapes.get(f"model.{min(blocks)}.conv_block.1.weight", first)[0]
    common = _common(first, down, len(blocks), wide)
    return settings_of({"kind": GlobalSettings.kind, **common}, file)


def _ffc_of(shapes: Mapping[str, tuple[int, ...]], blocks: int, file: Path | str) -> FfcSettings | GlobalSettings:
    def width(place: str, part: str) -> int:
        return next(iter(shapes.get(f"model.{place}.bn_{part}.weight", ())), 0)

    firsts = sorted({int(match[1]) for key in shapes if (match := re.match(r"model\.(\d+)\.ffc\.", key))})
    last = firsts[-1] if firsts else 1
    wide_l, wide_g = width(str(last), "l"), width(str(last), "g")
    first = shapes.get("model.1.ffc.convl2l.weight", (0, 4, 7, 7))
    if not firsts or len(first) != 4 or not wide_l + wide_g:
        raise CheckpointError(file, "LaMa's generator", f"{len(shapes)} tensors of other names", "give an official file of LaMa")
    share = wide_g / (wide_l + wide_g)
    plain = {"ratio_gin": 0, "ratio_gout": 0, "enable_lfu": False}
    body = {"ratio_gin": share, "ratio_gout": share, "enable_lfu": any(".lfu." in key for key in shapes)}
    kwargs = {"init_conv_kwargs": plain, "downsample_conv_kwargs": plain, "resnet_conv_kwargs": body}
    return settings_of({"kind": FfcSettings.kind, **_common(first, len(firsts) - 1, blocks, wide_l + wide_g), **kwargs}, file)


def _common(first: tuple[int, ...], down: int, blocks: int, wide: int) -> dict[str, Any]:
    common = {"input_nc": first[1], "ngf": first[0], "n_downsampling": down, "n_blocks": blocks, "add_out_act": "sigmoid"}
    return {**common, "max_features": max(wide, first[0])}
