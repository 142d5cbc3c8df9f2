"""A TensorFlow Lite network as a batched torch module.

A file is read once into a program (a list of steps) and its weights; only that pair is kept and run afterwards. Layers that
MediaPipe's face networks use are known, its three custom operations among them (mediapipe/util/tflite/operations).
Activations with height and width are kept `batch channels height width`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite
import torch
import torch.nn.functional as F
from flatbuffers import flexbuffers
from jaxtyping import Float
from torch import Tensor, nn

_DTYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
}
_NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}

Program = list[dict[str, Any]]


def read_network(data: bytes) -> tuple[Program, dict[str, np.ndarray]]:
    """Program and float32 weights (in torch's layouts) of a .tflite file.

    Errors: ValueError names a layer that is not known.
    """
    model: Any = tflite.Model.GetRootAsModel(data, 0)
    graph: Any = model.Subgraphs(0)
    constants: dict[int, np.ndarray] = {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
            constants[i] = buffer.DataAsNumpy().view(_DTYPES[tensor.Type()]).reshape(shape)
    steps: Program = [
        {"kind": "input", "inputs": [], "outputs": [int(graph.Inputs(0))]},
    ]
    weights: dict[str, np.ndarray] = {}
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = _NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())].lower()
        if kind == "custom":
            kind = code.CustomCode().decode().lower()
        inputs = [int(operator.Inputs(j)) for j in range(operator.InputsLength())]
        outputs = [int(operator.Outputs(j)) for j in range(operator.OutputsLength())]
        if kind == "dequantize" and inputs[0] in constants:
            constants[outputs[0]] = constants[inputs[0]].astype(np.float32)
            continue
        step = {"kind": kind, "inputs": inputs, "outputs": outputs, **_options(kind, operator, constants, inputs)}
        if kind not in _LAYERS:
            raise ValueError(f"layer {kind!r} is not known: expected one of {', '.join(sorted(_LAYERS))}")
        shape = [int(n) for n in graph.Tensors(outputs[0]).ShapeAsNumpy()]
        step["shape"] = shape
        for j in inputs:
            if j in constants and constants[j].dtype == np.float32:
                weights[str(j)] = _torch_layout(kind, constants[j], j == inputs[1] if len(inputs) > 1 else False)
        step["inputs"] = [j for j in inputs if j not in constants or constants[j].dtype == np.float32]
        steps.append(step)
    outputs = [int(graph.Outputs(i)) for i in range(graph.OutputsLength())]
    names = [graph.Tensors(i).Name().decode() for i in outputs]
    steps.append({"kind": "output", "inputs": outputs, "outputs": [], "names": names})
    return steps, weights


def _torch_layout(kind: str, value: np.ndarray, is_kernel: bool) -> np.ndarray:
    if kind == "conv_2d" and is_kernel:
        value = value.transpose(0, 3, 1, 2)
    elif kind == "depthwise_conv_2d" and is_kernel:
        value = value.transpose(3, 0, 1, 2)
    elif kind == "prelu" and value.ndim == 3:
        value = value.reshape(-1)
    return np.ascontiguousarray(value)


def _options(kind: str, operator: Any, constants: dict[int, np.ndarray], inputs: list[int]) -> dict[str, Any]:
    if kind in ("landmarks2transformmatrix", "transformtensorbilinear", "transformlandmarks"):
        raw = operator.CustomOptionsAsNumpy()
        return {"options": flexbuffers.Loads(raw.tobytes()) if operator.CustomOptionsLength() else {}}
    table = operator.BuiltinOptions()
    kinds = {
        "conv_2d": tflite.Conv2DOptions,
        "depthwise_conv_2d": tflite.DepthwiseConv2DOptions,
        "max_pool_2d": tflite.Pool2DOptions,
        "add": tflite.AddOptions,
        "mul": tflite.MulOptions,
        "concatenation": tflite.ConcatenationOptions,
    }
    found: dict[str, Any] = {}
    if kind in kinds and table is not None:
        options = kinds[kind]()
        options.Init(table.Bytes, table.Pos)
        found["activation"] = _ACTIVATIONS[options.FusedActivationFunction()]
        if hasattr(options, "StrideH"):
            found["stride"] = [options.StrideH(), options.StrideW()]
            found["same"] = options.Padding() == tflite.Padding.SAME
        if kind == "max_pool_2d":
            found["window"] = [options.FilterHeight(), options.FilterWidth()]
        if kind == "concatenation":
            found["axis"] = options.Axis()
    if kind == "pad":
        found["pad"] = constants[inputs[1]].tolist()
    return found


def _activate(x: Tensor, kind: str) -> Tensor:
    return {"none": lambda v: v, "relu": F.relu, "relu6": F.relu6}[kind](x)


def _pad_same(x: Tensor, window: list[int], stride: list[int], value: float) -> Tensor:
    """Pad as TensorFlow's SAME does: the odd pixel goes to the right and below."""
    pads: list[int] = []
    for size, k, s in ((x.shape[3], window[1], stride[1]), (x.shape[2], window[0], stride[0])):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value) if any(pads) else x


def _conv(step: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    groups = x.shape[1] // weight.shape[1]
    if step["same"]:
        k, s = list(weight.shape[2:]), step["stride"]
        if s == [1, 1] and k[0] % 2 and k[1] % 2:
            y = F.conv2d(x, weight, bias, padding=(k[0] // 2, k[1] // 2), groups=groups)
            return _activate(y, step["activation"])
        x = _pad_same(x, k, s, 0.0)
    return _activate(F.conv2d(x, weight, bias, stride=step["stride"], groups=groups), step["activation"])


def _max_pool(step: dict[str, Any], x: Tensor) -> Tensor:
    if step["same"]:
        x = _pad_same(x, step["window"], step["stride"], -torch.inf)
    return F.max_pool2d(x, step["window"], step["stride"])


def _pad(step: dict[str, Any], x: Tensor) -> Tensor:
    _, h, w, c = step["pad"]
    return F.pad(x, (*w, *h, *c))


def _reshape(step: dict[str, Any], x: Tensor) -> Tensor:
    flat = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    y = flat.reshape(x.shape[0], *step["shape"][1:])
    return y.permute(0, 3, 1, 2) if y.ndim == 4 else y


def _strided_slice(step: dict[str, Any], x: Tensor) -> Tensor:
    if list(x.permute(0, 2, 3, 1).shape[1:]) != step["shape"][1:]:
        raise ValueError(f"only a whole slice is known, got {list(x.shape)} to {step['shape']}")
    return x


def _transform_matrix(step: dict[str, Any], landmarks: Tensor) -> Tensor:
    """4 x 4 matrix from a grid of output_width x output_height to the box around a subset of the landmarks."""
    o = step["options"]
    left, right = landmarks[:, o["left_rotation_idx"]], landmarks[:, o["right_rotation_idx"]]
    angle = o["target_rotation_radians"] - torch.atan2(right[:, 1] - left[:, 1], right[:, 0] - left[:, 0])
    cos, sin = torch.cos(angle), torch.sin(angle)
    points = landmarks[:, o["subset_idxs"], :2]
    turned = torch.stack(
        (
            cos[:, None] * points[..., 0] - sin[:, None] * points[..., 1],
            sin[:, None] * points[..., 0] + cos[:, None] * points[..., 1],
        ),
        -1,
    )
    high, low = turned.amax(1), turned.amin(1)
    centre, size = (high + low) / 2, high - low
    scale_x = o["scale_x"] * size[:, 0] / o["output_width"]
    scale_y = o["scale_y"] * size[:, 1] / o["output_height"]
    a, b, c, d = cos * scale_x, sin * scale_y, -sin * scale_x, cos * scale_y
    half_w, half_h = o["output_width"] / 2, o["output_height"] / 2
    x0 = cos * centre[:, 0] + sin * centre[:, 1] - a * half_w - b * half_h
    y0 = -sin * centre[:, 0] + cos * centre[:, 1] - c * half_w - d * half_h
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    rows = (a, b, zero, x0, c, d, zero, y0, zero, zero, one, zero, zero, zero, zero, one)
    return torch.stack(rows, -1).reshape(-1, 4, 4)


def _sample(step: dict[str, Any], x: Tensor, matrix: Tensor) -> Tensor:
    """Bilinear samples of `x` on the transformed grid (pixel centres at +0.5); 0 where the point lies outside."""
    o = step["options"]
    rows, columns = o["output_height"], o["output_width"]
    ys, xs = torch.meshgrid(
        torch.arange(rows, device=x.device) + 0.5, torch.arange(columns, device=x.device) + 0.5, indexing="ij"
    )
    grid = torch.stack((xs, ys), -1).reshape(1, -1, 2).to(x.dtype)
    points = (grid @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 3]).reshape(-1, rows, columns, 2)
    size = x.new_tensor([x.shape[3], x.shape[2]])
    inside = ((points >= 0.5) & (points <= size - 0.5)).all(-1)
    y = F.grid_sample(x, points * 2 / size - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
    return y * inside[:, None]


def _transform_landmarks(step: dict[str, Any], points: Tensor, matrix: Tensor) -> Tensor:
    return points[..., :2] @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 3]


_LAYERS: dict[str, Any] = {
    "conv_2d": _conv,
    "depthwise_conv_2d": _conv,
    "prelu": lambda step, x, slope: F.prelu(x, slope),
    "relu": lambda step, x: F.relu(x),
    "add": lambda step, x, y: _activate(x + y, step["activation"]),
    "mul": lambda step, x, y: _activate(x * y, step["activation"]),
    "max_pool_2d": _max_pool,
    "pad": _pad,
    "reshape": _reshape,
    "strided_slice": _strided_slice,
    "concatenation": lambda step, *xs: torch.cat(xs, step["axis"]),
    "landmarks2transformmatrix": _transform_matrix,
    "transformtensorbilinear": _sample,
    "transformlandmarks": _transform_landmarks,
}


class TfliteNetwork(nn.Module):
    """Runs a program read by `read_network` on a whole batch at once; float32."""

    def __init__(self, program: Program, weights: dict[str, Tensor]):
        super().__init__()
        self._program = program
        for name, weight in weights.items():
            self.register_buffer(f"w{name}", weight)

    @torch.inference_mode()
    def forward(self, images: Float[Tensor, "batch *size"]) -> dict[str, Tensor]:
        """Outputs by name, each flattened to `batch n` or left `batch n k`, of `batch 3 height width` (the network's own range).

        An image's outputs do not depend on the batch around it: one image alone is run twice, because convolutions of a
        batch of one round differently. (Measured: exact on a CPU for batches of up to 8.)
        """
        n = len(images)
        images = images.expand(2, *images.shape[1:]) if n == 1 else images
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        values: dict[int, Tensor] = {self._program[0]["outputs"][0]: images}
        last_use = {j: i for i, step in enumerate(self._program) for j in step["inputs"]}
        for i, step in enumerate(self._program[1:-1], start=1):
            arguments = [values[j] if j in values else getattr(self, f"w{j}") for j in step["inputs"]]
            values[step["outputs"][0]] = _LAYERS[step["kind"]](step, *arguments)
            for j in step["inputs"]:
                if last_use[j] == i:
                    values.pop(j, None)
        end = self._program[-1]
        found = (values[j] for j in end["inputs"])
        return {name: (y.flatten(1) if y.ndim == 4 else y)[:n] for name, y in zip(end["names"], found, strict=True)}
