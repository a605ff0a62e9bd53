"""Tensors that hold the elements of another one, in another order or under another shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygen.arrangement import numbers
from tinygen.interval import IntArray
from tinygen.ir import Graph, Node
from tinygen.ops.reshape import AssignVariable, ReadVariable
from tinygen.ops.strided_copy import StridedCopy, nested_loops


@dataclass(frozen=True, eq=False)
class View:
    """A tensor as all elements of the root, which is no such copy itself, in an order."""

    root: str
    order: IntArray
    """With the tensor's shape: for each element, its number in the root."""


def is_view(graph: Graph, node: Node) -> bool:
    """Whether it only puts all elements of a tensor, which is no constant, in another order, or under another shape."""
    if not isinstance(node.op, StridedCopy) or isinstance(node.op, ReadVariable | AssignVariable):
        return False
    (x,) = graph.input_tensors(node)
    if x.data is not None or graph.tensors[node.outputs[0]].elements != x.elements:
        return False
    (taken,) = node.op.reference(numbers(x.shape))
    return bool((np.bincount(taken.reshape(-1), minlength=x.elements) == 1).all())


def views(graph: Graph) -> Mapping[str, View]:
    """That of each tensor but constants; of a root, itself. What no loops could copy from the root is another root."""
    found = {name: View(name, numbers(t.shape)) for name, t in graph.tensors.items() if t.data is None}
    for node in graph.nodes:
        if is_view(graph, node):
            source = found[node.inputs[0]]
            (order,) = node.op.reference(source.order)
            if nested_loops(order.reshape(-1)) is not None:
                found[node.outputs[0]] = View(source.root, order)
    return found
