"""ArcFace's IResNet-50 (Deng et al. 2019) with the key names of insightface's arcface_torch backbones."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SIDE, EMBEDDING = 112, 512
_EPS = 1e-5


class _Block(nn.Module):
    """Batch norm first, PReLU between the convolutions, the stride in the second."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels, _EPS)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out, _EPS)
        self.prelu = nn.PReLU(out)
        self.conv2 = nn.Conv2d(out, out, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out, _EPS)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out, _EPS))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """512 numbers of aligned faces in [-1, 1]; `blocks` per stage, (3, 4, 14, 3) for IResNet-50."""

    def __init__(self, blocks: tuple[int, int, int, int] = (3, 4, 14, 3)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, _EPS)
        self.prelu = nn.PReLU(64)
        channels = 64
        for stage, (out, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 1):
            layers = [_Block(channels if k == 0 else out, out, 2 if k == 0 else 1) for k in range(count)]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            channels = out
        self.bn2 = nn.BatchNorm2d(512, _EPS)
        self.fc = nn.Linear(512 * (SIDE // 16) ** 2, EMBEDDING)
        self.features = nn.BatchNorm1d(EMBEDDING, _EPS)
        self.eval().requires_grad_(False)

    def forward(self, x: Float[Tensor, "faces 3 112 112"]) -> Float[Tensor, "faces 512"]:
        """The embeddings, unit length."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return F.normalize(self.features(self.fc(self.bn2(x).flatten(1))))
