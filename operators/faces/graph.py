"""A small feed-forward network described by data: nodes in order, weights by name. Batched, any device, float32.

Feature maps are `batch channels height width`. The description comes from `jobs/tflite_reader.py`.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from operators.assets import AssetStore


class GraphNetwork(nn.Module):
    """Runs the nodes of a graph; an image batch in, the named outputs out."""

    def __init__(self, graph: dict[str, Any], tensors: dict[str, Tensor]):
        super().__init__()
        self.nodes: list[dict[str, Any]] = graph["nodes"]
        self.input: str = graph["input"]
        self.outputs: dict[str, str] = graph["outputs"]
        for name, values in tensors.items():
            self.register_buffer(name, values.float())
        last = {name: k for k, node in enumerate(self.nodes) for name in node["inputs"]}
        keep = set(self.outputs.values())
        self._release = [
            [name for name in dict.fromkeys(node["inputs"]) if last[name] == k and name not in keep]
            for k, node in enumerate(self.nodes)
        ]

    @classmethod
    def load(cls, assets: AssetStore, name: str, device: str = "cpu") -> GraphNetwork:
        """The converted network of that asset name, ready to run."""
        network = cls(json.loads(assets.metadata(name)["graph"]), assets.tensors(name))
        return network.eval().to(device=device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def in_chunks(self, images: Float[Tensor, "images 3 height width"], size: int) -> dict[str, Tensor]:
        """The outputs for any number of images, `size` at a time.

        The last chunk is filled up: kernels depend on the batch's size, and so would the last bits of a row.
        """
        parts = []
        for start in range(0, max(len(images), 1), size):
            chunk = images[start : start + size]
            filled = torch.cat([chunk, chunk.new_zeros(size - len(chunk), *chunk.shape[1:])])
            out = self(filled.contiguous(memory_format=torch.channels_last))
            parts.append({name: values[: len(chunk)] for name, values in out.items()})
        return {name: torch.cat([part[name] for part in parts]) for name in self.outputs}

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        values = {self.input: images}
        for node, release in zip(self.nodes, self._release, strict=True):
            values[node["output"]] = self._run(node, [values[name] for name in node["inputs"]])
            for name in release:
                del values[name]
        return {name: values[key] for name, key in self.outputs.items()}

    def _run(self, node: dict[str, Any], inputs: list[Tensor]) -> Tensor:
        x = inputs[0]
        weight = self.get_buffer(node["weight"]) if "weight" in node else x
        match node["op"]:
            case "conv":
                left, right, top, bottom = node["pad"]
                even = left == right and top == bottom
                x = x if even else F.pad(x, node["pad"])
                pad = (top, left) if even else 0
                x = F.conv2d(x, weight, self.get_buffer(node["bias"]), node["stride"], pad, groups=node["groups"])
                return F.relu(x) if node["act"] == "relu" else x
            case "add":
                x = x + inputs[1]
                return F.relu(x) if node["act"] == "relu" else x
            case "relu":
                return F.relu(x)
            case "prelu":
                return F.prelu(x, weight)
            case "pad":
                return F.pad(x, node["pad"])
            case "max_pool":
                return F.max_pool2d(x, node["kernel"], node["stride"])
            case "scale":
                return x * weight
            case "concat":
                return torch.cat(inputs, node["axis"])
            case "reshape":
                return _reshape(x, node["shape"])
            case "landmark_window":
                return landmark_window(x, node["subset"], node["axis"], node["scale"], node["size"])
            case "sample":
                return sample_window(x, inputs[1], node["size"])
            case "transform_points":
                return x @ inputs[1][:, :2, :2].mT + inputs[1][:, None, :2, 3]
        raise ValueError(f"unknown node {node['op']!r}: known are those of jobs/tflite_reader.py")


def _reshape(x: Tensor, shape: list[int]) -> Tensor:
    """Reshape in the channels-last order that the shapes were written for; four dimensions are channels-first again."""
    x = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    x = x.reshape(len(x), *shape)
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def landmark_window(
    landmarks: Float[Tensor, "batch points 3"], subset: list[int], axis: list[int], scale: list[float], size: int
) -> Float[Tensor, "batch 4 4"]:
    """The affine map from a `size` x `size` window to the rotated, enlarged bounding box of some landmarks.

    The window's x axis lies along landmark `axis[0]` -> `axis[1]` (MediaPipe, Landmarks2TransformMatrix version 2;
    Grishchenko et al., "Attention Mesh", 2020).
    """
    direction = landmarks[:, axis[1], :2] - landmarks[:, axis[0], :2]
    angle = torch.atan2(direction[:, 1], direction[:, 0])
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    upright = landmarks[:, subset, :2] @ rotation
    low, high = upright.amin(1), upright.amax(1)
    step = (high - low) * torch.tensor(scale, dtype=low.dtype, device=low.device) / size
    linear = rotation * step[:, None, :]
    centre = torch.einsum("bij,bj->bi", rotation, (low + high) / 2)
    matrix = torch.eye(4, dtype=low.dtype, device=low.device).repeat(len(landmarks), 1, 1)
    matrix[:, :2, :2] = linear
    matrix[:, :2, 3] = centre - linear.sum(-1) * (size / 2)
    return matrix


def sample_window(
    features: Float[Tensor, "batch channels height width"], matrix: Float[Tensor, "batch 4 4"], size: int
) -> Float[Tensor, "batch channels size size"]:
    """Bilinear samples of a feature map at the window's pixel centres (+0.5); zero where the centre lies outside.

    MediaPipe, TransformTensorBilinear version 2.
    """
    height, width = features.shape[2:]
    steps = torch.arange(size, dtype=features.dtype, device=features.device) + 0.5
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    window = torch.stack([u, v], -1).reshape(1, -1, 2)
    position = window @ matrix[:, :2, :2].mT + matrix[:, None, :2, 3] - 0.5
    limit = torch.tensor([width - 1, height - 1], dtype=features.dtype, device=features.device)
    inside = ((position >= 0) & (position <= limit)).all(-1).reshape(-1, 1, size, size)
    grid = (position / limit * 2 - 1).reshape(-1, size, size, 2)
    return F.grid_sample(features, grid, align_corners=True, padding_mode="border") * inside
