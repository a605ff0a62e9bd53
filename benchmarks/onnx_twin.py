"""The same network as an .onnx file: operators of a .tflite file between DequantizeLinear and QuantizeLinear.

Weights, biases, scales and zero points are the .tflite file's; activations are uint8, with zero points 128 more, as
`tinygen quantize` and ONNX Runtime's quantize_static write them. Operators are those of image and keyword networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tinygen.errors import UsageError
from tinygen.ir import Array, Graph, Node, Tensor
from tinygen.ops.window import Window

_OPSET = 17
_IR_VERSION = 8
_TO_UINT8 = 128


class Twin:
    """An ONNX graph that grows node by node; images are (n, c, h, w)."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.values: dict[str, str] = {}
        """Of each activation, by its name in the graph: the name of its real values."""
        self.images: dict[str, tuple[int, ...]] = {}
        """Of activations that were flattened: the shape (n, h, w, c) before."""

    def constant(self, values: object, dtype: object = np.float32) -> str:
        """A constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        """A node with one output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def quantised(self, x: str, like: Tensor) -> str:
        """QuantizeLinear and DequantizeLinear with the scale and zero point of an activation."""
        assert like.quant is not None
        zero_point = int(like.quant.zero_point[0]) + _TO_UINT8
        quant = self.constant(like.quant.scale[0]), self.constant(zero_point, np.uint8)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, *quant), *quant)

    def weighted(self, op: str, node: Node, weights: Array, **attributes: object) -> str:
        """A convolution or product; weights (filters, ...) in ONNX's order."""
        x, kernel, bias = self.graph.input_tensors(node)
        assert kernel.quant is not None and x.quant is not None and bias.data is not None
        scales = np.broadcast_to(kernel.quant.scale, len(weights))
        zeros = np.zeros(len(weights))
        held = self.constant(weights, np.int8), self.constant(scales), self.constant(zeros, np.int8)
        products = self.constant(bias.data, np.int32), self.constant(x.quant.scale[0] * scales)
        filters = self.add("DequantizeLinear", *held, axis=0)
        added = self.add("DequantizeLinear", *products, self.constant(zeros, np.int32), axis=0)
        return self.add(op, self.values[x.name], filters, added, **attributes)

    def model(self, x: Tensor, output: str) -> bytes:
        """The file."""
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, _channels_first(x.shape))
        outputs = [helper.make_empty_tensor_value_info(output)]
        graph = helper.make_graph(self.nodes, "twin", [given], outputs, self.constants)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        return bytes(shape_inference.infer_shapes(model).SerializeToString())


def onnx_twin(graph: Graph) -> bytes:
    """The .onnx file of a graph of a .tflite file, from float32 to float32.

    Raises UsageError for operators and activations that it does not know.
    """
    twin = Twin(graph)
    nodes = [node for node in graph.nodes if type(node.op).__name__ not in _EDGES]
    (first, *_), *_ = (graph.input_tensors(node) for node in nodes)
    twin.values[first.name] = twin.quantised("x", first)
    for node in nodes:
        kind = type(node.op).__name__
        if kind not in _OPERATORS:
            raise UsageError(f"{node.name} is {node.op.name}, which has no twin in ONNX here", "Leave this model out.")
        output = graph.tensors[node.outputs[0]]
        if getattr(node.op, "clamp", _ALL) != _ALL:
            raise UsageError(f"{node.name} is clamped within int8, which has no twin here", "Leave this model out.")
        y = _OPERATORS[kind](twin, node)
        last = twin.values[output.name] = twin.quantised(y, output)
    return twin.model(first, last)


def _channels_first(shape: Sequence[int]) -> tuple[int, ...]:
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else tuple(shape)


def _places(window: Window) -> dict[str, object]:
    """Attributes of a window."""
    rows, columns = window.rows, window.columns
    pads = [rows.before, columns.before, rows.after, columns.after]
    return {"kernel_shape": [rows.taps, columns.taps], "strides": [rows.stride, columns.stride], "pads": pads}


def _weights(twin: Twin, node: Node) -> Array:
    data = twin.graph.tensors[node.inputs[1]].data
    assert data is not None
    return data


def _conv(twin: Twin, node: Node) -> str:
    return twin.weighted("Conv", node, _weights(twin, node).transpose(0, 3, 1, 2), **_conv_places(node))


def _depthwise(twin: Twin, node: Node) -> str:
    weights = _weights(twin, node).transpose(3, 0, 1, 2)
    channels = twin.graph.tensors[node.inputs[0]].shape[3]
    return twin.weighted("Conv", node, weights, group=channels, **_conv_places(node))


def _conv_places(node: Node) -> dict[str, object]:
    window: Window = node.op.window  # type: ignore[attr-defined]
    return {**_places(window), "dilations": [window.rows.dilation, window.columns.dilation]}


def _dense(twin: Twin, node: Node) -> str:
    weights = _weights(twin, node)
    image = twin.images.get(node.inputs[0])
    if image is not None:
        weights = weights.reshape(-1, *image[1:]).transpose(0, 3, 1, 2).reshape(len(weights), -1)
    return twin.weighted("Gemm", node, weights, transB=1)


def _sum(twin: Twin, node: Node) -> str:
    return twin.add("Add", *(twin.values[name] for name in node.inputs))


def _pool(op: str) -> Callable[[Twin, Node], str]:
    def pool(twin: Twin, node: Node) -> str:
        return twin.add(op, twin.values[node.inputs[0]], **_places(node.op.window))  # type: ignore[attr-defined]

    return pool


def _mean(twin: Twin, node: Node) -> str:
    """Over all pixels, as MEAN with the dimensions 1 and 2 is."""
    return twin.add("Flatten", twin.add("GlobalAveragePool", twin.values[node.inputs[0]]))


def _flatten(twin: Twin, node: Node) -> str:
    twin.images[node.outputs[0]] = twin.graph.tensors[node.inputs[0]].shape
    return twin.add("Flatten", twin.values[node.inputs[0]])


def _softmax(twin: Twin, node: Node) -> str:
    return twin.add("Softmax", twin.values[node.inputs[0]], axis=-1)


_ALL = (-128, 127)
_EDGES = ("Quantize", "Dequantize")
_OPERATORS: Mapping[str, Callable[[Twin, Node], str]] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "FullyConnected": _dense,
    "Add": _sum,
    "AveragePool2D": _pool("AveragePool"),
    "MaxPool2D": _pool("MaxPool"),
    "Mean": _mean,
    "Reshape": _flatten,
    "Softmax": _softmax,
}
