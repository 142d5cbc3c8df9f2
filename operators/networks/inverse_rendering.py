"""The regressor of "Inverse Rendering 3DMM" (zhangxuan1918/FaceFusion): ResNet-18 from an FFHQ crop to a Basel face.

224 px, RGB in [-1, 1], to 240 normalised numbers: pose 6, shape 100, expression 79, colour 6, illumination 9, texture 40; what
they mean stands in `operators.regress.inverse_rendering`. It is a Keras network: padding "same" (more at the end), batch norms
with epsilon 1e-3. Kernels are turned to torch's order; `stats.*` are the means and standard deviations of `stats_80k.npz`, which
say how long each part is. Files that were trained otherwise (shape 199, expression 29, pose 7) load the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official, System, drawn
from operators.checkpoints.tensorflow import read_bundle

SIDE = 224
PARTS = {"Pose": 6, "Shape": 100, "Exp": 79, "Color": 6, "Illum": 9, "Tex": 40}
"""Parts of the output in order, named as in the statistics file, with the lengths of the published model."""
_EPS = 1e-3


def same(x: Tensor, size: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's padding "same": where the border is uneven, more at the right and below."""
    extra = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in (x.shape[3], x.shape[2])]
    left, top = extra[0] // 2, extra[1] // 2
    return nnf.pad(x, (left, extra[0] - left, top, extra[1] - top), value=value) if max(extra) else x


class Convolution(nn.Module):
    """Convolution with padding "same" and its batch norm."""

    def __init__(self, channels: int, out: int, size: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, size, stride, bias=False)
        self.bn = nn.BatchNorm2d(out, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(same(x, self.conv.kernel_size[0], self.conv.stride[0])))


class Block(nn.Module):
    """Two 3 x 3 convolutions; the first block of each stage has a convolution in its short cut too."""

    def __init__(self, channels: int, out: int, stride: int, projected: bool):
        super().__init__()
        self.first, self.second = Convolution(channels, out, 3, stride), Convolution(out, out, 3, 1)
        self.proj = Convolution(channels, out, 1, stride) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x).relu())
        return (y + (x if self.proj is None else self.proj(x))).relu()


class Statistics(nn.Module):
    """Mean and standard deviation of every part."""

    def __init__(self, lengths: Mapping[str, int]):
        super().__init__()
        for name, length in lengths.items():
            self.register_buffer(f"{name}_mean", torch.zeros(length))
            self.register_buffer(f"{name}_std", torch.ones(length))

    def whole(self, what: str) -> Tensor:
        """`mean` or `std` of the whole vector."""
        return torch.cat([self.get_buffer(f"{name}_{what}") for name in PARTS])


class InverseRendering(nn.Module):
    """Parameters of aligned faces (RGB in [0, 1]), in their own units: the normalisation is taken off."""

    def __init__(self, lengths: Mapping[str, int] = PARTS):
        super().__init__()
        self.lengths = dict(lengths)
        self.conv1 = Convolution(3, 64, 7, 2)
        channels = 64
        for stage, out in zip((2, 3, 4, 5), (64, 128, 256, 512), strict=True):
            stride = 1 if stage == 2 else 2
            self.add_module(f"conv{stage}_1", Block(channels, out, stride, True))
            self.add_module(f"conv{stage}_2", Block(out, out, 1, False))
            channels = out
        self.fc = nn.Linear(512, sum(lengths.values()))
        self.stats = Statistics(lengths)

    def normalised(self, x: Float[Tensor, "faces 3 224 224"]) -> Float[Tensor, "faces parameters"]:
        """The network's output itself."""
        x = self.conv1(2 * x - 1).relu()
        x = nnf.max_pool2d(same(x, 3, 2, float("-inf")), 3, 2)
        for stage in (2, 3, 4, 5):
            for block in (1, 2):
                x = self.get_submodule(f"conv{stage}_{block}")(x)
        return self.fc(x.mean((2, 3)))

    def forward(self, x: Float[Tensor, "faces 3 224 224"]) -> dict[str, Tensor]:
        values = self.normalised(x) * self.stats.whole("std") + self.stats.whole("mean")
        return dict(zip(PARTS, values.split([self.lengths[name] for name in PARTS], 1), strict=True))


_LAYER = re.compile(r"(conv1/7x7_s2|conv\d_\d_3x3_(?:1|2|proj)|fc)(/bn)?/(kernel|bias|gamma|beta|moving_mean|moving_variance)")
_PLACES = {"3x3_1": "first", "3x3_2": "second", "3x3_proj": "proj"}
_WORDS = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var",
}  # fmt: skip


def own_name(variable: str) -> str | None:
    """Our key of a Keras variable (`conv2_1_3x3_1/bn/gamma`); None for what is no layer's (the optimiser's slots)."""
    found = _LAYER.fullmatch(variable.removesuffix(":0"))
    if found is None:
        return None
    layer, norm, what = found.groups()
    if layer == "fc":
        return f"fc.{_WORDS[what]}"
    block = re.fullmatch(r"(conv\d_\d)_(.+)", layer)
    place = f"{block[1]}.{_PLACES[block[2]]}" if block else "conv1"
    return f"{place}.{'bn' if norm else 'conv'}.{_WORDS[what]}"


def find(path: Path) -> list[Path]:
    """Index and data of the checkpoint in a SavedModel (or beside `checkpoint`), and the statistics in it or beside it."""
    folder = path if path.is_dir() else path.parent
    indices = [path] if path.suffix == ".index" else [*folder.glob("variables/variables.index"), *sorted(folder.glob("*.index"))]
    if not indices:
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:6]) if folder.is_dir() else "no such folder"
        raise CheckpointError(path, "variables/variables.index of a SavedModel", there or "an empty folder", GIVE)
    index = max(indices, key=lambda item: (item.name == "variables.index", _step(item), item.name))
    data = sorted(index.parent.glob(f"{index.name.removesuffix('.index')}.data-*"))
    for place in (folder, index.parent, folder.parent):
        statistics = sorted(item for item in place.glob("*.npz") if _is_statistics(item))
        if statistics:
            return [index, *data, statistics[0]]
    raise CheckpointError(path, "stats_80k.npz in the folder or beside it", "none", GIVE)


def _step(path: Path) -> int:
    found = re.search(r"(\d+)\.ckpt", path.name)
    return int(found[1]) if found else -1


def _is_statistics(path: Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as file:
            return "Shape_Para_mean" in file.files
    except Exception:  # a damaged file: `read` says so, if it is the one
        return path.name.startswith("stats")


def read(files: Sequence[Path]) -> Official:
    """Layers and statistics; kernels in torch's order."""
    weights: dict[str, Tensor] = {}
    for name, value in read_bundle(files[0]).items():
        own = own_name(name)
        if own is not None:
            turned = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim)
            weights[own] = (value if turned is None else value.permute(turned)).contiguous().float()
    if not weights:
        raise CheckpointError(files[0], "the layers conv1/7x7_s2 … fc of the ResNet-18", "none of them", GIVE)
    return Official(weights | _statistics(files[-1]))


def _statistics(path: Path) -> dict[str, Tensor]:
    found = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for part in PARTS:
                for what in ("mean", "std"):
                    values = np.asarray(file[f"{part}_Para_{what}"], np.float32).ravel()
                    found[f"stats.{part}_{what}"] = torch.from_numpy(values.copy())
    except Exception as error:  # numpy and zipfile raise what they like on a damaged file
        expected = "Pose_Para_mean, Pose_Para_std, … Tex_Para_std"
        raise CheckpointError(path, expected, f"something else ({error})", GIVE) from error
    return found


def build(official: Official) -> InverseRendering:
    """The network with the lengths that its statistics have."""
    weights = official.weights
    lengths = {part: len(weights.get(f"stats.{part}_mean", ())) for part in PARTS}
    rows = len(weights.get("fc.bias", ()))
    if sum(lengths.values()) != rows:
        said = ", ".join(f"{part} {length}" for part, length in lengths.items())
        raise CheckpointError(
            "checkpoint", f"statistics of all {rows} outputs of the last layer", f"{sum(lengths.values())} ({said})",
            "give the statistics file that belongs to this model",
        )  # fmt: skip
    counters = r".*\.num_batches_tracked"
    return fill(InverseRendering(lengths), weights, "checkpoint", "the inverse-rendering regressor", [counters])


GIVE = "the folder trained_model_20200725 (saved_model.pb, variables/) with stats_80k.npz in it or beside it"
SYSTEM = System(
    name="inverse_rendering",
    title="Inverse Rendering 3DMM",
    licence="FaceFusion-non-commercial",
    non_commercial=True,
    terms="internal, non-commercial research, evaluation or testing (its README); not to be passed on",
    page="https://github.com/zhangxuan1918/FaceFusion",
    give=GIVE,
    find=find,
    read=read,
    build=build,
    untrained=lambda: Official(drawn(InverseRendering())),
    marks=(r"conv2_1(\.proj\.conv\.weight|_3x3_proj/kernel)", r"^(fc\.weight|fc/kernel)"),
)
