"""Softmax, and its logarithm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, scale_and_zero_point, transposed
from tinygen.ir import Op, Shape, Tensor
from tinygen.ops.common import FLOAT32, full_range
from tinygen.ops.curve import CODES, Curve
from tinygen.ops.float_softmax import FloatSoftmax
from tinygen.ops.quantize import Quantize
from tinygen.ops.real_softmax import LogSoftmaxOfReals, RealLogSoftmax, RealSoftmax, SoftmaxOfReals
from tinygen.ops.reshape import Reshape

_OF_ONE_AXIS = 13
"""The opset since which Softmax is over one axis; before, it was over all from the axis on."""


def _softmax(call: Call) -> Sequence[Converted]:
    x, y = call.input(0, "input"), call.output
    is_of_one = call.node.version >= _OF_ONE_AXIS
    axis = int(call.attribute("axis", -1 if is_of_one else 1))
    rank = len(x.shape)
    if not -rank <= axis < max(rank, 1):
        raise Refused(f"its axis {axis} is not in its input {x.shape}")
    axis %= max(rank, 1)
    if y.dtype != FLOAT32 and (call.in_float or x.dtype == FLOAT32 or call.op == "LogSoftmax"):
        y_scale, y_zero = scale_and_zero_point(y, "output")
        reals = Tensor(f"{y.name}~real", y.shape, FLOAT32)
        rounded = Quantize(float(y_scale), y_zero, y.dtype, to_even=True)
        real_call = dataclasses.replace(call, outputs=(reals,))
        codes = Tensor(f"{y.name}~rounded", y.shape, y.dtype, y.quant)
        bounded = Converted(Curve(call.op, tuple(np.clip(CODES, *clamp(call)).tolist())), (codes,), (y,))
        is_bounded = clamp(call) != full_range(y.dtype)
        last = Converted(rounded, (reals,), (codes if is_bounded else y,))
        return [*_softmax(real_call), last, *([bounded] if is_bounded else [])]
    op = _of(call, x, y)
    if axis == rank - 1:
        return [Converted(op, (x,), (y,))]
    if is_of_one:
        order = (*(at for at in range(rank) if at != axis), axis)
        shape = tuple(x.shape[at] for at in order)
        back = tuple(order.index(at) for at in range(rank))
        rows, result = _as(x, "rows", shape), _as(y, "rows", shape)
        return [transposed(x, order, rows), Converted(op, (rows,), (result,)), transposed(result, back, y)]
    shape = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    rows, result = _as(x, "rows", shape), _as(y, "rows", shape)
    return [
        Converted(Reshape.to(shape), (x,), (rows,)),
        Converted(op, (rows,), (result,)),
        Converted(Reshape.to(y.shape), (result,), (y,)),
    ]


def _of(call: Call, x: Tensor, y: Tensor) -> Op:
    """The operator between such tensors."""
    is_logarithm = call.op == "LogSoftmax"
    if x.dtype == FLOAT32:
        return LogSoftmaxOfReals() if is_logarithm else SoftmaxOfReals()
    scale, zero_point = scale_and_zero_point(x, "input")
    if is_logarithm:
        return RealLogSoftmax(float(scale), zero_point, call.curve)
    if y.dtype == FLOAT32:
        return RealSoftmax(float(scale), zero_point, call.curve)
    y_scale, y_zero = scale_and_zero_point(y, "output")
    return FloatSoftmax(float(scale), float(y_scale), y_zero)


def _as(tensor: Tensor, suffix: str, shape: Shape) -> Tensor:
    return Tensor(f"{tensor.name}~{suffix}", shape, tensor.dtype, tensor.quant)


CONVERTERS: Mapping[str, Converter] = {"LogSoftmax": _softmax, "Softmax": _softmax}
