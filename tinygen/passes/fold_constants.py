"""Nodes that read only constants are evaluated at generation time."""

from __future__ import annotations

import dataclasses

from tinygen.ir import Graph, read_only


def fold_constants(graph: Graph) -> Graph:
    """Replace each node whose inputs are all constant by its result."""
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        data = [tensors[name].data for name in node.inputs]
        constants = [array for array in data if array is not None]
        if len(constants) < len(data):
            nodes.append(node)
            continue
        for name, value in zip(node.outputs, node.op.reference(*constants), strict=True):
            tensors[name] = dataclasses.replace(tensors[name], data=read_only(value))
    return dataclasses.replace(graph, tensors=tensors, nodes=tuple(nodes))
