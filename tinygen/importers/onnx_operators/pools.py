"""Pools."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import (
    Call,
    Converter,
    clamp,
    codes_offset,
    expect_no_bounds,
    from_nhwc,
    scale_and_zero_point,
    scale_of_reals,
    spatial,
    to_nhwc,
)
from tinygen.importers.onnx_operators.reductions import float_mean
from tinygen.importers.onnx_operators.weights import expect_finite
from tinygen.importers.onnx_operators.windows import window
from tinygen.ir import Tensor
from tinygen.ops.common import FLOAT32, full_range
from tinygen.ops.float_mean import FloatMean, MeanOrder
from tinygen.ops.float_pool import FloatAveragePool, RealAveragePool
from tinygen.ops.pool_2d import MaxPool2D, RealMaxPool
from tinygen.ops.reduce import Mean
from tinygen.ops.window import Axis, Window
from tinygen.rescaling import FloatRequant

_BY_ROW = 19
"""The opset since which ONNX Runtime's AveragePool adds up taps row by row whatever they are."""
_CHANNELS_IN_A_BLOCK = 16
"""With AVX-512."""
_MOST_TAPS, _FARTHEST_STEP, _MOST_COLUMNS = 32, 2, 1984
"""Of windows, and of an image with its border, for which MLAS has vectors."""


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
    scale_of_reals(x)
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    op = RealMaxPool(steps) if y.dtype == FLOAT32 else MaxPool2D(steps, full_range(y.dtype))
    return [*before, Converted(op, (image,), (result,)), *after]


def _average_pool(call: Call) -> Sequence[Converted]:
    """By ONNX Runtime's QLinearAveragePool, for which a window of the whole image is GlobalAveragePool."""
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_of_reals(x)
    steps = window(call, x, call.attribute("kernel_shape"))
    in_float = bool(call.in_float) or y.dtype == FLOAT32
    is_by_mlas = in_float and call.node.version < _BY_ROW and not _is_by_channels(x)
    if is_by_mlas and _takes_all(steps, x) and _moves_by_one(steps):
        return _float_mean(call)
    if not in_float and _takes_all(steps, x) and clamp(call) == full_range(y.dtype):
        return _global_average_pool(call)
    counts_border = bool(call.attribute("count_include_pad", 0))
    if counts_border and call.attribute("ceil_mode", 0) and in_float:
        raise Refused(
            "it has both count_include_pad and ceil_mode, and is computed in float32, where ONNX Runtime's versions "
            "count other values at the end",
            "export it with one of them: AvgPool2d of PyTorch has count_include_pad=False for that; or have its "
            "result quantised, too",
        )
    by_column = is_by_mlas and _is_by_column(steps, x)
    op: FloatAveragePool | RealAveragePool
    if y.dtype == FLOAT32:
        op = RealAveragePool(steps, float(scale), zero_point, counts_border, by_column, call.curve)
    else:
        y_scale, y_zero = scale_and_zero_point(y, "output")
        op = FloatAveragePool(
            window=steps,
            scale=float(scale),
            zero_point=zero_point,
            output_scale=float(y_scale),
            output_zero_point=y_zero,
            clamp=clamp(call),
            counts_border=counts_border,
            offset=0 if in_float else codes_offset(call),
            in_float=in_float,
            by_column=by_column,
            curve=call.curve,
        )
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(op, (image,), (result,)), *after]


def _is_by_channels(x: Tensor) -> bool:
    """Whether ONNX Runtime has blocks of channels in vectors, and adds up taps row by row: ``NchwcTransformer``."""
    return len(x.shape) == 4 and x.shape[1] % _CHANNELS_IN_A_BLOCK == 0


def _is_by_column(steps: Window, x: Tensor) -> bool:
    """Whether MLAS has vectors for it: ``MlasPool``."""
    columns = steps.columns
    is_small = max(steps.rows.taps, columns.taps) <= _MOST_TAPS and columns.stride <= _FARTHEST_STEP
    return len(spatial(x)) == 2 and is_small and x.shape[-1] + columns.before + columns.after <= _MOST_COLUMNS


def _moves_by_one(steps: Window) -> bool:
    return steps.rows.stride == steps.columns.stride == 1


def _takes_all(steps: Window, x: Tensor) -> bool:
    """Whether one window is the whole image, without a border."""
    rows, columns = steps.rows, steps.columns
    is_padded = any((rows.before, rows.after, columns.before, columns.after))
    return not is_padded and (1, rows.taps, columns.taps)[-len(spatial(x)) :] == spatial(x)


def _global_average_pool(call: Call) -> Sequence[Converted]:
    """By ONNX Runtime's QLinearGlobalAveragePool, which sums integers."""
    x, y = call.input(0, "input"), call.output
    if call.in_float or y.dtype == FLOAT32:
        return _float_mean(call)
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    factor = float(scale / (y_scale * np.float32(math.prod(spatial(x)))))
    expect_finite([factor])
    expect_no_bounds(call)
    op = Mean((1, 2), True, zero_point, y_zero, FloatRequant((factor,)))
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(op, (image,), (result,)), *after]


def _float_mean(call: Call) -> Sequence[Converted]:
    """Of each channel, by ``MlasPoolGlobalKernel``."""
    x, y = call.input(0, "input"), call.output
    op = float_mean(call, x, FloatMean, MeanOrder.VECTORS)
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(op, (image,), (result,)), *after]


CONVERTERS: Mapping[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
