"""Convolutions and matrix products that ONNX Runtime does not fuse: in float32, by its library MLAS."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, clamp, constant, scale_and_zero_point
from tinygen.importers.onnx_operators.weights import real_bias
from tinygen.ir import Array, Tensor
from tinygen.ops.common import FLOAT32
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_sums import SumOrder, order_of_product
from tinygen.ops.real_conv import RealConv
from tinygen.ops.reshape import Reshape
from tinygen.ops.window import Axis, Window

POINT = Window(Axis(1, 1), Axis(1, 1))


def float_conv(
    call: Call,
    window: Window,
    order: SumOrder,
    operands: tuple[Tensor, Tensor, Tensor],
    scales: npt.NDArray[np.float32],
    weight_zero: int,
) -> Converted | None:
    """Of an image, filters (o, kh, kw, c / groups) and the result, all channels last; None where C cannot."""
    x, weights, y = operands
    scale, zero_point = scale_and_zero_point(x, "input")
    filters = weights.shape[0]
    op: FloatConv | RealConv
    if y.dtype == FLOAT32:
        op = RealConv(float(scale), zero_point, weight_zero, window, order)
    else:
        y_scale, y_zero = scale_and_zero_point(y, "output")
        op = FloatConv(float(scale), zero_point, weight_zero, float(y_scale), y_zero, clamp(call), window, order)
    try:
        bias = real_bias(call, 2, x, scales, filters)
    except Refused:
        return None
    each = constant(f"{y.name}~scales", np.resize(scales, filters))
    inputs = (x, weights, each, constant(f"{y.name}~bias", bias))
    return None if list(op.problems(inputs)) else Converted(op, inputs, (y,))


def float_product(
    call: Call, rows: Array, scales: npt.NDArray[np.float32], weight_zero: int, *, is_turned: bool
) -> Sequence[Converted] | None:
    """Of rows of the first input by weights (o, terms), which the file has turned, or not; None where C cannot."""
    x, y = call.input(0, "input"), call.output
    filters, terms = rows.shape
    count = x.elements // terms
    if count * terms != x.elements or count * filters != y.elements:
        return None
    stride = terms if is_turned else filters
    order = order_of_product(count, filters, terms, is_turned=is_turned, stride=stride, gap=filters, of_filters=False)
    if call.op == "Gemm" or call.optional(2) is not None:
        order = order.with_bias_first()
    image = Tensor(f"{x.name}~rows", (1, count, 1, terms), x.dtype, x.quant)
    result = Tensor(f"{y.name}~rows", (1, count, 1, filters), y.dtype, y.quant)
    weights = constant(f"{y.name}~weights", rows.reshape(filters, 1, 1, terms))
    found = float_conv(call, POINT, order, (image, weights, result), scales, weight_zero)
    if found is None:
        return None
    return [
        Converted(Reshape.to(image.shape), (x,), (image,)),
        found,
        Converted(Reshape.to(y.shape), (result,), (y,)),
    ]


def conv_order(window: Window, size: tuple[int, int], channels: int, filters: int) -> SumOrder:
    """``MlasConvPrepare`` for an image of so many rows and columns, and one group of channels and filters."""
    rows, columns = window.rows, window.columns
    pixels = math.prod(window.output_size(*size))
    terms = channels * window.taps
    moves_by_one = rows.stride == columns.stride == 1
    is_bare = not any((rows.before, rows.after, columns.before, columns.after)) and moves_by_one
    is_dense = rows.dilation == columns.dilation == 1
    if is_bare and terms > channels == 1 and is_dense and columns.taps == size[1]:
        # The image is the matrix already, turned.
        return order_of_product(filters, pixels, terms, is_turned=True, stride=size[1], gap=pixels)
    return order_of_product(filters, pixels, terms, is_turned=False, stride=pixels, gap=pixels)
