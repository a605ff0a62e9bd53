"""Which nodes of a graph can be computed together, row by row, and the graph in which they are one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from tinygen.ir import Graph, Node
from tinygen.ops.row_group import RowGroup
from tinygen.ops.row_pool import is_global
from tinygen.row_form import row_form

MOST_NODES = 16
"""Of a group: beyond, a schedule is long, and little is saved."""


def fusible(graph: Graph, least: int = 2) -> Iterator[range]:
    """All runs of `least` nodes or more that can be a group, by their indices."""
    kept = {*graph.outputs, *(name for state in graph.states for name in (state.read, state.written))}
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    by_row = [row_form(graph, node) is not None or is_global(graph, node) for node in graph.nodes]
    for start in range(len(graph.nodes)):
        for stop in range(start + 1, min(start + MOST_NODES, len(graph.nodes)) + 1):
            if not by_row[stop - 1]:
                break
            nodes = graph.nodes[start:stop]
            inner = [node.outputs[0] for node in nodes[:-1]]
            # What is read later, or not at all, has to be there whole.
            is_inner = all(last.get(name, stop) < stop and name not in kept for name in inner)
            if len(nodes) >= least and is_inner and _fills_agree(graph, nodes):
                yield range(start, stop)


def _fills_agree(graph: Graph, nodes: Sequence[Node]) -> bool:
    """Whether rows outside of each image are the same to all that read them."""
    fills: dict[str, set[int]] = {}
    for node in nodes:
        form = row_form(graph, node)
        if form is not None and form.pads:
            fills.setdefault(node.inputs[0], set()).add(form.fill)
    return all(len(values) == 1 for values in fills.values())


def fuse(graph: Graph, groups: Sequence[range], fed: bool = False) -> Graph:
    """The graph with these runs, disjoint and each one of `fusible`, as one node each; `fed`: see `RowGroup`."""
    nodes = list(graph.nodes)
    gone: set[str] = set()
    for run in sorted(groups, key=lambda run: run.start, reverse=True):
        node = _grouped(graph, graph.nodes[run.start : run.stop], fed)
        nodes[run.start : run.stop] = [node]
        assert isinstance(node.op, RowGroup)
        gone.update(name for name in node.op.graph.tensors if name not in (*node.inputs, *node.outputs))
    # A constant may be another node's, too.
    gone.difference_update(name for node in nodes for name in node.inputs)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in gone}
    return dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors)


def _grouped(graph: Graph, nodes: Sequence[Node], fed: bool) -> Node:
    read = dict.fromkeys(name for node in nodes for name in node.inputs)
    written = {name for node in nodes for name in node.outputs}
    inputs = tuple(name for name in read if graph.tensors[name].data is None and name not in written)
    tensors = {name: graph.tensors[name] for name in (*read, *written)}
    outputs = nodes[-1].outputs
    inner = Graph(graph.source, tensors, tuple(nodes), inputs, outputs)
    return Node(nodes[-1].name, RowGroup(inner, fed), inputs, outputs)
