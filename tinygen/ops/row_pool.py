"""A mean of a whole image whose rows come one after the other: sums that grow, and then their means.

Groups of nodes that are computed row by row take these operators in the place of AVERAGE_POOL_2D and MEAN; no file
has them.
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
from tinygen.ops.proved_finish import finish_within
from tinygen.ops.reduce import Mean


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


@dataclass(frozen=True)
class RescaledSum(Op):
    """What MEAN makes of the sum of so many values; (1, 1, 1, c) int32 -> int8."""

    name: ClassVar[str] = "MEAN"
    mean: Mean
    count: int

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """A mean for each sum."""
        return (TensorType(inputs[0].shape, INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The rescaled sums."""
        return (self.mean.rescaled(inputs[0].astype(np.int64) - self.count * self.mean.zero_point, INT8),)


def is_global(graph: Graph, node: Node) -> bool:
    """Whether a node is a mean of one image (1, h, w, c), int8, (1, 1, 1, c): MEAN, or a pool with only one window."""
    x = graph.tensors[node.inputs[0]]
    if isinstance(node.op, Mean):
        is_image = x.dtype == INT8 and len(x.shape) == 4 and x.shape[0] == 1
        return is_image and node.op.axes == (1, 2) and node.op.keep_dims
    if not isinstance(node.op, AveragePool2D):
        return False
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
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
        total = f"{y.name} (sum)"
        while total in tensors:
            total += "'"
        tensors[total] = Tensor(total, (1, 1, 1, x.shape[3]), INT32)
        nodes.append(dataclasses.replace(node, op=RowSum(), outputs=(total,)))
        count = x.shape[1] * x.shape[2]
        nodes.append(dataclasses.replace(node, op=_of_sum(node.op, count), inputs=(total,)))
    return dataclasses.replace(graph, tensors=tensors, nodes=tuple(nodes))


def _of_sum(op: Op, count: int) -> Op:
    if isinstance(op, Mean):
        return RescaledSum(op, count)
    assert isinstance(op, AveragePool2D)
    return MeanOfSum(op, count)


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


def _prepare_rescaled(site: Site) -> Body:
    op: RescaledSum = site.op
    low, high = (op.count * (value - op.mean.zero_point) for value in full_range(INT8))
    final = finish_within(op.mean.requant, op.mean.output_zero_point, full_range(INT8), INT8, low, high)
    values = {
        "channels": site.inputs[0].shape[3],
        "start": -op.mean.zero_point * op.count,
        "finish": final.finish,
    }
    return Body(values, final.constants, final.helpers, proof=final.proof)


def _sum_work(site: Site) -> Work:
    x = site.inputs[0]
    return Work(4 * x.elements + 8 * x.shape[3], 60)


def _mean_work(site: Site) -> Work:
    return Work(16 * site.inputs[0].elements, 60)


def _rescaled_work(site: Site) -> Work:
    return Work(19 * site.inputs[0].elements, 76)


KERNELS = (
    Kernel("row_pool.sum", RowSum, _prepare_sum, work=_sum_work),
    Kernel("row_pool.mean", MeanOfSum, _prepare_mean, work=_mean_work),
    Kernel("row_pool.rescaled", RescaledSum, _prepare_rescaled, work=_rescaled_work),
)
"""Not registered: nothing but a group of rows uses them."""
