"""Nodes and tensors that no output depends on are dropped."""

from __future__ import annotations

import dataclasses

from tinygen.ir import Graph


def remove_unused(graph: Graph) -> Graph:
    """Keep what the outputs need, and all inputs: they are the model's interface."""
    needed = set(graph.outputs)
    nodes = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs, node.outputs)
            nodes.append(node)
    needed.update(graph.inputs)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in needed}
    return dataclasses.replace(graph, tensors=tensors, nodes=tuple(reversed(nodes)))
