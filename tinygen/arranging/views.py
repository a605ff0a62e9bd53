"""Tensors that hold the elements of another one, in another order or under another shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.arrangement import is_known_as_plain, numbers
from tinygen.interval import IntArray
from tinygen.ir import Graph, Node, Op
from tinygen.ops.reshape import AssignVariable, ReadVariable, Reshape
from tinygen.ops.strided_copy import Loop, StridedCopy, nested_loops


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
    return visits_all(node.op.loops)


def visits_all(loops: Sequence[Loop]) -> bool:
    """Whether loops with as many trips as a tensor has elements, all inside of it, visit each: no two are the same.

    Sums of steps are all different, and without gaps, only where each step is over all that the smaller ones reach.
    """
    reached = 1
    for loop in sorted(loops, key=lambda loop: abs(loop.stride)):
        if loop.trips > 1 and abs(loop.stride) != reached:
            return False
        reached *= loop.trips
    return True


def _followed(op: Op, order: IntArray) -> IntArray:
    """The order of what an operator makes of a tensor in an order."""
    if isinstance(op, Reshape):
        return numbers(op.shape) if is_known_as_plain(order) else order.reshape(op.shape)
    return op.reference(order)[0]


def views(graph: Graph) -> Mapping[str, View]:
    """That of each tensor but constants; of a root, itself. What no loops could copy from the root is another root."""
    found = {name: View(name, numbers(t.shape)) for name, t in graph.tensors.items() if t.data is None}
    for node in graph.nodes:
        if is_view(graph, node):
            source = found[node.inputs[0]]
            order = _followed(node.op, source.order)
            if is_known_as_plain(source.order) or nested_loops(order.reshape(-1)) is not None:
                found[node.outputs[0]] = View(source.root, order)
    return found
