"""Pools."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.fixedpoint import FloatRequant
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import (
    UNBOUNDED,
    Call,
    Converter,
    clamp,
    codes_offset,
    from_nhwc,
    scale_and_zero_point,
    spatial,
    to_nhwc,
)
from tinygen.importers.onnx_operators.weights import expect_finite
from tinygen.importers.onnx_operators.windows import window
from tinygen.ir import Tensor
from tinygen.ops.common import full_range
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.pool_2d import MaxPool2D
from tinygen.ops.reduce import Mean
from tinygen.ops.window import Axis, Window


def _max_pool(call: Call) -> Sequence[Converted]:
    if len(call.outputs) > 1 and call.node.outputs[1]:
        raise Refused("its second output, the indices, is not supported")
    if call.attribute("storage_order", 0):
        raise Refused("its storage_order is 1, which is not supported")
    return _pooled(call, window(call, call.input(0, "input"), call.attribute("kernel_shape")))


def _global_max_pool(call: Call) -> Sequence[Converted]:
    sizes = spatial(call.input(0, "input"))
    rows, columns = (1, *sizes) if len(sizes) == 1 else sizes
    return _pooled(call, Window(Axis(rows, 1), Axis(columns, 1)))


def _pooled(call: Call, steps: Window) -> Sequence[Converted]:
    x, y = call.input(0, "input"), call.outputs[0]
    scale_and_zero_point(x, "input")
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(MaxPool2D(steps, full_range(y.dtype)), (image,), (result,)), *after]


def _average_pool(call: Call) -> Sequence[Converted]:
    """By ONNX Runtime's QLinearAveragePool, for which a window of the whole image is GlobalAveragePool."""
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    steps = window(call, x, call.attribute("kernel_shape"))
    if _takes_all(steps, x) and clamp(call) == full_range(y.dtype):
        return _global_average_pool(call)
    counts_border = bool(call.attribute("count_include_pad", 0))
    if counts_border and call.attribute("ceil_mode", 0):
        raise Refused("it has both count_include_pad and ceil_mode, which runtimes do not agree on")
    op = FloatAveragePool(
        window=steps,
        scale=float(scale),
        zero_point=zero_point,
        output_scale=float(y_scale),
        output_zero_point=y_zero,
        clamp=clamp(call),
        counts_border=counts_border,
        offset=codes_offset(call),
    )
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(op, (image,), (result,)), *after]


def _takes_all(steps: Window, x: Tensor) -> bool:
    """Whether one window is the whole image, without a border."""
    rows, columns = steps.rows, steps.columns
    is_padded = any((rows.before, rows.after, columns.before, columns.after))
    return not is_padded and (1, rows.taps, columns.taps)[-len(spatial(x)) :] == spatial(x)


def _global_average_pool(call: Call) -> Sequence[Converted]:
    """By ONNX Runtime's QLinearGlobalAveragePool, which sums integers."""
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    factor = float(scale / (y_scale * np.float32(math.prod(spatial(x)))))
    expect_finite([factor])
    if call.bounds != UNBOUNDED and clamp(call) != full_range(y.dtype):
        raise Refused("Relu or Clip between it and QuantizeLinear cuts into the range of the output")
    op = Mean((1, 2), True, zero_point, y_zero, FloatRequant((factor,)))
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(op, (image,), (result,)), *after]


CONVERTERS: Mapping[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
