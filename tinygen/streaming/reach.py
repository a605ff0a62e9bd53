"""Across time: which rows of its inputs each operator makes a row of its output of.

A row is what a tensor holds at one index of its dimension of time. Rows are counted from the beginning of the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import NamedTuple

import numpy as np

from tinygen.ir import Array, Op, Tensor
from tinygen.ops.add_n import AddN
from tinygen.ops.arg_extremum import ArgMax, ArgMin
from tinygen.ops.cast import Cast
from tinygen.ops.common_scale import CommonScale
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.convolution import Convolution
from tinygen.ops.div import Div
from tinygen.ops.extremum import Maximum, Minimum
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_function import FloatFunction
from tinygen.ops.float_sums import Way
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.l2_normalization import L2Normalization
from tinygen.ops.lstm import UnidirectionalSequenceLstm
from tinygen.ops.mul import Mul
from tinygen.ops.pad import Pad
from tinygen.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ops.prelu import Prelu
from tinygen.ops.quantize import Dequantize, Quantize, Requantize
from tinygen.ops.reduce import Mean, ReduceMax, ReduceMin, Sum
from tinygen.ops.reshape import Reshape
from tinygen.ops.softmax import RowExponentials
from tinygen.ops.softmax_int16 import SoftmaxInt16
from tinygen.ops.traits import Moving, ValueByValue
from tinygen.ops.window import Axis


class Reach(NamedTuple):
    """Row r of the output is made of `rows` rows of the input, from row ``first + r * step`` on."""

    first: int = 0
    step: int = 1
    rows: int = 1


ROW = Reach()
"""Each row is made of the same one."""


@dataclass(frozen=True)
class Reached:
    """How an operator reaches across time."""

    axis: int | None
    """The output's dimension of time. None: it has none, it is made of all of the window's rows that are reached."""
    inputs: Mapping[int, Reach]
    """Of each input (by index) that has rows."""
    constants: Mapping[int, int] = field(default_factory=dict)
    """Inputs (by index) that are constants with rows, which must be alike, and their dimension of time."""


class Unstreamable(Exception):
    """An operator's results for a window cannot be had from those for the window before."""

    def __init__(self, reason: str, remedy: str = "", beyond: Reached | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.beyond = beyond
        """How it would reach if it were not for that: to look for further reasons."""


Axes = Mapping[int, int]
"""For each input (by index) that has rows: which of its dimensions is time."""


@singledispatch
def reached(op: Op, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    """How far it reaches, given at least one input with rows. Raises Unstreamable, with the reason."""
    raise Unstreamable(
        "tinygen does not know what it reads along time", "leave it out, or put it behind a layer that joins all frames"
    )


@reached.register(AddN)
@reached.register(Cast)
@reached.register(CommonScale)
@reached.register(Dequantize)
@reached.register(Div)
@reached.register(FloatFunction)
@reached.register(Maximum)
@reached.register(Minimum)
@reached.register(Mul)
@reached.register(Prelu)
@reached.register(Quantize)
@reached.register(Requantize)
@reached.register(ValueByValue)
def _pointwise(op: Op, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    """Shapes broadcast from their ends on."""
    rank = max(len(x.shape) for x in inputs)
    found = {axis + rank - len(inputs[index].shape) for index, axis in axes.items()}
    if len(found) > 1:
        raise Unstreamable("time is another dimension in each of its inputs", "transpose one of them")
    axis = found.pop()
    aligned = {index: axis - rank + len(x.shape) for index, x in enumerate(inputs) if x.data is not None}
    constants = {index: at for index, at in aligned.items() if at >= 0 and inputs[index].shape[at] > 1}
    return Reached(axis, dict.fromkeys(axes, ROW), constants)


@reached.register(L2Normalization)
@reached.register(RowExponentials)
@reached.register(SoftmaxInt16)
def _last_dimension(op: Op, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    if axes[0] == len(inputs[0].shape) - 1:
        raise Unstreamable(
            "it weighs each frame against all of the window's", "let it work on another dimension than time"
        )
    return Reached(axes[0], {0: ROW})


@reached.register(Mean)
@reached.register(ReduceMax)
@reached.register(ReduceMin)
@reached.register(Sum)
def _reduction(op: Mean | Sum | ReduceMax | ReduceMin, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    return _without(op.axes, op.keep_dims, inputs[0], axes[0])


@reached.register(ArgMax)
@reached.register(ArgMin)
def _arg_extremum(op: ArgMax | ArgMin, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    return _without((op.axis,), False, inputs[0], axes[0])


def _without(gone: Sequence[int], keep_dims: bool, x: Tensor, axis: int) -> Reached:
    """Dimensions are reduced."""
    if axis in gone:
        return _whole(x.shape[axis])
    return Reached(axis if keep_dims else axis - sum(other < axis for other in gone), {0: ROW})


def _whole(rows: int) -> Reached:
    """All of the only input's rows at once."""
    return Reached(None, {0: Reach(0, 0, rows)})


@reached.register(Convolution)
def _convolution(op: Convolution | FloatConv, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    if axes[0] == 3:
        raise Unstreamable("time is its channels", "put time into the rows: (1, time, 1, features)")
    return _window(op, inputs, axes)


@reached.register(FloatConv)
def _float_convolution(op: FloatConv, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    found = _convolution(op, inputs, axes)
    if found.axis is not None and op.order.way is Way.LANES and not op.order.by_filter:
        raise Unstreamable(
            "ONNX Runtime adds up its float32 products in an order that depends on where a row lies in the window",
            "quantise its input to uint8: sums are integers then",
            found,
        )
    return found


@reached.register(AveragePool2D)
@reached.register(MaxPool2D)
def _window(op: Convolution | FloatConv | AveragePool2D | MaxPool2D, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    """A window that slides over rows or columns."""
    axis = axes[0]
    along = {1: op.window.rows, 2: op.window.columns}.get(axis, Axis(1, 1))
    length = inputs[0].shape[axis]
    if along.output_size(length) == 1:
        return _whole(length)
    found = Reached(axis, {0: Reach(0, along.stride, along.extent)})
    if along.before or along.after:
        raise Unstreamable(
            f"it pads time by {along.describe_padding()} (SAME): what its window of {along.extent} rows makes of "
            "padding, at the ends of the model's window, is another value once the frames have moved on",
            "train it with padding VALID along time, and pad the other dimension in a layer before",
            found,
        )
    return found


@reached.register(FullyConnected)
def _fully_connected(op: FullyConnected, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    """Rows of its own: within a frame, or over all of them."""
    x, weights = inputs[:2]
    axis, depth = axes[0], weights.shape[1]
    frame = math.prod(x.shape[axis + 1 :])
    if op.keep_num_dims and axis < len(x.shape) - 1:
        return Reached(axis, {0: ROW})
    if frame == depth and math.prod(x.shape[:axis]) == 1:
        return Reached(0, {0: ROW})
    return _whole(x.shape[axis])


@reached.register(UnidirectionalSequenceLstm)
def _lstm(op: Op, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    raise Unstreamable(
        "it starts from nothing at the window's first frame, which is another one each time",
        "export a model of one frame that keeps the LSTM's state in variables: it needs no --streaming",
    )


@reached.register(Pad)
def _pad(op: Pad, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    before, after = op.before[axes[0]], op.after[axes[0]]
    found = Reached(axes[0], {0: ROW})
    if before or after:
        raise Unstreamable(
            f"it pads time by {before}+{after}: the padding stays at the ends of the window, the frames move on",
            "train the model without padding along time, with VALID windows",
            found,
        )
    return found


@reached.register(Moving)
def _moving(op: Moving, inputs: Sequence[Tensor], axes: Axes) -> Reached:
    """Found from where each row's elements come from."""
    starts = _starts(inputs, axes)
    sources = op.moved(*(_numbered(x, axes.get(index), starts.get(index)) for index, x in enumerate(inputs)))
    ends = {index: starts[index] + inputs[index].shape[axis] for index, axis in axes.items()}
    parts = {index: _kept_only(sources, starts[index], ends[index]) for index in axes}
    found = []
    for axis in range(sources.ndim):
        reaches = {index: _along(part, axis) for index, part in parts.items()}
        regular = {index: reach for index, reach in reaches.items() if reach is not None}
        if len(regular) == len(parts):
            found.append(Reached(axis, regular, _constants(op, inputs, axis)))
    if found:
        return min(found, key=lambda each: sum(reach.rows for reach in each.inputs.values()))
    spans = {index: (int(np.nanmin(part)), int(np.nanmax(part)) + 1) for index, part in parts.items()}
    if isinstance(op, Reshape) or all(stop - start == 1 for start, stop in spans.values()):
        return Reached(None, {index: Reach(start, 0, stop - start) for index, (start, stop) in spans.items()})
    raise Unstreamable("it puts frames into another order, or others behind them", "do this outside of the model")


def _starts(inputs: Sequence[Tensor], axes: Axes) -> Mapping[int, int]:
    """A number for the first row of each input that has rows."""
    lengths = [inputs[index].shape[axis] for index, axis in axes.items()]
    return dict(zip(axes, np.cumsum([0, *lengths]).tolist(), strict=False))


def _numbered(x: Tensor, axis: int | None, start: int | None) -> Array:
    """Each element's row; -1 where there are none."""
    if axis is None or start is None:
        return np.full(x.shape, -1)
    shape = [1] * len(x.shape)
    shape[axis] = x.shape[axis]
    return np.broadcast_to(np.arange(start, start + x.shape[axis]).reshape(shape), x.shape).copy()


def _kept_only(sources: Array, start: int, stop: int) -> Array:
    """The rows of one input, in float64; NaN elsewhere."""
    return np.where((sources >= start) & (sources < stop), sources - start, np.nan)


def _along(rows: Array, axis: int) -> Reach | None:
    """How the elements at each index of a dimension come from rows at regular distances; None where they do not."""
    lines = np.moveaxis(rows, axis, 0).reshape(rows.shape[axis], -1)
    if len(lines) < 2 or np.isnan(lines).all(axis=1).any():
        return None
    first, last = np.nanmin(lines, axis=1).astype(int), np.nanmax(lines, axis=1).astype(int)
    step = int(first[1] - first[0])
    if step < 1 or (np.diff(first) != step).any() or np.ptp(last - first):
        return None
    return Reach(int(first[0]), step, int(last[0] - first[0]) + 1)


def _constants(op: Moving, inputs: Sequence[Tensor], axis: int) -> Axes:
    """Constants beside inputs with rows have as many of them."""
    found = [index for index, x in enumerate(inputs) if x.data is not None]
    if found and not (isinstance(op, Concatenation) and len(inputs[found[0]].shape) == len(op.shape)):
        raise Unstreamable("tinygen does not know what it reads of its constants along time")
    return dict.fromkeys(found, axis)
