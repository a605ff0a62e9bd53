"""Inputs and outputs of which the application has the memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tinygen.errors import Problem, UnsupportedModel
from tinygen.interface import EXTERNAL, Interface
from tinygen.ir import Graph


def with_ports(graph: Graph, interface: Interface) -> Graph:
    """The graph with the inputs and outputs that lie outside of the library's memory.

    Raises UnsupportedModel for a tensor that cannot, with the reason.
    """
    inputs = graph.inputs if interface.input == EXTERNAL else ()
    outputs = graph.outputs if interface.output == EXTERNAL else ()
    problems = [
        *(_problem(graph, "input", name, graph.inputs) for name in inputs),
        *(_problem(graph, "output", name, graph.outputs) for name in outputs),
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise UnsupportedModel(graph.source, found, "Leave that tensor in the arena: --input static --output static.")
    return dataclasses.replace(graph, outside=graph.outside | {*inputs, *outputs})


def _problem(graph: Graph, role: str, name: str, ports: Sequence[str]) -> Problem | None:
    states = {name for state in graph.states for name in (state.read, state.written)}
    reasons = {
        "it is an input and an output at once": name in graph.inputs and name in graph.outputs,
        f"it is more than one {role}": list(ports).count(name) > 1,
        "the model remembers it": name in states,
        "it is a constant": graph.tensors[name].data is not None,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    return None if reason is None else Problem(f"the {role} {name.split(';')[0]!r}", "", reason, "")
