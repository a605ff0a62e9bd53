"""What multiplies matrices: convolutions, dense layers, and products of two operands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_call import (
    QUANTISE,
    Call,
    Converter,
    bias,
    clamp,
    filter_scales,
    filter_zero_point,
    refuse_in_litert,
    scale_and_zero_point,
    window,
)
from tinygen.ir import Tensor, read_only
from tinygen.ops.batch_matmul import BatchMatmul
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32, INT64
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.transpose_conv import TransposeConv
from tinygen.rescaling import RealRequant, Requant, Rounding

PACKED_INPUTS: Mapping[str, frozenset[int]] = {
    "CONV_2D": frozenset({1}),
    "DEPTHWISE_CONV_2D": frozenset({1}),
    "FULLY_CONNECTED": frozenset({1}),
}
"""Inputs that can be int4, by operator."""


def _activation(tensor: Tensor, role: str, x: Tensor) -> tuple[float, int]:
    """Scale and zero point of an input or output of a layer whose first input is x."""
    scale, zero_point = scale_and_zero_point(tensor, role)
    if tensor.dtype == x.dtype == INT16 and zero_point:
        raise Refused(f"the {role} is int16 with the zero point {zero_point}, which the runtimes take to be 0")
    return scale, zero_point


def _check_packed(x: Tensor, weights: Tensor) -> None:
    if weights.packed and x.dtype != INT8:
        raise Refused(f"the filter is int4, the input {x.dtype}: the runtimes have int4 filters for int8 inputs only")


def _check_filter_rank(weights: Tensor) -> None:
    if len(weights.shape) != 4:
        raise Refused(f"the filter has {len(weights.shape)} dimensions {weights.shape}, expected are 4")


def _bias(call: Call, x: Tensor, filters: int, index: int = 2, *, int32: bool) -> tuple[Tensor, Rounding]:
    """The bias, and the rule that its type stands for: beside int16 inputs, it is the accumulator's type.

    `int32`: whether the runtime distinguishes int32 biases there from int64 ones, which it expects.
    """
    given = bias(call, filters, index, INT64 if x.dtype == INT16 else INT32)
    if x.dtype != INT16:
        return given, Rounding.DOUBLE
    if given.dtype == INT32 and int32:
        declared = call.option("quantized_bias_type")
        refuse_in_litert(
            call,
            declared != "INT32",
            f"the bias is int32 beside an int16 input, and declared as {declared}: LiteRT reads it as int64",
        )
        return given, Rounding.DOUBLE
    if given.dtype == INT32:
        raise Refused(
            "the bias is int32, which the runtimes read as int64 beside an int16 input",
            "convert the model with a current converter, which writes int64 biases",
        )
    return given, Rounding.INT64


def _convolution(call: Call, op: type[Conv2D] | type[DepthwiseConv2D], *, int32: bool) -> Converted:
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    _check_filter_rank(weights)
    _check_packed(x, weights)
    x_scale, x_zero = _activation(x, "input", x)
    y_scale, y_zero = _activation(y, "output", x)
    dilation = (int(call.option("dilation_h_factor")), int(call.option("dilation_w_factor")))
    biases, rounding = _bias(call, x, weights.shape[op.filter_axis], int32=int32)
    scales = filter_scales(weights, op.filter_axis)
    converted = op(
        window=window(call, x, (weights.shape[1], weights.shape[2]), dilation),
        zero_point=x_zero,
        weight_zero_point=filter_zero_point(call, weights),
        output_zero_point=y_zero,
        requant=Requant.from_scales(x_scale * scales / y_scale, rounding),
        clamp=clamp(call, y),
    )
    return Converted(converted, (x, weights, biases))


def _conv_2d(call: Call) -> Converted:
    refuse_in_litert(call, len(call.inputs) < 3 or call.inputs[2] is None, "it has no bias, which LiteRT refuses")
    return _convolution(call, Conv2D, int32=True)


def _depthwise_conv_2d(call: Call) -> Converted:
    return _convolution(call, DepthwiseConv2D, int32=False)


def _transpose_conv(call: Call) -> Converted:
    shape, weights, x, y = call.input(0, "output shape"), call.input(1, "filter"), call.input(2, "input"), call.output
    _check_filter_rank(weights)
    # The output's size is that of its tensor, also where the output shape is an input of the model.
    if shape.data is not None and tuple(shape.data.reshape(-1)) != y.shape:
        raise Refused(f"the output shape {shape.data.tolist()} is not that of the output tensor, {y.shape}")
    refuse_in_litert(call, shape.data is None, "the output shape is an input of the model, which LiteRT refuses")
    x_scale, x_zero = _activation(x, "input", x)
    y_scale, y_zero = _activation(y, "output", x)
    biases, rounding = _bias(call, x, weights.shape[0], 3, int32=False)
    if biases.dtype == INT16 and biases.data is not None:
        refuse_in_litert(call, True, "the bias is int16, which LiteRT refuses")
        wide = read_only(biases.data.astype(np.int64))
        biases = dataclasses.replace(biases, name=f"{biases.name}/int64", dtype=INT64, data=wide)
    steps = window(call, y, (weights.shape[1], weights.shape[2]))
    refuse_in_litert(
        call,
        steps.output_size(*y.shape[1:3]) != x.shape[1:3],
        f"the output {y.shape} is not that of a convolution's input whose output is {x.shape}, which LiteRT refuses",
    )
    scales = filter_scales(weights, 0)
    converted = TransposeConv(
        window=steps,
        output_size=(y.shape[1], y.shape[2]),
        zero_point=x_zero,
        weight_zero_point=filter_zero_point(call, weights),
        output_zero_point=y_zero,
        requant=Requant.from_scales(x_scale * scales / y_scale, rounding),
        clamp=clamp(call, y),
    )
    return Converted(converted, (x, weights, biases))


def _fully_connected(call: Call) -> Converted:
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    if call.option("weights_format") != "DEFAULT":
        raise Refused(f"the weights format {call.option('weights_format')} is not supported")
    _check_packed(x, weights)
    x_scale, x_zero = _activation(x, "input", x)
    y_scale, y_zero = _activation(y, "output", x)
    if weights.dtype == FLOAT32 or weights.quant is None:
        raise Refused(f"the filter {weights.name!r} is not quantised", QUANTISE)
    zero_points = np.unique(weights.quant.zero_point)
    if not -128 <= zero_points[0] <= zero_points[-1] <= 127:
        raise Refused(f"the filter has the zero point {zero_points[0]}, outside int8")
    if zero_points.size != 1 or (weights.quant.scale.size > 1 and zero_points[0]):
        raise Refused("per-channel filter scales come with zero points other than 0")
    if weights.packed and weights.quant.scale.size > 1:
        raise Refused("the filter is int4 with a scale for each channel, which the runtimes refuse")
    refuse_in_litert(
        call, weights.packed and bool(zero_points[0]), "the filter is int4 with a zero point, which LiteRT refuses"
    )
    biases, rounding = _bias(call, x, weights.shape[0] if weights.shape else 0, int32=True)
    factors = x_scale * weights.quant.scale.astype(np.float64) / y_scale
    requant: Requant | RealRequant = Requant.from_scales(factors, rounding)
    if call.is_litert:
        requant = RealRequant(tuple(factors.tolist()), wide=rounding is Rounding.INT64)
    op = FullyConnected(
        zero_point=x_zero,
        weight_zero_point=int(zero_points[0]),
        output_zero_point=y_zero,
        requant=requant,
        clamp=clamp(call, y),
        keep_num_dims=bool(call.option("keep_num_dims")),
    )
    return Converted(op, (x, weights, biases))


def _batch_matmul(call: Call) -> Converted:
    a, b, y = call.input(0, "first input"), call.input(1, "second input"), call.output
    a_scale, a_zero = _activation(a, "first input", a)
    b_scale, b_zero = _activation(b, "second input", a)
    y_scale, y_zero = _activation(y, "output", a)
    op = BatchMatmul(
        transposed_a=bool(call.option("adj_x")),
        transposed_b=bool(call.option("adj_y")),
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        output_zero_point=y_zero,
        requant=Requant.from_scales(
            a_scale * b_scale / y_scale, Rounding.INT64 if a.dtype == INT16 else Rounding.DOUBLE
        ),
    )
    return Converted(op, (a, b))


CONVERTERS: Mapping[str, Converter] = {
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transpose_conv,
}
