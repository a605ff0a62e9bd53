"""Means of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.fixedpoint import FloatRequant
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, from_nhwc, scale_and_zero_point, spatial, to_nhwc
from tinygen.importers.onnx_operators.weights import expect_finite
from tinygen.importers.onnx_operators.windows import window
from tinygen.ops.common import full_range
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.reduce import Mean

_UNLIKE = "its input is int8 and its output uint8 in ONNX Runtime, or the other way round, where it is not fused"
_FLOAT_EDGES = "give the model float32 inputs and outputs, with QuantizeLinear and DequantizeLinear inside"


def _average_pool(call: Call) -> Sequence[Converted]:
    x, y = call.input(0, "input"), call.output
    (scale, zero_point), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    if not call.alike:
        raise Refused(_UNLIKE, _FLOAT_EDGES)
    if call.attribute("ceil_mode", 0):
        raise Refused("its ceil_mode is 1, which is not supported", "export it with ceil_mode=False")
    op = FloatAveragePool(
        window=window(call, x, call.attribute("kernel_shape")),
        scale=float(scale),
        zero_point=zero_point,
        output_scale=float(y_scale),
        output_zero_point=y_zero,
        clamp=clamp(call),
        counts_border=bool(call.attribute("count_include_pad", 0)),
        offset=128 if call.on_uint8 else 0,
    )
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(op, (image,), (result,)), *after]


def _global_average_pool(call: Call) -> Sequence[Converted]:
    """Sums of integers, whose scale counts the pixels."""
    x, y = call.input(0, "input"), call.output
    (scale, zero_point), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    if not call.alike:
        raise Refused(_UNLIKE, _FLOAT_EDGES)
    if clamp(call) != full_range(y.dtype):
        raise Refused("Relu or Clip behind it changes its results", "leave it out, or quantise its result first")
    pixels = int(np.prod(spatial(x)))
    requant = FloatRequant((float(scale / (y_scale * np.float32(pixels))),))
    expect_finite(requant.factors)
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(Mean((1, 2), True, zero_point, y_zero, requant), (image,), (result,)), *after]


CONVERTERS: Mapping[str, Converter] = {"AveragePool": _average_pool, "GlobalAveragePool": _global_average_pool}
