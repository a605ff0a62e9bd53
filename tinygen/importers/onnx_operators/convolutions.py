"""Convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, constant, from_nhwc, scale_and_zero_point, to_nhwc
from tinygen.importers.onnx_integer_products import SCALED
from tinygen.importers.onnx_operators.float_sums import conv_order, float_conv
from tinygen.importers.onnx_operators.weights import filter_values, finish, has_odd_bias, kept, real_bias
from tinygen.importers.onnx_operators.windows import scattered_window, window
from tinygen.ir import Tensor
from tinygen.ops.common import FLOAT32
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.float_transpose_conv import FloatTransposeConv


def _conv(call: Call) -> Sequence[Converted]:
    """Filters (o, c / groups, kh, kw), or (o, c / groups, kw)."""
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    x_zero = scale_and_zero_point(x, "input")[1]
    values, scales, weight_zero = filter_values(weights, "filter", 0)
    steps = window(call, x, weights.shape[2:])
    if values.ndim == 3:
        values = values[:, :, np.newaxis]
    channels, groups = x.shape[1], int(call.attribute("group", 1))
    filters, depth = values.shape[:2]
    if groups < 1 or channels != depth * groups or filters % groups:
        raise Refused(f"{channels} input channels and {filters} filters of depth {depth} make no {groups} groups")
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    op = DepthwiseConv2D if _is_depthwise(x, depth) else Conv2D
    is_real = y.dtype == FLOAT32 and call.op == "Conv"
    if call.in_float or is_real or has_odd_bias(call, x, scales):
        taps = constant(f"{weights.name}~ohwi", values.transpose(0, 2, 3, 1))
        order = conv_order(steps, (image.shape[1], image.shape[2]), depth, filters // groups)
        found = float_conv(call, steps, order, (image, taps, result), scales, weight_zero)
        if found is not None:
            return [*before, found, *after]
    rescaling, biases = finish(call, x, scales, filters, in_scale=True)
    converted = op(
        window=steps,
        zero_point=x_zero,
        weight_zero_point=weight_zero,
        output_zero_point=scale_and_zero_point(y, "output")[1],
        requant=rescaling,
        clamp=clamp(call),
    )
    if op is DepthwiseConv2D:
        taps = kept(weights, "ihwo", values.transpose(1, 2, 3, 0), 3, scales)
    else:
        taps = kept(weights, "ohwi", values.transpose(0, 2, 3, 1), 0, scales)
    return [
        *before,
        Converted(converted, (image, taps, biases), (result,)),
        *after,
    ]


def _is_depthwise(x: Tensor, depth: int) -> bool:
    """Whether each filter has one channel of many."""
    return depth == 1 and x.shape[1] > 1


def _conv_transpose(call: Call) -> Sequence[Converted]:
    """Filters (c, o / groups, kh, kw), or (c, o / groups, kw). ONNX Runtime computes it in float32."""
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    (scale, zero_point), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    values, scales, weight_zero = filter_values(weights, "filter", 1)
    steps = scattered_window(call, x, y, weights.shape[2:])
    if values.ndim == 3:
        values = values[:, :, np.newaxis]
    channels, groups = x.shape[1], int(call.attribute("group", 1))
    depth = len(values) // max(groups, 1)
    if groups < 1 or len(values) != channels or channels % groups or y.shape[1] != values.shape[1] * groups:
        raise Refused(f"{channels} input channels and filters {weights.shape} make no {groups} groups")
    # (g, c / groups, o / groups, kh, kw) to (o, kh, kw, c / groups)
    taps = values.reshape(groups, depth, *values.shape[1:]).transpose(0, 2, 3, 4, 1)
    filters = groups * values.shape[1]
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    op = FloatTransposeConv(
        window=steps,
        output_size=(result.shape[1], result.shape[2]),
        scale=float(scale),
        zero_point=zero_point,
        weight_zero_point=weight_zero,
        output_scale=float(y_scale),
        output_zero_point=y_zero,
        clamp=clamp(call),
    )
    operands = (
        image,
        constant(f"{weights.name}~ohwi", taps.reshape(filters, *taps.shape[2:])),
        constant(f"{y.name}~scales", np.resize(scales, filters)),
        constant(f"{y.name}~bias", real_bias(call, 2, x, scales, filters)),
    )
    return [*before, Converted(op, operands, (result,)), *after]


CONVERTERS: Mapping[str, Converter] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    SCALED["ConvInteger"]: _conv,
}
