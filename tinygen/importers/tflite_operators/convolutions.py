"""What multiplies by weights: convolutions and dense layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.importers.tflite_call import (
    QUANTISE,
    Call,
    Converted,
    Converter,
    Refused,
    bias,
    clamp,
    filter_scales,
    scale_and_zero_point,
    window,
)
from tinygen.ops.common import FLOAT32
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.fully_connected import FullyConnected


def _convolution(call: Call, op: type[Conv2D] | type[DepthwiseConv2D], filter_axis: int) -> Converted:
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    if len(weights.shape) != 4:
        raise Refused(f"the filter has {len(weights.shape)} dimensions {weights.shape}, expected are 4")
    x_scale, x_zero = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    dilation = (int(call.option("dilation_h_factor")), int(call.option("dilation_w_factor")))
    converted = op(
        window=window(call, x, (weights.shape[1], weights.shape[2]), dilation),
        zero_point=x_zero,
        output_zero_point=y_zero,
        requant=Requant.from_scales(x_scale * filter_scales(weights, filter_axis) / y_scale),
        clamp=clamp(call, y),
    )
    return Converted(converted, (x, weights, bias(call, weights.shape[filter_axis])))


def _conv_2d(call: Call) -> Converted:
    return _convolution(call, Conv2D, 0)


def _depthwise_conv_2d(call: Call) -> Converted:
    return _convolution(call, DepthwiseConv2D, 3)


def _fully_connected(call: Call) -> Converted:
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    if call.option("weights_format") != "DEFAULT":
        raise Refused(f"the weights format {call.option('weights_format')} is not supported")
    x_scale, x_zero = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    if weights.dtype == FLOAT32 or weights.quant is None:
        raise Refused(f"the filter {weights.name!r} is not quantised", QUANTISE)
    zero_points = np.unique(weights.quant.zero_point)
    if not -128 <= zero_points[0] <= zero_points[-1] <= 127:
        raise Refused(f"the filter has the zero point {zero_points[0]}, outside int8")
    if zero_points.size != 1 or (weights.quant.scale.size > 1 and zero_points[0]):
        raise Refused("per-channel filter scales come with zero points other than 0")
    op = FullyConnected(
        zero_point=x_zero,
        weight_zero_point=int(zero_points[0]),
        output_zero_point=y_zero,
        requant=Requant.from_scales(x_scale * weights.quant.scale.astype(np.float64) / y_scale),
        clamp=clamp(call, y),
        keep_num_dims=bool(call.option("keep_num_dims")),
    )
    return Converted(op, (x, weights, bias(call, weights.shape[0] if weights.shape else 0)))


CONVERTERS: Mapping[str, Converter] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
}
