"""Read a TensorFlow Lite network once and write it as safetensors: weights, and the graph as JSON in the header.

Only the operators that MediaPipe's face networks use are known. Weights are stored as float32 (half-precision constants
are unfolded here), convolution kernels in the order of torch, spatial padding as explicit numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from flatbuffers import flexbuffers
from safetensors.numpy import save_file

_DTYPES = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16, tflite.TensorType.INT32: np.int32}
_NAMES = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
_ACTIVATIONS = {tflite.ActivationFunctionType.NONE: "none", tflite.ActivationFunctionType.RELU: "relu"}


class UnsupportedNetwork(ValueError):
    """The network uses something that this reader does not know."""


def convert(source: Path, target: Path) -> None:
    """Write `target` (safetensors) from `source` (tflite); the same source always gives the same bytes."""
    tensors, graph = read(source.read_bytes())
    save_file(tensors, target, metadata={"graph": json.dumps(graph, sort_keys=True, separators=(",", ":"))})


def read(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Weights by name, and the graph: `input`, `outputs` {name: tensor}, `nodes` [{op, inputs, output, …}] in order."""
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes):
        self.model = tflite.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise UnsupportedNetwork(f"expected one subgraph, got {self.model.SubgraphsLength()}")
        self.graph = self.model.Subgraphs(0)
        self.constants: dict[int, np.ndarray] = {}
        self.weights: dict[str, np.ndarray] = {}

    def read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        nodes = [node for k in range(self.graph.OperatorsLength()) if (node := self._node(self.graph.Operators(k)))]
        outputs = {self.graph.Tensors(i).Name().decode(): f"t{i}" for i in self.graph.OutputsAsNumpy()}
        graph = {"input": f"t{self.graph.InputsAsNumpy()[0]}", "outputs": outputs, "nodes": nodes}
        return self.weights, graph

    def _shape(self, index: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self.graph.Tensors(index).ShapeAsNumpy())

    def _constant(self, index: int) -> np.ndarray | None:
        if index not in self.constants:
            tensor = self.graph.Tensors(index)
            buffer = self.model.Buffers(tensor.Buffer())
            if not buffer.DataLength():
                return None
            values = np.frombuffer(buffer.DataAsNumpy().tobytes(), _DTYPES[tensor.Type()])
            self.constants[index] = values.reshape(self._shape(index))
        return self.constants[index]

    def _weight(self, index: int, order: tuple[int, ...] | None = None) -> str:
        values = self._constant(index)
        if values is None:
            raise UnsupportedNetwork(f"tensor {index} must be constant")
        values = values.astype(np.float32)
        self.weights[f"w{index}"] = np.ascontiguousarray(values.transpose(order) if order else values)
        return f"w{index}"

    def _window(self, options: Any, x: int, kernel: tuple[int, int]) -> dict[str, Any]:
        """Stride, and padding (left, right, top, bottom) as TensorFlow's SAME and VALID define it."""
        stride = (options.StrideH(), options.StrideW())
        pad = [0, 0, 0, 0]
        if options.Padding() == tflite.Padding.SAME:
            for axis in (0, 1):
                size = self._shape(x)[1 + axis]
                total = max((-(-size // stride[axis]) - 1) * stride[axis] + kernel[axis] - size, 0)
                pad[2 - 2 * axis : 4 - 2 * axis] = [total // 2, total - total // 2]
        return {"stride": stride, "pad": pad}

    def _options(self, operator: Any, kind: type) -> Any:
        options, table = kind(), operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options

    def _node(self, operator: Any) -> dict[str, Any] | None:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        name = _NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        name = code.CustomCode().decode() if name == "CUSTOM" else name
        inputs = [int(i) for i in operator.InputsAsNumpy()]
        output = int(operator.OutputsAsNumpy()[0])
        if name == "DEQUANTIZE" and (values := self._constant(inputs[0])) is not None:
            self.constants[output] = values.astype(np.float32)
            return None
        reader = getattr(self, f"_read_{name.lower()}", None)
        if reader is None:
            raise UnsupportedNetwork(f"operator {name} is not known: add it here and in operators/faces/graph.py")
        return {"output": f"t{output}", "inputs": [f"t{inputs[0]}"], **reader(operator, inputs, output)}

    def _read_conv_2d(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        options = self._options(operator, tflite.Conv2DOptions)
        weight = self._weight(inputs[1], (0, 3, 1, 2))
        kernel = self.weights[weight].shape[2:]
        act = _ACTIVATIONS[options.FusedActivationFunction()]
        window = self._window(options, inputs[0], kernel)
        return {"op": "conv", "weight": weight, "bias": self._weight(inputs[2]), "groups": 1, "act": act, **window}

    def _read_depthwise_conv_2d(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        options = self._options(operator, tflite.DepthwiseConv2DOptions)
        weight = self._weight(inputs[1], (3, 0, 1, 2))
        kernel, groups = self.weights[weight].shape[2:], self._shape(inputs[0])[3]
        act = _ACTIVATIONS[options.FusedActivationFunction()]
        window = self._window(options, inputs[0], kernel)
        return {"op": "conv", "weight": weight, "bias": self._weight(inputs[2]), "groups": groups, "act": act, **window}

    def _read_max_pool_2d(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        options = self._options(operator, tflite.Pool2DOptions)
        kernel = (options.FilterHeight(), options.FilterWidth())
        window = self._window(options, inputs[0], kernel)
        if any(window.pop("pad")):
            raise UnsupportedNetwork("max pooling with padding")
        return {"op": "max_pool", "kernel": kernel, **window}

    def _read_relu(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        return {"op": "relu"}

    def _read_prelu(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        slope = self._weight(inputs[1])
        self.weights[slope] = self.weights[slope].reshape(-1)
        return {"op": "prelu", "weight": slope}

    def _read_add(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        act = _ACTIVATIONS[self._options(operator, tflite.AddOptions).FusedActivationFunction()]
        return {"op": "add", "inputs": [f"t{i}" for i in inputs], "act": act}

    def _read_mul(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        return {"op": "scale", "weight": self._weight(inputs[1])}

    def _read_pad(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        pads = self._constant(inputs[1])
        assert pads is not None and not pads[0].any()
        return {"op": "pad", "pad": [int(n) for axis in (2, 1, 3) for n in pads[axis]]}

    def _read_reshape(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        return {"op": "reshape", "shape": self._shape(output)[1:]}

    def _read_strided_slice(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        if self._shape(inputs[0]) != self._shape(output):
            raise UnsupportedNetwork("strided slice that is not the whole tensor")
        return {"op": "reshape", "shape": self._shape(output)[1:]}

    def _read_concatenation(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        axis = self._options(operator, tflite.ConcatenationOptions).Axis()
        if len(self._shape(output)) != 3:
            raise UnsupportedNetwork("concatenation of anything but batch x points x values")
        return {"op": "concat", "inputs": [f"t{i}" for i in inputs], "axis": axis % 3}

    def _custom(self, operator: Any) -> dict[str, Any]:
        return flexbuffers.Loads(bytes(operator.CustomOptionsAsNumpy()))

    def _read_landmarks2transformmatrix(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        options = self._custom(operator)
        if options["target_rotation_radians"] != 0 or options["output_width"] != options["output_height"]:
            raise UnsupportedNetwork(f"landmark window {options}")
        return {
            "op": "landmark_window",
            "axis": [options["left_rotation_idx"], options["right_rotation_idx"]],
            "scale": [options["scale_x"], options["scale_y"]],
            "size": options["output_width"],
            "subset": list(options["subset_idxs"]),
        }

    def _read_transformtensorbilinear(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        return {"op": "sample", "inputs": [f"t{i}" for i in inputs], "size": self._custom(operator)["output_width"]}

    def _read_transformlandmarks(self, operator: Any, inputs: list[int], output: int) -> dict[str, Any]:
        return {"op": "transform_points", "inputs": [f"t{i}" for i in inputs]}
