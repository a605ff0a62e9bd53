"""What makes one value of many."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tinygen.float32 import FloatArray
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, scale_and_zero_point, scale_of_reals, transposed
from tinygen.importers.onnx_operators.curves import reals, requantised
from tinygen.importers.onnx_operators.slices import axis_of, integers
from tinygen.ir import Shape, Tensor
from tinygen.ops.arg_extremum import ArgMax, ArgMin
from tinygen.ops.common import FLOAT32
from tinygen.ops.float_expression import FloatExpression, Step
from tinygen.ops.float_mean import FloatMean, FloatNorm, FloatSum, MeanOrder, RealMean, RealNorm, RealSum
from tinygen.ops.reduce import ReduceMax, ReduceMin, reduced_shape
from tinygen.ops.reshape import Reshape

_SQUARE = Step("Mul", (0, 0))
_AXES_AS_INPUT, _AXES_OF_SUM = 18, 13
"""The opsets since which axes are an input, not an attribute."""


def _mean(call: Call) -> Sequence[Converted]:
    if call.node.in_integers:
        raise Refused("ONNX Runtime's CPU provider lacks it on integers", "use QDQ form: quant_format=QuantFormat.QDQ")
    return _total(call, FloatMean)


def _sum(call: Call) -> Sequence[Converted]:
    return _total(call, FloatSum)


def _sum_of(function: Callable[[FloatArray], FloatArray], step: Step, op: type[FloatSum]) -> Converter:
    """A sum of what a function makes of each value, which `step` is for values in float32."""

    def converted(call: Call) -> Sequence[Converted]:
        x = call.input(0, "input")
        if not reduced_axes(call):
            raise Refused("it reduces nothing", "leave it out")
        if x.dtype == FLOAT32:
            terms = Tensor(f"{call.output.name}~terms", x.shape, FLOAT32)
            of_terms = dataclasses.replace(call, inputs=(terms, *call.inputs[1:]))
            return [Converted(FloatExpression(((),), (), (step,)), (x,), (terms,)), *_total(of_terms, op)]
        values = np.array(call.curve, np.float32) if call.curve else reals(x)
        return _total(dataclasses.replace(call, curve=tuple(function(values).tolist())), op)

    return converted


def _total(call: Call, op: type[FloatMean]) -> Sequence[Converted]:
    """Over any dimensions, in float32."""
    x, y, axes = call.input(0, "input"), call.output, reduced_axes(call)
    if not axes:
        return [requantised(x, y, clamp(call), call.curve)]
    rank = len(x.shape)
    # The dimensions in the order that ONNX Runtime has them in.
    places = (0, *range(2, rank), 1) if call.sums_channels_last else tuple(range(rank))
    image, before = _moved(x, places)
    reduced = tuple(sorted(places.index(axis) for axis in axes))
    kept = Tensor(f"{y.name}~kept", reduced_shape(image.shape, reduced, True), y.dtype, y.quant)
    result, after = _moved(kept, [places.index(axis) for axis in range(rank)])
    return [
        *before,
        *_reduced(call, op, image, reduced, kept),
        *after,
        Converted(Reshape.to(y.shape), (result,), (y,)),
    ]


def _reduced(call: Call, op: type[FloatMean], x: Tensor, axes: tuple[int, ...], y: Tensor) -> Sequence[Converted]:
    """With ones in place of the reduced dimensions."""
    runs = _runs(x.shape, axes)
    order = _order(runs) if call.op in _BY_BLOCKS else _plain_order(runs)
    total = float_mean(call, x, op, order)
    places = _places(len(x.shape), axes, order, is_image=not call.sums_channels_last)
    moved, steps = _moved(x, places)
    outer = math.prod(moved.shape[: min(places.index(axis) for axis in axes)])
    count = math.prod(x.shape[axis] for axis in axes)
    rows = runs[0].size if order is MeanOrder.ROWS else 1
    image = Tensor(f"{y.name}~values", (outer, rows, count // rows, x.elements // (outer * count)), x.dtype, x.quant)
    result = Tensor(f"{y.name}~total", (outer, 1, 1, image.shape[3]), y.dtype, y.quant)
    turned = Tensor(f"{y.name}~turned", tuple(y.shape[axis] for axis in places), y.dtype, y.quant)
    is_moved = moved is not x
    back = [transposed(turned, [places.index(axis) for axis in range(len(places))], y)] if is_moved else []
    return [
        *steps,
        Converted(Reshape.to(image.shape), (moved,), (image,)),
        Converted(total, (image,), (result,)),
        Converted(Reshape.to(turned.shape), (result,), (turned if is_moved else y,)),
        *back,
    ]


def float_mean(call: Call, x: Tensor, op: type[FloatMean], order: MeanOrder) -> FloatMean | RealMean:
    """A mean, or sum, of what the values of x stand for, quantised, or as it is."""
    scale, zero_point = scale_of_reals(x)
    if call.output.dtype == FLOAT32:
        return _REALS[op](float(scale), zero_point, order, call.curve)
    y_scale, y_zero = scale_and_zero_point(call.output, "output")
    return op(float(scale), zero_point, float(y_scale), y_zero, clamp(call), order, call.curve)


_REALS: Mapping[type[FloatMean], type[RealMean]] = {FloatMean: RealMean, FloatNorm: RealNorm, FloatSum: RealSum}
"""Operators whose results stay float32, by those whose results are quantised."""
_BY_BLOCKS = ("ReduceMean", "ReduceSum")
"""Reductions for which ONNX Runtime has loops of their own, by the order of dimensions."""


class _Run(NamedTuple):
    """Dimensions that follow each other and are all reduced, or all kept."""

    is_reduced: bool
    size: int


def _runs(shape: Shape, axes: Sequence[int]) -> list[_Run]:
    """Of all dimensions."""
    groups = itertools.groupby(range(len(shape)), key=lambda axis: axis in axes)
    return [_Run(is_reduced, math.prod(shape[axis] for axis in group)) for is_reduced, group in groups]


def _order(runs: Sequence[_Run]) -> MeanOrder:
    """As ONNX Runtime's ``CommonFastReduceSwitch`` decides, with one thread."""
    kinds = tuple(run.is_reduced for run in runs)
    if kinds in ((True,), (False, True)):
        return MeanOrder.PAIRS
    if kinds == (False, True, False) and runs[0].size > 1:
        return MeanOrder.FOURS
    if kinds == (True, False, True) and runs[1].size > 1:
        return MeanOrder.ROWS
    return MeanOrder.IN_TURN


def _plain_order(runs: Sequence[_Run]) -> MeanOrder:
    """Of reductions without blocks: ``NoTransposeReduce1Loop``, and Eigen where everything is reduced."""
    return MeanOrder.PAIRS if all(run.is_reduced for run in runs) else MeanOrder.IN_TURN


def _places(rank: int, axes: tuple[int, ...], order: MeanOrder, *, is_image: bool) -> tuple[int, ...]:
    """The dimensions in an order in which the reduced ones follow each other; channels of images (n, c, ...) come last.

    Reduced dimensions keep their order; by pairs and by rows, so do the kept ones.
    """
    channels_last = (0, *range(2, rank), 1)
    spatial = tuple(range(2, rank))
    is_pooled = axes == spatial or (order is MeanOrder.ROWS and axes == (0, *spatial))
    is_along_one = order in (MeanOrder.FOURS, MeanOrder.IN_TURN) and len(axes) == 1
    if is_image and ((rank in (3, 4) and is_pooled) or (rank == 4 and is_along_one)):
        return channels_last
    kept = tuple(axis for axis in range(rank) if axis not in axes)
    if order is MeanOrder.ROWS:
        return (*axes, *kept)
    is_together = axes == tuple(range(axes[0], axes[-1] + 1))
    return tuple(range(rank)) if is_together else (*kept, *axes)


def _moved(x: Tensor, places: Sequence[int]) -> tuple[Tensor, list[Converted]]:
    """With the dimensions in another order, and what moves them."""
    if list(places) == sorted(places):
        return x, []
    suffix = "nhwc" if list(places) == [0, *range(2, len(places)), 1] else "moved"
    moved = Tensor(f"{x.name}~{suffix}", tuple(x.shape[axis] for axis in places), x.dtype, x.quant)
    return moved, [transposed(x, places, moved)]


def _extremum(call: Call) -> Converted:
    x, axes = call.input(0, "input"), reduced_axes(call)
    if not axes:
        return Converted(Reshape.to(call.output.shape), (x,))
    op = ReduceMax if call.op == "ReduceMax" else ReduceMin
    return Converted(op(axes, bool(call.attribute("keepdims", 1))), (x,))


def reduced_axes(call: Call) -> tuple[int, ...]:
    """Ascending; none where nothing is reduced."""
    rank = len(call.input(0, "input").shape)
    if call.node.version < (_AXES_OF_SUM if call.op == "ReduceSum" else _AXES_AS_INPUT):
        given = [int(axis) for axis in call.attribute("axes", [])]
    else:
        given = [] if call.optional(1) is None else integers(call, 1, "axes")
    if not given and not call.attribute("noop_with_empty_axes", 0):
        return tuple(range(rank))
    axes = tuple(sorted(axis_of(axis, rank) for axis in given))
    if len(set(axes)) < len(axes):
        raise Refused(f"its axes {given} name a dimension twice")
    return axes


def _place_of_extremum(call: Call) -> Sequence[Converted]:
    """The index along an axis, the first of equal ones; DequantizeLinear keeps the order."""
    x, y = call.input(0, "input"), call.output
    if x.dtype != FLOAT32:
        scale_and_zero_point(x, "input")
    if call.attribute("select_last_index", 0):
        raise Refused("its select_last_index is 1, supported is 0: the first of equal ones")
    axis = axis_of(int(call.attribute("axis", 0)), len(x.shape))
    op = (ArgMax if call.op == "ArgMax" else ArgMin)(axis)
    found = Tensor(f"{y.name}~index", (*x.shape[:axis], *x.shape[axis + 1 :]), y.dtype)
    return [Converted(op, (x,), (found,)), Converted(Reshape.to(y.shape), (found,), (y,))]


CONVERTERS: Mapping[str, Converter] = {
    "ArgMax": _place_of_extremum,
    "ArgMin": _place_of_extremum,
    "ReduceL1": _sum_of(np.abs, Step("Abs", (0,)), FloatSum),
    "ReduceL2": _sum_of(np.square, _SQUARE, FloatNorm),
    "ReduceMax": _extremum,
    "ReduceMean": _mean,
    "ReduceMin": _extremum,
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_of(np.square, _SQUARE, FloatSum),
}
