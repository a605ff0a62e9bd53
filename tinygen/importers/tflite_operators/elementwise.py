"""What works value by value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygen.fixedpoint import quantize_multiplier
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_call import (
    Call,
    Converter,
    clamp,
    factor,
    refuse_in_litert,
    refuse_int16_zero_points,
    scale_and_zero_point,
)
from tinygen.ops.add import Add, Sub
from tinygen.ops.add_n import FRACTION_BITS, AddN
from tinygen.ops.cast import Cast
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32, Clamp, full_range
from tinygen.ops.common_scale import CommonScale
from tinygen.ops.div import Div
from tinygen.ops.extremum import Maximum, Minimum
from tinygen.ops.float_function import FloatFunction
from tinygen.ops.mul import Mul
from tinygen.ops.prelu import Prelu
from tinygen.ops.quantize import Dequantize, Quantize, Requantize
from tinygen.ops.squared_difference import SquaredDifference
from tinygen.rescaling import Requant

_INSTEAD_OF_FUNCTION = "train with an activation that has int8 kernels: RELU, HARD_SWISH, TANH, LOGISTIC, ELU"


def _common_scale(
    call: Call, op: type[CommonScale], left_shifts: Mapping[np.dtype[Any], int], power: int, limits: Clamp
) -> Converted:
    """Both operands in twice the larger scale; the result is of that scale to the `power`."""
    a, b, y = call.input(0, "first input"), call.input(1, "second input"), call.output
    a_scale, a_zero = scale_and_zero_point(a, "first input")
    b_scale, b_zero = scale_and_zero_point(b, "second input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    refuse_int16_zero_points(call, a, b, y)
    twice_larger = 2 * max(a_scale, b_scale)
    left_shift = left_shifts.get(a.dtype, 0)  # other types are refused by the operator
    converted = op(
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        output_zero_point=y_zero,
        left_shift=left_shift,
        a_requant=Requant.from_scales(a_scale / twice_larger),
        b_requant=Requant.from_scales(b_scale / twice_larger),
        requant=Requant.from_scales(math.prod([twice_larger] * power) / ((1 << power * left_shift) * y_scale)),
        clamp=limits,
    )
    return Converted(converted, (a, b))


_SUM_LEFT_SHIFTS: Mapping[np.dtype[Any], int] = {INT8: 20, INT16: 15}  # headroom before the common scale
_SQUARE_LEFT_SHIFTS: Mapping[np.dtype[Any], int] = {INT8: 7, INT16: 0}  # so that the square fits int32


def _add(call: Call) -> Converted:
    return _common_scale(call, Add, _SUM_LEFT_SHIFTS, 1, clamp(call, call.output))


def _sub(call: Call) -> Converted:
    return _common_scale(call, Sub, _SUM_LEFT_SHIFTS, 1, clamp(call, call.output))


def _squared_difference(call: Call) -> Converted:
    tensors = {"first input": call.input(0, "first input"), "second input": call.input(1, "second input")}
    zero_points = [scale_and_zero_point(x, role)[1] for role, x in {**tensors, "output": call.output}.items()]
    if call.output.dtype == INT16 and any(zero_points):
        raise Refused(f"the zero points are {', '.join(map(str, zero_points))}; of int16 all must be 0")
    refuse_in_litert(call, call.output.dtype == INT16, "it is of int16, which LiteRT refuses")
    return _common_scale(call, SquaredDifference, _SQUARE_LEFT_SHIFTS, 2, full_range(call.output.dtype))


def _add_n(call: Call) -> Converted:
    refuse_in_litert(call, True, "LiteRT adds float32 and int32 only")
    inputs, y = [call.input(index, f"input {index}") for index in range(len(call.inputs))], call.output
    x_scale, x_zero = scale_and_zero_point(call.input(0, "input 0"), "input 0")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    for index, x in enumerate(inputs):
        if scale_and_zero_point(x, f"input {index}") != (x_scale, x_zero):
            raise Refused("the inputs have different scales or zero points, which the runtime refuses", "use ADD")
    requant = Requant.from_scales(x_scale / y_scale / (1 << FRACTION_BITS))
    return Converted(AddN(x_zero, y_zero, requant), tuple(inputs))


def _div(call: Call) -> Converted:
    a, b, y = call.input(0, "first input"), call.input(1, "second input"), call.output
    a_scale, a_zero = scale_and_zero_point(a, "first input")
    b_scale, b_zero = scale_and_zero_point(b, "second input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    nonzero = b.data is not None and bool(np.all(b.data != b_zero))
    refuse_in_litert(call, not nonzero, "a divisor can be zero, for which LiteRT gives up the inference")
    # Product and quotient of the scales are float32 in the runtime.
    real = np.float32(a_scale) / (np.float32(b_scale) * np.float32(y_scale))
    if not 0 < real < np.inf:
        raise Refused(f"the scales {a_scale:g}, {b_scale:g} and {y_scale:g} have no quotient in float32")
    multiplier, shift = quantize_multiplier(float(real))
    op = Div(a_zero, b_zero, y_zero, multiplier, shift, clamp(call, y))
    return Converted(op, (a, b))


def _mul(call: Call) -> Converted:
    a, b, y = call.input(0, "first input"), call.input(1, "second input"), call.output
    a_scale, a_zero = scale_and_zero_point(a, "first input")
    b_scale, b_zero = scale_and_zero_point(b, "second input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    if a.dtype == INT16 and (a_zero or b_zero or y_zero):
        raise Refused(
            f"the zero points are {a_zero}, {b_zero} and {y_zero}, the runtimes multiply int16 only when all are 0"
        )
    op = Mul(
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        output_zero_point=y_zero,
        requant=Requant.from_scales(factor(call, a_scale, b_scale, over=y_scale)),
        clamp=clamp(call, y),
    )
    return Converted(op, (a, b))


def _extremum(call: Call, op: type[Maximum] | type[Minimum]) -> Converted:
    a, b = call.input(0, "first input"), call.input(1, "second input")
    tensors = {"first input": a, "second input": b, "output": call.output}
    # Float32 has no scale; integers need none, raw values are compared.
    scales = {tensor.quant and scale_and_zero_point(tensor, role) for role, tensor in tensors.items()}
    if a.dtype != FLOAT32 and len(scales) != 1:
        raise Refused("inputs and output have different scales or zero points, which the runtimes ignore")
    return Converted(op(), (a, b))


def _maximum(call: Call) -> Converted:
    return _extremum(call, Maximum)


def _minimum(call: Call) -> Converted:
    return _extremum(call, Minimum)


def _quantize(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(y, "output")
    if x.dtype == FLOAT32:
        return Converted(Quantize(scale, zero_point, y.dtype), (x,))
    x_scale, x_zero = scale_and_zero_point(x, "input")
    refuse_in_litert(call, (x.dtype, y.dtype) == (INT8, INT32), "it makes int32 of int8, which LiteRT refuses")
    if x.dtype == y.dtype == INT16:
        refuse_int16_zero_points(call, x, y)
    return Converted(Requantize(x_zero, zero_point, Requant.from_scales(x_scale / scale), y.dtype), (x,))


def _dequantize(call: Call) -> Converted:
    x = call.input(0, "input")
    refuse_int16_zero_points(call, x)
    return Converted(Dequantize(*scale_and_zero_point(x, "input")), (x,))


def _cast(call: Call) -> Converted:
    # Like the runtimes, by the tensors' types; the options repeat them.
    return Converted(Cast(call.output.dtype), (call.input(0, "input"),))


def _prelu(call: Call) -> Converted:
    x, alpha, y = call.input(0, "input"), call.input(1, "slope"), call.output
    x_scale, x_zero = scale_and_zero_point(x, "input")
    alpha_scale, alpha_zero = scale_and_zero_point(alpha, "slope")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    refuse_in_litert(call, x.shape != y.shape, "the slope is larger than the input, which LiteRT refuses")
    op = Prelu(
        zero_point=x_zero,
        alpha_zero_point=alpha_zero,
        output_zero_point=y_zero,
        requant=Requant.from_scales(factor(call, x_scale, over=y_scale)),
        negative_requant=Requant.from_scales(factor(call, x_scale, alpha_scale, over=y_scale)),
    )
    return Converted(op, (x, alpha))


def _float_function(call: Call) -> Converted:
    x = call.input(0, "input")
    if x.dtype != FLOAT32:
        raise Refused(f"the input is {x.dtype}, the runtime computes it in float32 only", _INSTEAD_OF_FUNCTION)
    return Converted(FloatFunction(call.raw.op), (x,))


CONVERTERS: Mapping[str, Converter] = {
    "ADD": _add,
    "ADD_N": _add_n,
    "CAST": _cast,
    **dict.fromkeys(("CEIL", "COS", "EXP", "FLOOR", "LOG", "NEG", "ROUND", "SIN", "SQRT", "SQUARE"), _float_function),
    "DEQUANTIZE": _dequantize,
    "DIV": _div,
    "MAXIMUM": _maximum,
    "MINIMUM": _minimum,
    "MUL": _mul,
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "SQUARED_DIFFERENCE": _squared_difference,
    "SUB": _sub,
}
