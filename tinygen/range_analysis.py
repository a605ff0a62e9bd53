"""What the values of a graph are proved to lie in: intervals through every operator, to a fixed point over states."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from tinygen.interval import Interval
from tinygen.ir import Graph, Node, Tensor
from tinygen.ops.float_channels import FloatWeighted
from tinygen.ops.float_expression import FloatExpression
from tinygen.ops.weighted import Weighted

_ROUNDS = 8
"""After so many invocations, an end of a state's interval that still moves is taken to move without end."""


def tensor_intervals(graph: Graph) -> Mapping[str, Interval]:
    """For each tensor of integers, what its values lie in, for all inputs and after any number of invocations."""
    known = {name: Interval.of(t.data) for name, t in graph.tensors.items() if t.data is not None and _is_integer(t)}
    known.update((name, _full(graph.tensors[name])) for name in graph.inputs if _is_integer(graph.tensors[name]))
    remembered = [state for state in graph.states if _is_integer(graph.tensors[state.read])]
    known.update((state.read, Interval.of(state.initial)) for state in remembered)
    for done in itertools.count():
        for node in graph.nodes:
            known.update(_made(graph, node, known))
        grown = {state.read: known[state.read].hull(known[state.written]) for state in remembered}
        if all(interval.is_same(known[name]) for name, interval in grown.items()):
            break
        if done >= _ROUNDS:
            grown = {
                name: known[name].widened(interval, _full(graph.tensors[name])) for name, interval in grown.items()
            }
        known.update(grown)
    return known


def accumulator_range(graph: Graph, node: Node, known: Mapping[str, Interval]) -> Interval | None:
    """What the accumulators of a node with constant weights lie in, for each output channel; None where it has none.

    The accumulator is sum (x - zero_point) * (w - weight_zero_point) + b, over the taps inside the image; partial sums
    can lie outside. `known`: the tensors' intervals.
    """
    if not isinstance(node.op, Weighted):
        return None
    return node.op.accumulators(graph.input_tensors(node), known[node.inputs[0]])


def _made(graph: Graph, node: Node, known: Mapping[str, Interval]) -> Mapping[str, Interval]:
    """What a node's outputs lie in, as far as they are integers."""
    inputs, outputs = graph.input_tensors(node), graph.output_tensors(node)
    takes_floats = isinstance(node.op, (FloatExpression, FloatWeighted))
    if all(map(_is_integer, outputs)) and (takes_floats or all(map(_is_integer, inputs))):
        # Floats have no interval: those of the integers are given, in their order.
        found = node.op.intervals(inputs, [known[name] for name in node.inputs if name in known])
        return dict(zip(node.outputs, found, strict=True))
    return {tensor.name: _full(tensor) for tensor in outputs if _is_integer(tensor)}


def _is_integer(tensor: Tensor) -> bool:
    return bool(np.issubdtype(tensor.dtype, np.integer))


def _full(tensor: Tensor) -> Interval:
    return Interval.full(tensor.dtype, tensor.shape)
