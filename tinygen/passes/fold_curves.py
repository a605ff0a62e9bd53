"""DEQUANTIZE, functions of float32 values, QUANTIZE: together one table.

Converters leave in float32 what they cannot quantise. From int8 to int8, that is one of 256 values for each of 256.
"""

from __future__ import annotations

import dataclasses

from tinygen.errors import Problem, UnsupportedModel
from tinygen.ir import Graph, Node
from tinygen.ops.common import INT8
from tinygen.ops.float_function import FloatFunction, QuantizedCurve
from tinygen.ops.quantize import Dequantize, Quantize
from tinygen.passes.remove_unused import remove_unused


def fold_curves(graph: Graph) -> Graph:
    """Replace each QUANTIZE at the end of such a chain; what nothing else reads of the chain is dropped.

    Raises UnsupportedModel where a function of float32 values is needed outside of such a chain.
    """
    writers = {name: node for node in graph.nodes for name in node.outputs}
    folded = remove_unused(
        dataclasses.replace(graph, nodes=tuple(_folded(graph, node, writers) for node in graph.nodes))
    )
    problems = [_problem(node, node.op) for node in folded.nodes if isinstance(node.op, FloatFunction)]
    if problems:
        raise UnsupportedModel(graph.source, problems)
    return folded


def _folded(graph: Graph, node: Node, writers: dict[str, Node]) -> Node:
    if not isinstance(node.op, Quantize) or node.op.to != INT8:
        return node
    functions: list[FloatFunction] = []
    writer = writers.get(node.inputs[0])
    while writer is not None and isinstance(writer.op, FloatFunction):
        functions.insert(0, writer.op)
        writer = writers.get(writer.inputs[0])
    if not functions or writer is None or not isinstance(writer.op, Dequantize):
        return node
    if graph.tensors[writer.inputs[0]].dtype != INT8:
        return node
    return Node(node.name, QuantizedCurve(writer.op, tuple(functions), node.op), writer.inputs, node.outputs)


def _problem(node: Node, op: FloatFunction) -> Problem:
    return Problem(
        node.name,
        op.function,
        "it computes in float32, which is supported only between DEQUANTIZE and QUANTIZE of int8",
        "leave it to the code around the model where it is at the model's edge",
    )
