"""dlib's face descriptor: the residual network of dlib_face_recognition_resnet_model_v1 (King 2017, CC0), 128 numbers.

29 convolutions, batch norms folded into a gain and an offset per channel. Weights are read from the quantised file that
face-api.js distributes (TensorFlow.js weights manifest); its names are kept.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SIDE, EMBEDDING = 150, 128
MEAN_RGB = (122.782, 117.001, 104.298)
_STAGES = ((32, 3, False), (64, 3, True), (128, 2, True), (256, 2, True))


class _Layer(nn.Module):
    """Convolution, gain and offset."""

    def __init__(self, channels: int, out: int, size: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, size, stride, 0 if stride > 1 else size // 2)
        self.weights, self.biases = nn.Parameter(torch.ones(out)), nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.weights[:, None, None] + self.biases[:, None, None]


class _Residual(nn.Module):
    """Two layers and a short cut; where it halves the picture, the short cut is a mean of 2 x 2 and zeros fill new channels."""

    def __init__(self, channels: int, out: int, down: bool):
        super().__init__()
        self.conv1, self.conv2 = _Layer(channels, out, 3, 2 if down else 1), _Layer(out, out, 3, 1)
        self.down, self.grown = down, out - channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.down:
            x = F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, self.grown))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(x + y)


class DlibResNet(nn.Module):
    """128 numbers of aligned faces (RGB, 0-255); dlib calls two faces the same person below a distance of 0.6."""

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = _Layer(3, 32, 7, 2)
        channels = 32
        for out, count, down in _STAGES:
            if down:
                self.add_module(f"conv{out}_down", _Residual(channels, out, True))
            for k in range(1, count + 1):
                self.add_module(f"conv{out}_{k}", _Residual(out, out, False))
            channels = out
        self.conv256_down_out = _Residual(256, 256, True)
        self.fc = nn.Linear(256, EMBEDDING, bias=False)
        self.eval().requires_grad_(False)

    def forward(self, x: Float[Tensor, "faces 3 150 150"]) -> Float[Tensor, "faces 128"]:
        """The descriptors, not scaled."""
        x = F.max_pool2d(F.relu(self.conv32_down((x - x.new_tensor(MEAN_RGB)[:, None, None]) / 256)), 3, 2)
        for layer in self.children():
            if isinstance(layer, _Residual):
                x = layer(x)
        return self.fc(x.mean((2, 3)))


def read_tfjs(manifest: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Arrays of a TensorFlow.js weights manifest by name; quantised ones as min + scale * integer, float32.

    Errors: ValueError when manifest and data do not fit.
    """
    groups: list[dict[str, Any]] = json.loads(manifest)
    out, start = {}, 0
    for entry in (entry for group in groups for entry in group["weights"]):
        rules = entry.get("quantization")
        dtype = np.dtype(rules["dtype"] if rules else entry["dtype"])
        count = int(np.prod(entry["shape"]))
        if start + count * dtype.itemsize > len(data):
            raise ValueError(f"the file ends inside {entry['name']}: it does not belong to this manifest")
        values = np.frombuffer(data, dtype, count, start).reshape(entry["shape"])
        start += count * dtype.itemsize
        out[entry["name"]] = (values * rules["scale"] + rules["min"]).astype(np.float32) if rules else values
    if start != len(data):
        raise ValueError(f"{len(data) - start} bytes are left over: the file does not belong to this manifest")
    return out


def from_tfjs(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The arrays under this network's names and in torch's layouts."""
    out = {}
    for name, value in arrays.items():
        key = name.replace("/conv/filters", "/conv/weight").replace("/scale/", "/").replace("/", ".")
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif name == "fc":
            key, value = "fc.weight", value.T
        out[key] = torch.from_numpy(np.array(value, order="C"))
    return out
