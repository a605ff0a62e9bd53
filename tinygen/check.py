"""The grammar of the IR, run between all passes: what every later stage may rely on."""

from __future__ import annotations

from collections.abc import Iterator

from tinygen.ir import Graph, Node


class MalformedGraph(AssertionError):
    """A pass or importer produced a graph that breaks the grammar: a defect of tinygen, not of the model."""


def check(graph: Graph) -> Graph:
    """Return the graph, or raise MalformedGraph with every breach."""
    breaches = list(_breaches(graph))
    if breaches:
        raise MalformedGraph(f"{graph.source}: " + "; ".join(breaches))
    return graph


def _breaches(graph: Graph) -> Iterator[str]:
    for name, tensor in graph.tensors.items():
        if name != tensor.name:
            yield f"tensor {tensor.name!r} is filed under {name!r}"
        if tensor.data is not None:
            if tensor.data.shape != tensor.shape or tensor.data.dtype != tensor.dtype:
                yield f"constant {name!r} is {tensor.data.dtype}{tensor.data.shape}, declared {tensor.type}"
            if tensor.data.flags.writeable:
                yield f"constant {name!r} is writable"
        if tensor.packed and (tensor.data is None or tensor.data.min() < -8 or tensor.data.max() > 7):
            yield f"{name!r} is packed, but no constant of values from -8 to 7"
    constants = {name for name, tensor in graph.tensors.items() if tensor.data is not None}
    known = constants | set(graph.inputs) | {state.read for state in graph.states}
    for name in graph.inputs:
        if name in constants:
            yield f"input {name!r} is a constant"
    for node in graph.nodes:
        yield from _node_breaches(graph, node, known)
        known |= set(node.outputs)
    for name in graph.outputs:
        if name not in known:
            yield f"output {name!r} is never written"
    for state in graph.states:
        if state.written not in known:
            yield f"the next value {state.written!r} of {state.read!r} is never written"
            continue
        types = {graph.tensors[state.read].type, graph.tensors[state.written].type}
        if types != {(state.initial.shape, state.initial.dtype)}:
            yield f"state {state.read!r} is {types}, initially {state.initial.dtype}{state.initial.shape}"


def _node_breaches(graph: Graph, node: Node, known: set[str]) -> Iterator[str]:
    for name in node.inputs:
        if name not in known:
            yield f"{node.name} reads {name!r} before it is written"
    for name in node.outputs:
        if name in known:
            yield f"{node.name} writes {name!r}, which is an input, a constant or already written"
        if name not in graph.tensors:
            yield f"{node.name} writes {name!r}, which is no tensor"
    if any(name not in graph.tensors for name in (*node.inputs, *node.outputs)):
        return
    inputs = graph.input_tensors(node)
    yield from (f"{node.name}: {problem}" for problem in node.op.problems(inputs))
    expected = node.op.output_types(inputs)
    found = tuple(tensor.type for tensor in graph.output_tensors(node))
    if expected != found:
        yield f"{node.name} yields {expected}, its outputs are {found}"
