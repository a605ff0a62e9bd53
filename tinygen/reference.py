"""The numpy reference: every tensor of the graph, exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tinygen.errors import InputError
from tinygen.interval import BoolArray
from tinygen.ir import Array, Graph

States = Mapping[str, Array]
"""The value of each state, by the name of the tensor that nodes read."""


def initial_states(graph: Graph) -> States:
    """What a reset leaves."""
    return {state.read: state.initial for state in graph.states}


def next_states(graph: Graph, values: Mapping[str, Array]) -> States:
    """What the next invocation reads, from the tensors of this one."""
    return {state.read: values[state.written] for state in graph.states}


def evaluate(
    graph: Graph,
    inputs: Sequence[Array],
    states: States | None = None,
    given: Mapping[str, Array] = MappingProxyType({}),
    given_channels: Mapping[str, BoolArray] = MappingProxyType({}),
) -> Mapping[str, Array]:
    """All tensors by name, for `inputs` in the order of ``graph.inputs``; without `states`, as after a reset.

    Tensors that are `given`, by another runtime, are computed, too, but nodes read what is given; of those in
    `given_channels`, these channels are given, and the others read as computed. Raises InputError when an input's shape
    or dtype is not the graph's.
    """
    values: dict[str, Array] = {name: t.data for name, t in graph.tensors.items() if t.data is not None}
    values.update(initial_states(graph) if states is None else states)
    for name, array in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[name]
        if array.shape != tensor.shape or array.dtype != tensor.dtype:
            raise InputError(
                f"input {name!r} takes {tensor.dtype} {tensor.shape}, given is {array.dtype} {array.shape}"
            )
        values[name] = array

    def read(name: str) -> Array:
        if name not in given or name not in given_channels:
            return given.get(name, values[name])
        whole = values[name].copy()
        whole[..., given_channels[name]] = given[name]
        return whole

    for node in graph.nodes:
        results = node.op.reference(*(read(name) for name in node.inputs))
        values.update(zip(node.outputs, results, strict=True))
    return values


def outputs(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The graph's outputs in order, as after a reset."""
    values = evaluate(graph, inputs)
    return [np.asarray(values[name]) for name in graph.outputs]
