"""Tensors know what their values lie in, for kernels that can make use of it; the last of all passes."""

from __future__ import annotations

import dataclasses

from tinygen.interval import Interval
from tinygen.ir import Graph, Tensor
from tinygen.ops.common import INT8
from tinygen.range_analysis import tensor_intervals


def note_bounds(graph: Graph) -> Graph:
    """The same graph; int8 tensors some of whose channels do not reach both ends of the dtype have bounds."""
    known = tensor_intervals(graph)

    def noted(tensor: Tensor) -> Tensor:
        if tensor.data is not None or tensor.dtype != INT8 or tensor.name not in known:
            return tensor
        found = known[tensor.name]
        whole = found.is_same(Interval.full(tensor.dtype, tensor.shape))
        return tensor if whole else dataclasses.replace(tensor, bounds=found)

    return dataclasses.replace(graph, tensors={name: noted(tensor) for name, tensor in graph.tensors.items()})
