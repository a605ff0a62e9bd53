"""The numpy reference: every tensor of the graph, exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.errors import InputError
from tinygen.ir import Array, Graph


def evaluate(graph: Graph, inputs: Sequence[Array]) -> Mapping[str, Array]:
    """All tensors by name, for `inputs` in the order of ``graph.inputs``.

    Raises InputError when an input's shape or dtype is not the graph's.
    """
    values: dict[str, Array] = {name: t.data for name, t in graph.tensors.items() if t.data is not None}
    for name, array in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[name]
        if array.shape != tensor.shape or array.dtype != tensor.dtype:
            raise InputError(
                f"input {name!r} takes {tensor.dtype} {tensor.shape}, given is {array.dtype} {array.shape}"
            )
        values[name] = array
    for node in graph.nodes:
        results = node.op.reference(*(values[name] for name in node.inputs))
        values.update(zip(node.outputs, results, strict=True))
    return values


def outputs(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The graph's outputs in order."""
    values = evaluate(graph, inputs)
    return [np.asarray(values[name]) for name in graph.outputs]
