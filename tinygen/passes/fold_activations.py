"""RELU, RELU6 and the like behind a layer that clamps anyway: the layer's clamp does it.

Converters write activations as operators of their own where they find the layer's scale there, too.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from tinygen.ir import Graph, Node
from tinygen.ops.activations import Relu, Relu6
from tinygen.ops.common_scale import CommonScale
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_mean import FloatMean
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.float_transpose_conv import FloatTransposeConv
from tinygen.ops.mul import Mul
from tinygen.ops.weighted import Weighted

_Clamping = Weighted | CommonScale | Mul | FloatAdd | FloatConv | FloatMean | FloatPair | FloatTransposeConv


def fold_activations(graph: Graph) -> Graph:
    """Narrow the clamps, where that is the same for every value that the layer's clamp lets through."""
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(graph.outputs)
    readers.update(state.written for state in graph.states)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, Relu | Relu6) and readers[node.inputs[0]] == 1 and node.inputs[0] in nodes:
            clamped = _clamped(graph, nodes[node.inputs[0]], node)
            if clamped is not None:
                del nodes[node.inputs[0]]
                node = clamped
        nodes[node.outputs[0]] = node
    made = {name for node in nodes.values() for name in node.outputs}
    gone = {name for node in graph.nodes for name in node.outputs} - made
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in gone}
    return dataclasses.replace(graph, nodes=tuple(nodes.values()), tensors=tensors)


def _clamped(graph: Graph, layer: Node, activation: Node) -> Node | None:
    """The layer with the activation's clamp, and its output; None where that is another result."""
    op, function = layer.op, activation.op
    if not isinstance(op, _Clamping):
        return None
    step = function.output_zero_point - function.zero_point if isinstance(function, Relu) else 0
    values = np.arange(op.clamp[0], op.clamp[1] + 1)
    (results,) = function.reference(values.astype(graph.tensors[activation.inputs[0]].dtype))
    # What the layer saturates to, too, is moved, or clamped: at the ends of its clamp.
    clamp = (int(results[0]), int(results[-1]))
    if not np.array_equal(np.clip(values + step, *clamp), results):
        return None
    op = dataclasses.replace(op, output_zero_point=op.output_zero_point + step, clamp=clamp)
    return Node(layer.name, op, layer.inputs, activation.outputs)
