"""Activations that are operators of their own, and softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tinygen import fixedpoint
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_call import (
    Call,
    Converter,
    factor,
    refuse_in_litert,
    refuse_int16_zero_points,
    scale_and_zero_point,
)
from tinygen.ir import Tensor
from tinygen.ops.activations import Abs, HardSwish, LeakyRelu, Relu, Relu6, Relu6Rescaled
from tinygen.ops.common import FLOAT32, INT8, INT16, full_range
from tinygen.ops.float_curves import Elu, LogisticFloat, TanhFloat
from tinygen.ops.float_function import FloatFunction
from tinygen.ops.l2_normalization import L2Normalization
from tinygen.ops.log_softmax import LogSoftmax
from tinygen.ops.rsqrt import FRACTION_BITS, Rsqrt
from tinygen.ops.sigmoid import SIGMOID_INTEGER_BITS, Logistic, LogisticInt16, Tanh, TanhInt16
from tinygen.ops.softmax import Softmax
from tinygen.ops.softmax_int16 import SoftmaxInt16
from tinygen.rescaling import Requant
from tinygen.softmax_tables import FLOAT32_TABLES, FLOAT64_TABLES

_INT16_ARGUMENT_UNITS = 3 * 4096  # in one, of the int16 table's argument
_Q3_12 = -12  # log2 of the scale
_Q0_15 = -15
_SOFTMAX_INT16_TOLERANCE = 0.001  # converters also write 1/65535


def _expect_zero_points(x: Tensor, y: Tensor) -> None:
    """int16 of most activations has no zero points."""
    for tensor, role in ((x, "input"), (y, "output")):
        zero_point = scale_and_zero_point(tensor, role)[1]
        if zero_point and tensor.dtype == INT16:
            raise Refused(f"the {role} has the zero point {zero_point}, int16 must have 0")


def _expect_output(y: Tensor, scale: float, zero_point: int, tolerance: float = 0.0) -> None:
    """The only scale (within a relative tolerance) and zero point that the runtime computes."""
    found, found_zero = scale_and_zero_point(y, "output")
    if abs(found / scale - 1) > tolerance or found_zero != zero_point:
        raise Refused(f"the output must have scale 1/{1 / scale:g} and zero point {zero_point}")


def _power_of_two(scale: float) -> int | None:
    """``CheckedLog2``: the exponent of a scale that is a power of two within 0.07 %, in float32."""
    exponent = np.log(np.float32(scale)) * (np.float32(1) / np.log(np.float32(2)))
    nearest = fixedpoint.round_half_away(float(exponent))
    return nearest if abs(exponent - np.float32(nearest)) < np.float32(1e-3) else None


def _curve(call: Call, op: type[Elu] | type[LogisticFloat] | type[TanhFloat]) -> Converted:
    x = call.input(0, "input")
    return Converted(op(*scale_and_zero_point(x, "input"), *scale_and_zero_point(call.output, "output")), (x,))


def _sigmoid(call: Call, op: type[Logistic] | type[Tanh]) -> Converted:
    x = call.input(0, "input")
    scale, zero_point = scale_and_zero_point(x, "input")
    multiplier, shift = fixedpoint.quantize_multiplier(scale * (1 << (31 - SIGMOID_INTEGER_BITS)))
    radius = fixedpoint.calculate_input_radius(SIGMOID_INTEGER_BITS, shift)
    return Converted(op(zero_point, Requant((multiplier,), (shift,)), radius), (x,))


def _sigmoid_int16(
    call: Call, op: type[LogisticInt16] | type[TanhInt16], exact_exponents: tuple[int, ...]
) -> Converted:
    x, y = call.input(0, "input"), call.output
    _expect_zero_points(x, y)
    if _power_of_two(scale_and_zero_point(y, "output")[0]) != _Q0_15:
        raise Refused("the output must have scale 1/32768")
    scale, _ = scale_and_zero_point(x, "input")
    exponent = _power_of_two(scale)
    if exponent in exact_exponents:
        return Converted(op(3 << (exponent - _Q3_12), 0), (x,))
    # A 15-bit multiplier; its fraction is cut off.
    multiplier, right_shift = scale * _INT16_ARGUMENT_UNITS, 0
    while multiplier <= fixedpoint.INT16_MAX / 2 and right_shift <= 30:
        multiplier, right_shift = multiplier * 2, right_shift + 1
    return Converted(op(int(min(multiplier, 2.0**31)), right_shift), (x,))


def _logistic(call: Call) -> Converted:
    if call.input(0, "input").dtype == INT16:
        return _sigmoid_int16(call, LogisticInt16, (_Q3_12,))
    _expect_output(call.output, 1 / 256, -128)
    return _curve(call, LogisticFloat) if call.is_litert else _sigmoid(call, Logistic)


def _tanh(call: Call) -> Converted:
    if call.input(0, "input").dtype == INT16:
        return _sigmoid_int16(call, TanhInt16, (_Q3_12, _Q3_12 + 1))
    if call.is_litert:
        return _curve(call, TanhFloat)
    _expect_output(call.output, 1 / 128, 0)
    return _sigmoid(call, Tanh)


def _relu(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    if x.dtype == INT16:
        _expect_zero_points(x, y)
    requant = Requant.from_scales(factor(call, scale, over=y_scale))
    return Converted(Relu(zero_point, y_zero, requant, (y_zero, full_range(y.dtype)[1])), (x,))


def _relu6(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    # FloatToQuantizedType; the bound keeps tiny scales within what can be rounded.
    six = fixedpoint.round_half_away(min(float(np.float32(6) / np.float32(y_scale)), 2.0**20)) + y_zero
    clamp = (y_zero, min(six, full_range(y.dtype)[1]))
    refuse_int16_zero_points(call, x, y)
    if (y_scale, y_zero) == (scale, zero_point):
        return Converted(Relu6(clamp), (x,))
    if not call.is_litert:
        raise Refused(
            "input and output have different scales or zero points, which TensorFlow Lite Micro ignores",
            "build with --profile litert, which rescales",
        )
    return Converted(
        Relu6Rescaled(zero_point, y_zero, Requant.from_scales(factor(call, scale, over=y_scale)), clamp), (x,)
    )


def _leaky_relu(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    alpha = float(np.float32(call.option("alpha")))
    if not math.isfinite(alpha):
        raise Refused(f"alpha is {alpha:g}")
    refuse_int16_zero_points(call, x, y)
    slope = abs(factor(call, scale, alpha, over=y_scale))
    if alpha < 0 and fixedpoint.round_half_away(math.frexp(slope)[0] * 2**31) == 2**31:
        raise Refused(
            "the negative alpha becomes a power of two by rounding, which the runtime takes for a positive one",
            "choose an alpha that differs by a millionth",
        )
    op = LeakyRelu(
        zero_point=zero_point,
        output_zero_point=y_zero,
        requant=Requant.from_scales(factor(call, scale, over=y_scale)),
        negative_requant=Requant.from_scales(slope),
        sign=-1 if alpha < 0 else 1,
    )
    return Converted(op, (x,))


def _elu(call: Call) -> Converted:
    x = call.input(0, "input")
    if x.dtype == FLOAT32:
        return Converted(FloatFunction("ELU"), (x,))
    refuse_in_litert(call, True, "LiteRT's reference kernels lack it for int8 models")
    return _curve(call, Elu)


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
    if x.dtype == FLOAT32:
        return Converted(FloatFunction("ABS"), (x,))
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    if x.dtype == INT16:
        _expect_zero_points(x, y)
    return Converted(Abs(zero_point, y_zero, Requant.from_scales(factor(call, scale, over=y_scale))), (x,))


def _rsqrt(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    if x.dtype == FLOAT32:
        return Converted(FloatFunction("RSQRT"), (x,))
    scale, zero_point = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    _expect_zero_points(x, y)
    can_be_negative = zero_point > full_range(x.dtype)[0]
    refuse_in_litert(call, can_be_negative, "its input can be negative, on which LiteRT ends the run")
    multiplier, shift = fixedpoint.quantize_multiplier(1 / (math.sqrt(scale) * y_scale))
    return Converted(Rsqrt(zero_point, y_zero, Requant((multiplier,), (shift - FRACTION_BITS,))), (x,))


def _l2_normalization(call: Call) -> Converted:
    x = call.input(0, "input")
    _, zero_point = scale_and_zero_point(x, "input")
    activation = call.option("fused_activation_function")
    if activation != "NONE":
        raise Refused(f"the fused activation {activation} is not supported", "make it an operator of its own")
    _expect_output(call.output, 1 / 128, 0)
    return Converted(L2Normalization(zero_point), (x,))


def _softmax(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, _ = scale_and_zero_point(x, "input")
    beta = float(np.float32(call.option("beta")))
    if not 0 < beta < math.inf:
        raise Refused(f"beta is {beta:g}, it must be positive")
    if x.dtype == INT16:
        _expect_zero_points(x, y)
        _expect_output(y, 1 / 32768, 0, _SOFTMAX_INT16_TOLERANCE)
        requant = Requant.from_scales(factor(call, scale, beta, over=1.0) / (10 / 65535))
        return Converted(SoftmaxInt16(requant, FLOAT64_TABLES if call.is_litert else FLOAT32_TABLES), (x,))
    if y.dtype == INT16:
        _expect_output(y, 1 / 65536, -32768, _SOFTMAX_INT16_TOLERANCE)
    else:
        _expect_output(y, 1 / 256, -128)
    multiplier, left_shift, smallest_difference = _softmax_scaling(scale, beta)
    return Converted(Softmax(multiplier, left_shift, smallest_difference, INT16 if y.dtype == INT16 else INT8), (x,))


def _log_softmax(call: Call) -> Converted:
    x = call.input(0, "input")
    scale, _ = scale_and_zero_point(x, "input")
    _expect_output(call.output, 1 / 16, 127)
    return Converted(LogSoftmax(*_softmax_scaling(scale, 1.0)), (x,))


def _softmax_scaling(scale: float, beta: float) -> tuple[int, int, int]:
    """``PreprocessSoftmaxScaling``: multiplier and left shift of a difference to Q5.26; the smallest that counts."""
    real = min(beta * scale * (1 << 26), 2**31 - 1.0)
    if real <= 1.0:
        raise Refused(f"beta times the input's scale is {real / (1 << 26):g}, too small for the runtimes")
    multiplier, left_shift = fixedpoint.quantize_multiplier(real)
    return multiplier, left_shift, -fixedpoint.calculate_input_radius(5, left_shift)


CONVERTERS: Mapping[str, Converter] = {
    "ABS": _abs,
    "ELU": _elu,
    "HARD_SWISH": _hard_swish,
    "L2_NORMALIZATION": _l2_normalization,
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _logistic,
    "LOG_SOFTMAX": _log_softmax,
    "RELU": _relu,
    "RELU6": _relu6,
    "RSQRT": _rsqrt,
    "SOFTMAX": _softmax,
    "TANH": _tanh,
}
