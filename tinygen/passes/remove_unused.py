"""Nodes, tensors and states that no output depends on are dropped."""

from __future__ import annotations

import dataclasses

from tinygen.ir import Graph


def remove_unused(graph: Graph) -> Graph:
    """Keep what the outputs need, now or in a later invocation, and all inputs: they are the model's interface."""
    roots = set(graph.outputs)
    while True:
        needed = _needed(graph, roots)
        written = {state.written for state in graph.states if state.read in needed}
        if written <= needed:
            break
        roots |= written
    needed.update(graph.inputs)
    return dataclasses.replace(
        graph,
        tensors={name: tensor for name, tensor in graph.tensors.items() if name in needed},
        nodes=tuple(node for node in graph.nodes if needed.intersection(node.outputs)),
        states=tuple(state for state in graph.states if state.read in needed),
    )


def _needed(graph: Graph, roots: set[str]) -> set[str]:
    needed = set(roots)
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs, node.outputs)
    return needed
