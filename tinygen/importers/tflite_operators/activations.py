"""Activations that are operators of their own, int8 to int8."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tinygen import fixedpoint
from tinygen.fixedpoint import Requant
from tinygen.importers.tflite_call import (
    Call,
    Converted,
    Converter,
    Refused,
    scale_and_zero_point,
)
from tinygen.ops.activations import (
    SIGMOID_INTEGER_BITS,
    Abs,
    HardSwish,
    LeakyRelu,
    Logistic,
    Relu,
    Relu6,
    Tanh,
)


def _sigmoid(call: Call, op: type[Logistic] | type[Tanh]) -> Converted:
    x = call.input(0, "input")
    scale, zero_point = scale_and_zero_point(x, "input")
    multiplier, shift = fixedpoint.quantize_multiplier(scale * (1 << (31 - SIGMOID_INTEGER_BITS)))
    radius = fixedpoint.calculate_input_radius(SIGMOID_INTEGER_BITS, shift)
    return Converted(op(zero_point, Requant((multiplier,), (shift,)), radius), (x,))


def _logistic(call: Call) -> Converted:
    if scale_and_zero_point(call.output, "output") != (1 / 256, -128):
        raise Refused("the output must have scale 1/256 and zero point -128")
    return _sigmoid(call, Logistic)


def _tanh(call: Call) -> Converted:
    if scale_and_zero_point(call.output, "output") != (1 / 128, 0):
        raise Refused("the output must have scale 1/128 and zero point 0")
    return _sigmoid(call, Tanh)


def _relu(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    return Converted(Relu(zero_point, y_zero, Requant.from_scales(scale / y_scale), (y_zero, 127)), (x,))


def _relu6(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    if scale_and_zero_point(y, "output") != (scale, zero_point):
        raise Refused("input and output have different scales or zero points, which the runtimes ignore")
    # FloatToQuantizedType; the bound keeps tiny scales within what can be rounded.
    six = min(fixedpoint.round_half_away(min(float(np.float32(6) / np.float32(scale)), 2.0**20)) + zero_point, 127)
    return Converted(Relu6((zero_point, six)), (x,))


def _leaky_relu(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    alpha = float(np.float32(call.option("alpha")))
    if not 0 <= alpha < math.inf:
        raise Refused(f"alpha is {alpha:g}, it must not be negative")
    op = LeakyRelu(
        zero_point=zero_point,
        output_zero_point=y_zero,
        requant=Requant.from_scales(scale / y_scale),
        negative_requant=Requant.from_scales(scale * alpha / y_scale),
    )
    return Converted(op, (x,))


def _hard_swish(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    fine_scale = np.float32(scale) / np.float32(128)
    output_multiplier, output_exponent = fixedpoint.quantize_multiplier(float(fine_scale / np.float32(y_scale)))
    gate_multiplier, gate_exponent = fixedpoint.quantize_multiplier(float(fine_scale / np.float32(3 / 32768)))
    op = HardSwish(
        zero_point=zero_point,
        output_zero_point=y_zero,
        output_multiplier=fixedpoint.down_scale_int32_to_int16_multiplier(output_multiplier),
        output_exponent=output_exponent,
        gate_multiplier=fixedpoint.down_scale_int32_to_int16_multiplier(gate_multiplier),
        gate_exponent=gate_exponent,
    )
    return Converted(op, (x,))


def _abs(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    return Converted(Abs(zero_point, y_zero, Requant.from_scales(scale / y_scale)), (x,))


CONVERTERS: Mapping[str, Converter] = {
    "ABS": _abs,
    "HARD_SWISH": _hard_swish,
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _logistic,
    "RELU": _relu,
    "RELU6": _relu6,
    "TANH": _tanh,
}
