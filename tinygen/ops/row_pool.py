"""An average pool over a whole image whose rows come one after the other: sums that grow, and then their means.

Groups of nodes that are computed row by row take these operators in the pool's place; no file has them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Graph, Node, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops.common import INT8, INT32, full_range
from tinygen.ops.pool_2d import AveragePool2D, Ties


@dataclass(frozen=True)
class RowSum(Op):
    """y[c] = sum of all x[.., c], (1, h, w, c) int8 -> (1, 1, 1, c) int32; a kernel adds some rows to it."""

    name: ClassVar[str] = "SUM"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """A sum for each channel."""
        return (TensorType((1, 1, 1, inputs[0].shape[3]), INT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The sums."""
        return (inputs[0].sum(axis=(1, 2), keepdims=True, dtype=np.int32),)


@dataclass(frozen=True)
class MeanOfSum(Op):
    """y = clamp(x / count), rounded as the pool does; (1, 1, 1, c) int32 -> int8."""

    name: ClassVar[str] = "MEAN"
    pool: AveragePool2D
    count: int

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """A mean for each sum."""
        return (TensorType(inputs[0].shape, INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The rounded means."""
        means = self.pool.divided(inputs[0].astype(np.int64), np.array(self.count))
        return (np.clip(means, *self.pool.clamp).astype(np.int8),)


def is_global(graph: Graph, node: Node) -> bool:
    """Whether a node is an average pool of one image (1, h, w, c), int8, whose only window is all of it."""
    if not isinstance(node.op, AveragePool2D):
        return False
    x = graph.tensors[node.inputs[0]]
    rows, columns = node.op.window.rows, node.op.window.columns
    padding = (rows.before, rows.after, columns.before, columns.after)
    return x.dtype == INT8 and x.shape[:3] == (1, rows.taps, columns.taps) and not any(padding)


def unrolled(graph: Graph) -> Graph:
    """The graph with sums and means in the place of such pools."""
    nodes: list[Node] = []
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        if not is_global(graph, node):
            nodes.append(node)
            continue
        assert isinstance(node.op, AveragePool2D)
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
        total = f"{y.name} (sum)"
        while total in tensors:
            total += "'"
        tensors[total] = Tensor(total, (1, 1, 1, x.shape[3]), INT32)
        nodes.append(dataclasses.replace(node, op=RowSum(), outputs=(total,)))
        nodes.append(dataclasses.replace(node, op=MeanOfSum(node.op, x.shape[1] * x.shape[2]), inputs=(total,)))
    return dataclasses.replace(graph, tensors=tensors, nodes=tuple(nodes))


def _prepare_sum(site: Site) -> Body:
    _, height, width, channels = site.inputs[0].shape
    return Body({"pixels": height * width, "channels": channels})


def _prepare_mean(site: Site) -> Body:
    op: MeanOfSum = site.op
    low, high = op.pool.clamp
    clamps = op.pool.clamp != full_range(INT8)
    values = {
        "channels": site.inputs[0].shape[3],
        "count": op.count,
        "lowest": full_range(INT8)[0],
        "ties_up": op.pool.ties is Ties.UP,
        "clamps": clamps,
        "low": low,
        "high": high,
    }
    return Body(values, helpers=frozenset({"clamp"} if clamps else ()))


def _sum_work(site: Site) -> Work:
    x = site.inputs[0]
    return Work(4 * x.elements + 8 * x.shape[3], 60)


def _mean_work(site: Site) -> Work:
    return Work(16 * site.inputs[0].elements, 60)


KERNELS = (
    Kernel("row_pool.sum", RowSum, _prepare_sum, work=_sum_work),
    Kernel("row_pool.mean", MeanOfSum, _prepare_mean, work=_mean_work),
)
"""Not registered: nothing but a group of rows uses them."""
