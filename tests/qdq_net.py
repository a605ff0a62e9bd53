"""Small .onnx models with QuantizeLinear and DequantizeLinear around each operator, held against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime
from onnx import helper, numpy_helper

from tinygen import pipeline, reference
from tinygen.ir import Array, Graph, Shape
from tinygen.options import Options

SCALE = 0.05


@dataclass
class QdqNet:
    """A model under construction. Values are real, by name; every one is made of integers of `dtype`."""

    dtype: str = "int8"
    opset: int = 19
    seed: int = 3
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.zero_point = 5 if self.dtype == "int8" else 131

    def constant(self, value: object, dtype: object = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def _quant(self, scale: float, zero_point: int | None = None) -> list[str]:
        zero_point = self.zero_point if zero_point is None else zero_point
        return [self.constant(scale, np.float32), self.constant(zero_point, self.dtype)]

    def _add(self, op: str, inputs: Sequence[str], results: int = 1, **attributes: object) -> list[str]:
        names = [f"n{len(self.nodes)}_{index}" for index in range(results)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names

    def input(self, *shape: int) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        return self.quantised(name)

    def quantised(self, x: str, scale: float = SCALE, zero_point: int | None = None) -> str:
        """The value behind QuantizeLinear and DequantizeLinear."""
        quant = self._quant(scale, zero_point)
        (q,) = self._add("QuantizeLinear", [x, *quant])
        return self._add("DequantizeLinear", [q, *quant])[0]

    def add(self, op: str, *inputs: str, scale: float = SCALE, **attributes: object) -> str:
        return self.quantised(self._add(op, inputs, **attributes)[0], scale)

    def parts(self, op: str, count: int, *inputs: str, **attributes: object) -> list[str]:
        return [self.quantised(name) for name in self._add(op, inputs, count, **attributes)]

    def weights(self, *shape: int) -> str:
        """int8 values for each index of the first dimension."""
        values = self.rng.integers(-127, 128, shape).astype(np.int8)
        scales = self.rng.uniform(0.001, 0.01, shape[0]).astype(np.float32)
        quant = [self.constant(scales), self.constant(np.zeros(shape[0], np.int8))]
        return self._add("DequantizeLinear", [self.constant(values), *quant], axis=0)[0]

    def convolution(self, x: str, channels: int, filters: int, taps: int = 3, **attributes: object) -> str:
        pads = attributes.pop("pads", [taps // 2] * 4)
        depth = channels // int(str(attributes.get("group", 1)))
        return self.add("Conv", x, self.weights(filters, depth, taps, taps), pads=pads, **attributes)

    def dense(self, x: str, depth: int, units: int) -> str:
        return self.add("Gemm", x, self.weights(units, depth), transB=1)

    def bytes(self, *outputs: str) -> bytes:
        values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, values, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        return onnx.shape_inference.infer_shapes(model, data_prop=True).SerializeToString()


def graph_of(data: bytes, **options: object) -> Graph:
    """The graph, which says what ONNX Runtime says, to the bit."""
    graph = pipeline.decode(data, "net.onnx", Options(**options)).graph  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    for reach in (1.0, 5.0, 12.0):
        inputs = [rng.uniform(-reach, reach, x.shape).astype(np.float32) for x in session.get_inputs()]
        theirs = session.run(None, dict(zip([x.name for x in session.get_inputs()], inputs, strict=True)))
        given = [_turned(x, axes) for x, axes in _with_axes(inputs, graph.input_axes)]
        expected = [_turned(y, axes) for y, axes in _with_axes(theirs, graph.output_axes)]
        for ours, wanted in zip(reference.outputs(graph, given), expected, strict=True):
            assert ours.shape == wanted.shape
            assert np.array_equal(ours, wanted)
    return graph


def _with_axes(arrays: Sequence[Array], axes: Sequence[Shape | None]) -> Iterator[tuple[Array, Shape | None]]:
    return zip(arrays, axes or [None] * len(arrays), strict=True)


def _turned(array: Array, axes: Shape | None) -> Array:
    return array if axes is None else array.transpose(axes)
