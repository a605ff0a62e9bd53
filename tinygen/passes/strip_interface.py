"""Inputs and outputs that are float32 or uint8 become the int8 or int16 tensors behind them.

What a caller would quantise or dequantise with the generated code, it then does itself, or not at all: features and
scores are often at hand, or good, as integers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinygen.errors import Problem, UnsupportedModel
from tinygen.ir import Graph, Node, Quant, Tensor
from tinygen.ops.common import FLOAT32, INT8, INT16, UINT8, full_range
from tinygen.ops.quantize import Dequantize, Quantize, Requantize

_STRIPPED = (FLOAT32, UINT8)
_REMEDY = (
    "leave --io int8 out, or give the model such inputs and outputs: in TensorFlow by inference_input_type and "
    "inference_output_type, in ONNX by QuantizeLinear and DequantizeLinear"
)


class _Kept(Exception):
    """A tensor of the interface that stays what it is; carries the reason."""


def strip_interface(graph: Graph) -> Graph:
    """Take QUANTIZE from the inputs and DEQUANTIZE or QUANTIZE from the outputs; integers of other types stay.

    An input's QUANTIZE must give back every value q of scale * (q - zero_point): who runs the model in its file can
    then be asked about the same inputs.

    Raises UnsupportedModel, with every reason.
    """
    problems: list[Problem] = []

    def behind(role: str, name: str, find: Callable[[Graph, str], Sequence[str]]) -> Sequence[str]:
        if graph.tensors[name].dtype not in _STRIPPED:
            return (name,)
        try:
            return find(graph, name)
        except _Kept as kept:
            reason = f"it is {graph.tensors[name].dtype}, and {kept}"
            problems.append(Problem(f"the {role} {name.split(';')[0]!r}", "", reason, _REMEDY))
            return (name,)

    inputs = {name: behind("input", name, _behind_input) for name in graph.inputs}
    outputs = {name: behind("output", name, _before_output) for name in graph.outputs}
    # An input that is quantised several times becomes one tensor.
    merged = {copy: copies[0] for copies in inputs.values() for copy in copies}
    gone = {name for name, copies in inputs.items() if name not in copies}
    stripped = dataclasses.replace(
        graph,
        nodes=tuple(_renamed(node, merged) for node in graph.nodes if gone.isdisjoint(node.inputs)),
        inputs=tuple(copies[0] for copies in inputs.values()),
        outputs=tuple(merged.get(outputs[name][0], outputs[name][0]) for name in graph.outputs),
    )
    if not problems and not set(stripped.inputs).isdisjoint(stripped.outputs):
        problems.append(Problem("the model", "", "an output would be an input: there is nothing between them", _REMEDY))
    if problems:
        raise UnsupportedModel(graph.source, problems)
    return stripped


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    return dataclasses.replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))


def _behind_input(graph: Graph, name: str) -> Sequence[str]:
    """The tensors that an input is quantised to: all the same."""
    readers = [node for node in graph.nodes if name in node.inputs]
    if not readers:
        raise _Kept("no operator reads it")
    if name in graph.outputs:
        raise _Kept("it is an output, too")
    quantised = [graph.tensors[node.outputs[0]] for node in readers]
    for node, tensor in zip(readers, quantised, strict=True):
        if not isinstance(node.op, Quantize | Requantize) or tensor.dtype not in (INT8, INT16):
            raise _Kept(f"{node.name} {node.op.name} reads it, supported are only QUANTIZE operators to int8 or int16")
        if not _gives_back(node.op, tensor):
            raise _Kept(f"{node.name} QUANTIZE does not reach every {tensor.dtype}")
    if len({_meaning(tensor) for tensor in quantised}) > 1:
        raise _Kept("it is quantised with several scales, zero points or types")
    return [tensor.name for tensor in quantised]


def _before_output(graph: Graph, name: str) -> Sequence[str]:
    """The tensor that an output is made of."""
    writers = [node for node in graph.nodes if name in node.outputs]
    if not writers:
        raise _Kept("no operator writes it")
    (node,) = writers
    is_edge = isinstance(node.op, Dequantize | Requantize)
    if not is_edge or graph.tensors[node.inputs[0]].dtype not in (INT8, INT16):
        raise _Kept(f"{node.name} {node.op.name} writes it, supported are DEQUANTIZE and QUANTIZE from int8 or int16")
    return node.inputs


def _meaning(tensor: Tensor) -> tuple[str, float, int]:
    scale, zero_point = _scale(tensor.quant)
    return str(tensor.dtype), scale, zero_point


def _scale(quant: Quant | None) -> tuple[float, int]:
    assert quant is not None  # QUANTIZE has it from there
    return float(quant.scale[0]), int(quant.zero_point[0])


def _gives_back(op: Quantize | Requantize, tensor: Tensor) -> bool:
    """Whether quantising what each value stands for gives that value; of uint8, the same bits but the highest."""
    low, high = full_range(tensor.dtype)
    every = np.arange(low, high + 1).astype(tensor.dtype)
    if isinstance(op, Requantize):
        values = (every.astype(np.int64) + 128).astype(np.uint8) if tensor.dtype == INT8 else np.zeros_like(every)
        return bool(np.array_equal(op.reference(values)[0], every))
    (real,) = Dequantize(*_scale(tensor.quant)).reference(every)
    return bool(np.array_equal(op.reference(real)[0], every))
