"""Deep3D's regressor (Deng et al., "Accurate 3D Face Reconstruction with Weakly-Supervised Learning", CVPRW 2019).

ResNet-50 (stride in the 3 x 3 convolution) from a 224 px face to 257 numbers: identity 80, expression 64, texture 80, angles 3,
light 27, translation 3; `operators.regress.deep3d` says what they mean. Keys are those of sicxu/Deep3DFaceRecon_pytorch, whose
options also allow ResNet-18 and one last linear layer in place of seven.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import fill
from operators.checkpoints.system import Official, System, drawn

SIDE = 224
PARTS = {"identity": 80, "expression": 64, "texture": 80, "angles": 3, "light": 27, "shift_xy": 2, "shift_z": 1}
"""Outputs of the seven last layers, in order."""
COUNT = sum(PARTS.values())
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """Two 3 x 3 convolutions (ResNet-18), or 1 x 1, 3 x 3 and 1 x 1 with four times the channels at the end (ResNet-50)."""

    def __init__(self, channels: int, width: int, stride: int, deep: bool):
        super().__init__()
        out = 4 * width if deep else width
        shapes = [(width, 1, 1), (width, 3, stride), (out, 1, 1)] if deep else [(width, 3, stride), (width, 3, 1)]
        self.count, last = len(shapes), channels
        for k, (wide, size, step) in enumerate(shapes, 1):
            self.add_module(f"conv{k}", nn.Conv2d(last, wide, size, step, size // 2, bias=False))
            self.add_module(f"bn{k}", nn.BatchNorm2d(wide))
            last = wide
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for k in range(1, self.count + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            y = y.relu() if k < self.count else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Backbone(nn.Module):
    """ResNet up to the mean over the picture; `outputs` adds the last linear layer of the original."""

    def __init__(self, depth: int, outputs: int = 0):
        super().__init__()
        deep = depth == 50
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[depth], strict=True), 1):
            blocks = []
            for k in range(count):
                blocks.append(Block(channels, width, 2 if k == 0 and stage > 1 else 1, deep))
                channels = 4 * width if deep else width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.channels = channels
        self.fc = nn.Linear(channels, outputs) if outputs else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        x = x.mean((2, 3))
        return x if self.fc is None else self.fc(x)


class Deep3d(nn.Module):
    """257 coefficients of aligned faces (RGB in [0, 1], no ImageNet normalisation)."""

    def __init__(self, depth: int = 50, one_layer: bool = False):
        super().__init__()
        self.backbone = Backbone(depth, COUNT if one_layer else 0)
        self.final_layers: nn.ModuleList | None = None
        if not one_layer:
            self.final_layers = nn.ModuleList(nn.Conv2d(self.backbone.channels, count, 1) for count in PARTS.values())

    def forward(self, x: Float[Tensor, "faces 3 224 224"]) -> Float[Tensor, "faces 257"]:
        x = self.backbone(x)
        if self.final_layers is None:
            return x
        return torch.cat([layer(x[..., None, None]).flatten(1) for layer in self.final_layers], 1)


def fold_norms(network: nn.Module) -> nn.Module:
    """The same network with every batch norm put into the convolution before it, and its kernels channels last. In place."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in network.modules():
        children = dict(module.named_children())
        names = list(children)
        for name, child in children.items():
            partner = name.replace("bn", "conv") if "bn" in name else (str(int(name) - 1) if name.isdigit() else "")
            convolution = children.get(partner)
            if isinstance(child, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d) and partner in names:
                setattr(module, partner, fuse_conv_bn_eval(convolution, child))
                setattr(module, name, nn.Identity())
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def find(path: Path) -> list[Path]:
    """The file; of a folder (`checkpoints/<name>`) the epoch with the highest number."""
    if not path.is_dir():
        if path.suffix == ".pb":
            raise CheckpointError(path, "Deep3D's PyTorch weights", "a TensorFlow graph", GIVE)
        return [path]
    epochs = [(int(found[1]), item) for item in path.iterdir() if (found := re.fullmatch(r"epoch_(\d+)\.pth", item.name))]
    if not epochs:
        raise CheckpointError(
            path, "epoch_20.pth", ", ".join(sorted(p.name for p in path.iterdir())[:6]) or "an empty folder", GIVE
        )
    return [max(epochs)[1]]


def read(files: Sequence[Path]) -> Official:
    """`net_recon` of a training checkpoint, or its bare state_dict."""
    return Official(state_dict_of(read_checkpoint(files[0]), files[0], "net_recon", "state_dict"))


def build(official: Official) -> Deep3d:
    """The network that the keys describe."""
    return fill(described(official.weights), official.weights, "checkpoint", "Deep3D's regressor (net_recon)")


def described(weights: Mapping[str, Any]) -> Deep3d:
    """An unfilled network with the depth and last layers of these weights."""
    shallow = "backbone.layer1.0.conv2.weight" in weights and "backbone.layer1.0.conv3.weight" not in weights
    return Deep3d(18 if shallow else 50, "backbone.fc.weight" in weights)


GIVE = "epoch_20.pth of Deep3DFaceRecon_pytorch, or the folder it lies in"
SYSTEM = System(
    name="deep3d",
    title="Deep3D",
    licence="MIT",
    non_commercial=False,
    terms="its repository's licence; the Basel Face Model that its numbers belong to is for non-commercial research",
    page="https://github.com/sicxu/Deep3DFaceRecon_pytorch",
    give=GIVE,
    find=find,
    read=read,
    build=build,
    untrained=lambda: Official(drawn(Deep3d())),
    marks=(r"backbone\.layer4\.1\.conv2\.weight$", r"(final_layers\.6|backbone\.fc)\.weight$"),
)
