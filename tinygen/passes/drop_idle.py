"""Operators that hand on what they get: copies in order, QUANTIZE to the same scale, RELU of what is never negative.

What only changes the shape becomes one RESHAPE from where the bytes come from, whatever moved them there and back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tinygen.interval import Interval
from tinygen.ir import Array, Graph, Node, Tensor
from tinygen.ops.cast import Cast
from tinygen.ops.lookup import Lookup
from tinygen.ops.pad import Pad
from tinygen.ops.quantize import Requantize
from tinygen.ops.reshape import AssignVariable, ReadVariable, Reshape
from tinygen.ops.strided_copy import StridedCopy
from tinygen.passes.remove_unused import remove_unused
from tinygen.range_analysis import tensor_intervals


def drop_idle(graph: Graph) -> Graph:
    """Drop them; an output of the model that would become an input of it, or another output, keeps its operator."""
    graph = remove_unused(dataclasses.replace(graph, nodes=_reshapes(graph)))
    known = tensor_intervals(graph)
    named: dict[str, str] = {}
    """For each tensor that is another under a second name: the name that stays."""
    fixed = {*graph.inputs, *graph.outputs}
    fixed |= {name for state in graph.states for name in (state.read, state.written)}
    fixed |= {name for name, tensor in graph.tensors.items() if tensor.data is not None}
    nodes = []
    for node in graph.nodes:
        if not _is_idle(graph, node, known):
            nodes.append(node)
            continue
        x, y = named.get(node.inputs[0], node.inputs[0]), node.outputs[0]
        if y not in fixed:
            named[y] = x
        elif x not in fixed:
            named = {**{name: y if kept == x else kept for name, kept in named.items()}, x: y}
        else:
            nodes.append(node)
    return dataclasses.replace(
        graph,
        tensors={name: tensor for name, tensor in graph.tensors.items() if name not in named},
        nodes=tuple(_renamed(node, named) for node in nodes),
    )


def _renamed(node: Node, named: Mapping[str, str]) -> Node:
    inputs, outputs = (tuple(named.get(name, name) for name in names) for names in (node.inputs, node.outputs))
    return dataclasses.replace(node, inputs=inputs, outputs=outputs)


def _is_idle(graph: Graph, node: Node, known: Mapping[str, Interval]) -> bool:
    """Whether the only output is the first input."""
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    if x.type != y.type:
        return False
    if isinstance(node.op, Requantize | Cast | Lookup):
        return _hands_on(node.op, x, known.get(x.name))
    return isinstance(node.op, Pad) or (_moves(node) and _is_in_order(_indices(graph, node)))


def _hands_on(op: Requantize | Cast | Lookup, x: Tensor, interval: Interval | None) -> bool:
    """Whether it gives back every value that the input can have, which are not too many to try."""
    if interval is None or x.dtype.itemsize > 2:
        return isinstance(op, Cast)
    values = np.arange(interval.low.min(), interval.high.max() + 1).astype(x.dtype)
    return np.array_equal(op.reference(values)[0], values)


def _moves(node: Node) -> bool:
    """Whether it copies elements within an invocation."""
    return isinstance(node.op, StridedCopy) and not isinstance(node.op, ReadVariable | AssignVariable)


def _is_in_order(indices: Array) -> bool:
    return np.array_equal(indices, np.arange(len(indices)))


def _indices(graph: Graph, node: Node) -> Array:
    """For each element of the output, in order, which of the input's it is."""
    x = graph.tensors[node.inputs[0]]
    (indices,) = node.op.reference(np.arange(x.elements).reshape(x.shape))
    return indices.reshape(-1)


def _reshapes(graph: Graph) -> tuple[Node, ...]:
    """Each copy as a RESHAPE of the earliest tensor whose elements it has in order, all of them."""
    writers = {name: node for node in graph.nodes for name in node.outputs}

    def reshaped(node: Node) -> Node:
        x = node.inputs[0]
        indices = np.arange(graph.tensors[node.outputs[0]].elements)
        source, link = None, writers.get(node.outputs[0])
        while link is not None and _moves(link):
            x = link.inputs[0]
            indices = _indices(graph, link)[indices]
            if graph.tensors[x].elements == len(indices) and _is_in_order(indices):
                source = x
            link = writers.get(x)
        if source is None:
            return node
        return Node(node.name, Reshape.to(graph.tensors[node.outputs[0]].shape), (source,), node.outputs)

    return tuple(reshaped(node) if _moves(node) else node for node in graph.nodes)
