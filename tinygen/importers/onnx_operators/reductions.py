"""What makes one value of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, scale_and_zero_point, to_nhwc
from tinygen.importers.onnx_operators.slices import axis_of, integers
from tinygen.ir import Tensor
from tinygen.ops.arg_extremum import ArgMax, ArgMin
from tinygen.ops.float_mean import FloatMean, MeanOrder
from tinygen.ops.reduce import ReduceMax, ReduceMin
from tinygen.ops.reshape import Reshape

_AXES_AS_INPUT = 18


def _mean(call: Call) -> Sequence[Converted]:
    """Of the last dimensions: of images, rows and columns, with channels last; else of rows of values.

    Or of the first that are more than one.
    """
    x, y, axes = call.input(0, "input"), call.output, reduced_axes(call)
    (scale, zero_point), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    rank = len(x.shape)
    if call.node.in_integers:
        raise Refused("ONNX Runtime's CPU provider lacks it on integers", "use QDQ form: quant_format=QuantFormat.QDQ")
    is_last = axes == tuple(range(rank - len(axes), rank))
    is_first = bool(axes) and axes == tuple(range(axes[0], axes[-1] + 1)) and math.prod(x.shape[: axes[0]]) == 1
    if not axes or not (is_last or is_first):
        reason = f"its axes {list(axes)} are neither the first nor the last ones of {x.shape}"
        raise Refused(reason, "transpose before it, or take GlobalAveragePool")
    order = MeanOrder.PAIRS if is_last else MeanOrder.IN_TURN
    op = FloatMean(float(scale), zero_point, float(y_scale), y_zero, clamp(call), order)
    if not is_last:
        count = math.prod(x.shape[axis] for axis in axes)
        image = Tensor(f"{x.name}~{axes[0]}", (1, count, 1, x.elements // count), x.dtype, x.quant)
        steps = [Converted(Reshape.to(image.shape), (x,), (image,))]
    elif axes == tuple(range(2, rank)):
        image, steps = to_nhwc(x)
    else:
        count = math.prod(x.shape[axis] for axis in axes)
        image = Tensor(f"{x.name}~{axes[0]}", (x.elements // count, 1, count, 1), x.dtype, x.quant)
        steps = [Converted(Reshape.to(image.shape), (x,), (image,))]
    result = Tensor(f"{y.name}~mean", (image.shape[0], 1, 1, image.shape[3]), y.dtype, y.quant)
    return [
        *steps,
        Converted(op, (image,), (result,)),
        Converted(Reshape.to(y.shape), (result,), (y,)),
    ]


def _extremum(call: Call) -> Converted:
    x, axes = call.input(0, "input"), reduced_axes(call)
    if not axes:
        return Converted(Reshape.to(call.output.shape), (x,))
    op = ReduceMax if call.op == "ReduceMax" else ReduceMin
    return Converted(op(axes, bool(call.attribute("keepdims", 1))), (x,))


def reduced_axes(call: Call) -> tuple[int, ...]:
    """Ascending; none where nothing is reduced."""
    rank = len(call.input(0, "input").shape)
    if call.node.version < _AXES_AS_INPUT:
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
    "ReduceMax": _extremum,
    "ReduceMean": _mean,
    "ReduceMin": _extremum,
}
