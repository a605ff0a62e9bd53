"""Small ONNX networks with random weights, and what ONNX Runtime's tools make of them: QDQ, QOperator, int8, uint8.

Also graphs that are quantised by hand, for what exporters of other origin write.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType

OPSET = 17


class Net:
    """A graph that grows node by node; methods return the name of what a node makes."""

    def __init__(self, shape: Sequence[int | str], seed: int = 0, dtype: int = TensorProto.FLOAT) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shape = shape
        self.input = helper.make_tensor_value_info("x", dtype, shape)

    def constant(self, values: object, dtype: type[np.generic] = np.float32) -> str:
        """A constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def random(self, *shape: int) -> str:
        """Float weights, small enough for sums to keep their size."""
        return self.constant(self.rng.normal(size=shape) / np.sqrt(max(np.prod(shape[1:]), 1)))

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        """A node with one output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def conv(
        self, x: str, channels: int, filters: int, *kernel: int, groups: int = 1, relu: bool = True, **at: object
    ) -> str:
        """Conv with a bias, and Relu."""
        weights, bias = self.random(filters, channels // groups, *kernel), self.random(filters)
        y = self.add("Conv", x, weights, bias, kernel_shape=kernel, group=groups, **at)
        return self.add("Relu", y) if relu else y

    def quantised(self, x: str, scale: float, zero_point: int, dtype: type[np.generic] = np.int8) -> str:
        """QuantizeLinear and DequantizeLinear."""
        quant = self.constant(scale), self.constant(zero_point, dtype)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, *quant), *quant)

    def weights(
        self, *shape: int, scale: object = 0.01, dtype: type[np.generic] = np.int8, zero_point: int = 0, axis: int = 0
    ) -> str:
        """Integer weights behind DequantizeLinear."""
        limits = np.iinfo(dtype)  # type: ignore[arg-type]
        values = self.constant(self.rng.integers(max(limits.min, -5000), min(limits.max, 5000) + 1, shape), dtype)
        scales = self.constant(scale)
        zero_points = self.constant(np.full(np.shape(scale), zero_point), dtype)
        return self.add("DequantizeLinear", values, scales, zero_points, **({"axis": axis} if np.shape(scale) else {}))

    def model(self, *outputs: str, opset: int = OPSET) -> bytes:
        """The file."""
        values = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", [self.input], values, self.constants)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return bytes(onnx.shape_inference.infer_shapes(made).SerializeToString())


def mobile_net() -> tuple[Net, str]:
    """Separable convolutions, one with a shortcut."""
    net = Net([1, 3, 12, 10], 1)
    x = net.conv("x", 3, 8, 3, 3, strides=[2, 2], pads=[0, 0, 1, 1])
    y = net.conv(x, 8, 8, 3, 3, groups=8, pads=[1, 1, 1, 1])
    x = net.add("Add", x, net.conv(y, 8, 8, 1, 1, relu=False))
    x = net.conv(x, 8, 8, 3, 3, groups=8, strides=[2, 1], auto_pad="SAME_UPPER")
    x = net.conv(x, 8, 12, 1, 1)
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net, net.add("Softmax", net.add("Gemm", x, net.random(12, 5), net.random(5)), axis=1)


def residual_net() -> tuple[Net, str]:
    """Two blocks with shortcuts, one of them through a convolution, grouped and dilated ones among them."""
    net = Net([1, 4, 9, 9], 2)
    x = net.conv("x", 4, 8, 3, 3, pads=[1, 1, 1, 1])
    y = net.conv(x, 8, 8, 3, 3, groups=2, pads=[1, 1, 1, 1])
    x = net.add("Relu", net.add("Add", x, net.conv(y, 8, 8, 3, 3, pads=[2, 2, 2, 2], dilations=[2, 2], relu=False)))
    y = net.conv(net.conv(x, 8, 16, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1]), 16, 16, 1, 1, relu=False)
    x = net.add("Relu", net.add("Add", net.conv(x, 8, 16, 1, 1, strides=[2, 2], relu=False), y))
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return net, net.add("Gemm", net.add("Flatten", x), net.random(7, 64), net.random(7), transB=1)


def sequence_net() -> tuple[Net, str]:
    """One-dimensional convolutions over time, an average, and matrix products."""
    net = Net([1, 5, 30], 3)
    x = net.conv("x", 5, 8, 5, pads=[2, 2], strides=[2])
    x = net.conv(x, 8, 8, 3, groups=8, auto_pad="SAME_LOWER", relu=False)
    x = net.add("Sigmoid", net.conv(x, 8, 6, 1, relu=False))
    x = net.add("AveragePool", x, kernel_shape=[3], strides=[3])
    x = net.add("Reshape", x, net.constant([1, -1], np.int64))
    x = net.add("LeakyRelu", net.add("MatMul", x, net.random(30, 9)), alpha=0.1)
    return net, net.add("Mul", x, net.add("Gemm", x, net.random(9, 9), net.random(9)))


NETS = {"mobile": mobile_net, "residual": residual_net, "sequence": sequence_net}
KINDS = {
    "qdq_s8_channels": (QuantFormat.QDQ, QuantType.QInt8, QuantType.QInt8, True),
    "qdq_u8_s8": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QInt8, False),
    "qoperator_u8_u8": (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QUInt8, False),
    "qoperator_s8_channels": (QuantFormat.QOperator, QuantType.QInt8, QuantType.QInt8, True),
}
"""Format, types of activations and weights, and whether each channel has a scale."""


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, shape: Sequence[int | str]) -> None:
        rng = np.random.default_rng(0)
        self._samples = iter([{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def quantised_net(name: str, kind: str, folder: Path) -> bytes:
    """One of NETS as one of KINDS, by quantize_static."""
    form, activations, weights, per_channel = KINDS[kind]
    return quantised(
        *NETS[name](),
        folder,
        quant_format=form,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
    )


def quantised(net: Net, output: str, folder: Path, **options: object) -> bytes:
    """A network of one output, by quantize_static with these options."""
    source, target = folder / "float.onnx", folder / "quantised.onnx"
    source.write_bytes(net.model(output))
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantization.quantize_static(str(source), str(target), _Calibration(net.shape), **options)
    finally:
        logging.disable(previous)
    return target.read_bytes()
