"""A TensorFlow Lite file with one layer: y = x + constant, on a 1 x 2 x 2 x 1 image."""

import flatbuffers
import numpy as np
import tflite


def tiny_network(constant: float) -> bytes:
    b = flatbuffers.Builder(0)

    def vector(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()

    def tensor(name: str, shape: list[int], buffer: int) -> int:
        text, dims = b.CreateString(name), b.CreateNumpyVector(np.array(shape, np.int32))
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, dims)
        tflite.TensorAddType(b, tflite.TensorType.FLOAT32)
        tflite.TensorAddBuffer(b, buffer)
        tflite.TensorAddName(b, text)
        return tflite.TensorEnd(b)

    data = b.CreateByteVector(np.array([constant], np.float32).tobytes())
    tflite.BufferStart(b)
    nothing = tflite.BufferEnd(b)
    tflite.BufferStart(b)
    tflite.BufferAddData(b, data)
    buffers = vector([nothing, tflite.BufferEnd(b)])
    tensors = vector([tensor("x", [1, 2, 2, 1], 0), tensor("c", [1], 1), tensor("y", [1, 2, 2, 1], 0)])
    tflite.AddOptionsStart(b)
    options = tflite.AddOptionsEnd(b)
    layer_inputs, layer_outputs = b.CreateNumpyVector(np.array([0, 1], np.int32)), b.CreateNumpyVector(np.array([2], np.int32))
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, 0)
    tflite.OperatorAddInputs(b, layer_inputs)
    tflite.OperatorAddOutputs(b, layer_outputs)
    tflite.OperatorAddBuiltinOptionsType(b, tflite.BuiltinOptions.AddOptions)
    tflite.OperatorAddBuiltinOptions(b, options)
    layers = vector([tflite.OperatorEnd(b)])
    graph_inputs = b.CreateNumpyVector(np.array([0], np.int32))
    graph_outputs = b.CreateNumpyVector(np.array([2], np.int32))
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensors)
    tflite.SubGraphAddInputs(b, graph_inputs)
    tflite.SubGraphAddOutputs(b, graph_outputs)
    tflite.SubGraphAddOperators(b, layers)
    graphs = vector([tflite.SubGraphEnd(b)])
    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddBuiltinCode(b, tflite.BuiltinOperator.ADD)
    codes = vector([tflite.OperatorCodeEnd(b)])
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, codes)
    tflite.ModelAddSubgraphs(b, graphs)
    tflite.ModelAddBuffers(b, buffers)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return bytes(b.Output())
