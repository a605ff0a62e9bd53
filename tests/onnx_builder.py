"""Writes .onnx files from test cases, with the helpers of the `onnx` package: independent of our reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tinygen.ops.case import Case, CaseTensor

OPSET = 20
IR_VERSION = 9


def build_case(case: Case, opset: int = OPSET) -> bytes:
    """A model of one operator between DequantizeLinear and QuantizeLinear. Inputs without data are the model's."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    inputs: list[onnx.ValueInfoProto] = []
    operands = []
    for index, tensor in enumerate(case.inputs):
        name = f"x{index}"
        if tensor is None:
            operands.append("")
            continue
        if tensor.data is None:
            inputs.append(value_info(name, tensor))
        else:
            constants[name] = tensor.data
        operands.append(_dequantised(name, tensor, nodes, constants))
    results = [f"r{index}" if tensor.scale else f"y{index}" for index, tensor in enumerate(case.outputs)]
    if case.op == "Identity":
        results = operands
    else:
        nodes.append(helper.make_node(case.op, operands, results, **case.options))
    for index, (tensor, result) in enumerate(zip(case.outputs, results, strict=True)):
        if tensor.scale:
            quant = _quant(f"y{index}", tensor, constants)
            nodes.append(helper.make_node("QuantizeLinear", [result, *quant], [f"y{index}"]))
    outputs = [value_info(f"y{index}", tensor) for index, tensor in enumerate(case.outputs)]
    return packed(nodes, inputs, outputs, constants, opset)


def packed(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, np.ndarray],
    opset: int = OPSET,
) -> bytes:
    """The bytes of a model of these nodes."""
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "case", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return model.SerializeToString()


def value_info(name: str, tensor: CaseTensor) -> onnx.ValueInfoProto:
    """An input or output of the model."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), tensor.shape)


def _dequantised(name: str, tensor: CaseTensor, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> str:
    """The name of the real value."""
    if tensor.scale is None:
        return name
    axis = {"axis": tensor.axis} if isinstance(tensor.scale, tuple) else {}
    nodes.append(
        helper.make_node("DequantizeLinear", [name, *_quant(name, tensor, constants)], [f"{name}_real"], **axis)
    )
    return f"{name}_real"


def _quant(name: str, tensor: CaseTensor, constants: dict[str, np.ndarray]) -> list[str]:
    """The names of scale and zero point, which are new constants."""
    scale = np.array(tensor.scale, np.float32)
    constants[f"{name}_scale"] = scale
    constants[f"{name}_zero_point"] = np.full(scale.shape, tensor.zero_point, tensor.dtype)
    return [f"{name}_scale", f"{name}_zero_point"]
