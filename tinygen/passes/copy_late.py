"""Copies come right before what reads them, where what they copy from is needed as long as that anyway.

The parts of a SPLIT are then not all there at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tinygen.ir import Graph, Node
from tinygen.ops.strided_copy import StridedCopy


def copy_late(graph: Graph) -> Graph:
    """Move such copies behind nodes that do not read them."""
    kept = {*graph.outputs, *(state.written for state in graph.states)}
    nodes = list(graph.nodes)
    for node in reversed(graph.nodes):
        readers = [other for other in nodes if node.outputs[0] in other.inputs]
        if not isinstance(node.op, StridedCopy) or not readers or not kept.isdisjoint(node.outputs):
            continue
        others = [other for other in nodes if other is not node]
        if _needed_until(others, node.inputs[0]) >= others.index(readers[0]):
            others.insert(others.index(readers[0]), node)
            nodes = others
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _needed_until(nodes: Sequence[Node], name: str) -> int:
    """The last node that reads a tensor, or a part of it that can be where it is in the tensor; -1 if there is none."""
    found = [-1]
    for index, node in enumerate(nodes):
        if name in node.inputs:
            found += [index, _needed_until(nodes, node.outputs[0]) if _is_part(node) else -1]
    return max(found)


def _is_part(node: Node) -> bool:
    """Whether its output is one run of its input."""
    return isinstance(node.op, StridedCopy) and [loop.stride for loop in node.op.merged()] == [1]
