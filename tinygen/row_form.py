"""How an operator is computed row by row: which rows of its inputs a row of its output is made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tinygen.ir import Graph, Node, Op, Tensor
from tinygen.ops.common import INT8, full_range
from tinygen.ops.common_scale import CommonScale
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.extremum import Maximum, Minimum
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.lookup import Lookup
from tinygen.ops.mul import Mul
from tinygen.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ops.row_pool import MeanOfSum, RescaledSum, RowSum
from tinygen.ops.window import Axis


@dataclass(frozen=True)
class RowForm:
    """Row i of the output is made of `taps` rows of each input from i * stride - before on.

    Rows outside the input count as rows of the value `fill`.
    """

    op: Op
    """The operator without padding above and below."""
    taps: int
    stride: int
    before: int
    after: int
    """Rows of padding below that the last row reads."""
    fill: int
    accumulates: bool = False
    """Whether every row of the input is added to the only row of the output."""

    @property
    def pads(self) -> bool:
        """Whether any rows outside the input are read."""
        return self.before > 0 or self.after > 0

    def rows(self, count: int) -> int:
        """Of each input, that so many rows of the output are made of."""
        return (count - 1) * self.stride + self.taps


def row_form(graph: Graph, node: Node) -> RowForm | None:
    """The form of a node between int8 images (1, h, w, c), if it has one."""
    if isinstance(node.op, RowSum):
        return RowForm(node.op, 1, 1, 0, 0, 0, accumulates=True)
    if isinstance(node.op, (MeanOfSum, RescaledSum)):
        return RowForm(node.op, 1, 1, 0, 0, 0)
    read = [tensor for tensor in graph.input_tensors(node) if tensor.data is None]
    written = graph.output_tensors(node)
    if not read or len(written) != 1 or not all(_is_image(tensor) for tensor in (*read, *written)):
        return None
    op = node.op
    if isinstance(op, (Conv2D, DepthwiseConv2D)):
        return _windowed(op, op.window.rows, read[0], written[0], op.zero_point)
    if isinstance(op, MaxPool2D):
        return _windowed(op, op.window.rows, read[0], written[0], full_range(INT8)[0])
    if isinstance(op, (AveragePool2D, FloatAveragePool)):
        # Taps outside the image do not count, so that no value stands for them.
        found = _windowed(op, op.window.rows, read[0], written[0], 0)
        return found if found.before == found.after == 0 else None
    if isinstance(op, _ELEMENT_BY_ELEMENT) and _is_by_row(graph.input_tensors(node), written[0]):
        return RowForm(op, 1, 1, 0, 0, 0)
    return None


_ELEMENT_BY_ELEMENT = (CommonScale, FloatAdd, FloatPair, Mul, Maximum, Minimum, Lookup)


def _is_image(tensor: Tensor) -> bool:
    return tensor.dtype == INT8 and len(tensor.shape) == 4 and tensor.shape[0] == 1


def _is_by_row(inputs: tuple[Tensor, ...], y: Tensor) -> bool:
    """Whether images have the output's shape, and constants serve all of its rows."""
    return all(x.shape == y.shape if x.data is None else len(x.shape) < 3 or x.shape[-3] == 1 for x in inputs)


def _windowed(
    op: Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D | FloatAveragePool,
    rows: Axis,
    x: Tensor,
    y: Tensor,
    fill: int,
) -> RowForm:
    after = (y.shape[1] - 1) * rows.stride + rows.extent - rows.before - x.shape[1]
    window = dataclasses.replace(op.window, rows=dataclasses.replace(rows, before=0, after=0))
    without = dataclasses.replace(op, window=window)
    return RowForm(without, rows.extent, rows.stride, rows.before, max(after, 0), fill)
