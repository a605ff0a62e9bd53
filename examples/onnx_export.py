"""A Keras model as a float ONNX model: the layers that the examples use, one by one.

ONNX has channels first. What a Flatten reads is brought back to Keras' order before, so that weights behind it stay as
they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]

OPSET = 17
IMAGE = "image"
"""The input's name."""
_AS_IT_IS = ("Dropout",)
"""Layers that only training sees."""


class _Writer:
    """Nodes and constants as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, op: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name


def to_onnx(model: Any, name: str) -> onnx.ModelProto:
    """Return the model for a batch of one. Raises ValueError for a layer that is not known here."""
    writer = _Writer()
    height, width, channels = model.inputs[0].shape[1:]
    names = {id(model.inputs[0]): IMAGE}
    for layer in model.layers[1:]:
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        names[id(layer.output)] = _layer(writer, layer, [names[id(tensor)] for tensor in given])
    last = names[id(model.outputs[0])]
    graph = helper.make_graph(
        writer.nodes,
        name,
        [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, channels, height, width])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, *model.outputs[0].shape[1:]])],
        writer.constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def _layer(writer: _Writer, layer: Any, given: list[str]) -> str:
    kind, name = type(layer).__name__, layer.name
    if kind in _AS_IT_IS:
        return given[0]
    if kind in ("Conv2D", "DepthwiseConv2D"):
        return _convolution(writer, layer, given)
    if kind == "Add":
        return writer.node("Add", name, given)
    if kind == "AveragePooling2D":
        return writer.node("AveragePool", name, given, kernel_shape=layer.pool_size, strides=layer.strides)
    if kind == "GlobalAveragePooling2D":
        return writer.node("Flatten", name, [writer.node("GlobalAveragePool", f"{name}_mean", given)])
    if kind == "BatchNormalization":
        return _normalisation(writer, layer, given)
    if kind == "ReLU":
        return writer.node("Relu", name, given)
    if kind == "Flatten":
        return writer.node("Flatten", name, [writer.node("Transpose", f"{name}_order", given, perm=[0, 2, 3, 1])])
    if kind == "Dense":
        kernel, bias = layer.get_weights()
        weights = [writer.constant(f"{name}_kernel", kernel), writer.constant(f"{name}_bias", bias)]
        is_softmax = layer.activation.__name__ == "softmax"
        sums = writer.node("Gemm", f"{name}_sum" if is_softmax else name, [*given, *weights])
        return writer.node("Softmax", name, [sums], axis=-1) if is_softmax else sums
    if kind == "Softmax":
        return writer.node("Softmax", name, given, axis=-1)
    raise ValueError(f"no ONNX for the layer {name}, a {kind}")


def _normalisation(writer: _Writer, layer: Any, given: list[str]) -> str:
    roles = ("gamma", "beta", "moving_mean", "moving_variance")
    constants = [writer.constant(f"{layer.name}_{role}", getattr(layer, role).numpy()) for role in roles]
    return writer.node("BatchNormalization", layer.name, [*given, *constants], epsilon=layer.epsilon)


def _convolution(writer: _Writer, layer: Any, given: list[str]) -> str:
    kernel, *bias = layer.get_weights()
    is_depthwise = type(layer).__name__ == "DepthwiseConv2D"
    weights = kernel.transpose((2, 3, 0, 1) if is_depthwise else (3, 2, 0, 1))
    name = layer.name
    pads = [(0, 0), (0, 0)]
    if layer.padding == "same":
        sizes = zip(layer.input.shape[1:3], layer.kernel_size, layer.strides, strict=True)
        totals = [max((-(-size // stride) - 1) * stride + window - size, 0) for size, window, stride in sizes]
        pads = [(total // 2, total - total // 2) for total in totals]
    result = writer.node(
        "Conv",
        f"{name}_sum" if layer.activation.__name__ == "relu" else name,
        [*given, writer.constant(f"{name}_kernel", weights), *(writer.constant(f"{name}_bias", b) for b in bias)],
        group=layer.input.shape[-1] if is_depthwise else 1,
        strides=layer.strides,
        pads=[pads[0][0], pads[1][0], pads[0][1], pads[1][1]],
    )
    return writer.node("Relu", name, [result]) if layer.activation.__name__ == "relu" else result
