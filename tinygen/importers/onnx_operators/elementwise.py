"""What works on two tensors, value by value, and joins of tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.float32 import quantize
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, codes_offset, constant, scale_and_zero_point
from tinygen.importers.onnx_expressions import EXPRESSION
from tinygen.importers.onnx_operators.curves import requantised
from tinygen.importers.onnx_operators.weights import expect_finite
from tinygen.ir import Shape, Tensor
from tinygen.ops.common import FLOAT32, full_range
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.extremum import Maximum, Minimum
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.mul import Mul
from tinygen.ops.quantize import Dequantize
from tinygen.rescaling import FloatRequant


def _operands(call: Call) -> tuple[Tensor, Tensor]:
    if len(call.inputs) != 2:
        raise Refused(f"it has {len(call.inputs)} inputs, supported are two")
    return call.input(0, "first input"), call.input(1, "second input")


def _pair(call: Call) -> Converted:
    """In float32, as ONNX Runtime does between DequantizeLinear and QuantizeLinear."""
    return _in_float(call, call.op, *_operands(call), call.output)


def _in_float(call: Call, op: str, a: Tensor, b: Tensor, y: Tensor) -> Converted:
    a_scale, a_zero = scale_and_zero_point(a, "first input")
    b_scale, b_zero = scale_and_zero_point(b, "second input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    pair = FloatPair(op, float(a_scale), a_zero, float(b_scale), b_zero, float(y_scale), y_zero, clamp(call))
    return Converted(pair, (a, b), (y,))


def _quotient(call: Call) -> Converted:
    """Of which a divisor of zero can be no number, and what Relu and Clip make of that depends on the processor."""
    b, y = call.input(1, "second input"), call.output
    can_be_zero = b.data is None or np.any(b.data == scale_and_zero_point(b, "second input")[1])
    if can_be_zero and clamp(call) != full_range(y.dtype):
        raise Refused(
            "Relu or Clip between it and QuantizeLinear cuts into the range of the output, and its divisor can be zero",
            "leave Relu or Clip out, or quantise its input, too",
        )
    return _pair(call)


def _sum(call: Call) -> Converted:
    """Of two, as Add that is not fused."""
    return _in_float(call, "Add", *_operands(call), call.output)


def _extremum(call: Call) -> Sequence[Converted]:
    """Of integers in the scale of the output: QuantizeLinear keeps the order, so that it may come first."""
    y, op = call.output, Maximum() if call.op == "Max" else Minimum()
    if len(call.inputs) < 2:
        raise Refused("it has one input", "leave it out")
    alike = [_in_scale_of_output(call, index, f"input {index}") for index in range(len(call.inputs))]
    parts = [step for _, steps in alike for step in steps]
    found = alike[0][0]
    for index, (x, _) in enumerate(alike[1:], 2):
        shape = np.broadcast_shapes(found.shape, x.shape)
        extreme = y if index == len(alike) else Tensor(f"{y.name}~of {index}", shape, y.dtype, y.quant)
        parts.append(Converted(op, (found, x), (extreme,)))
        found = extreme
    return parts


def _add(call: Call) -> Converted:
    """By ONNX Runtime's own operator on integers, where it has one type for all."""
    if call.in_float or not call.alike:
        return _pair(call)
    a, b = _operands(call)
    a_scale, a_zero = scale_and_zero_point(a, "first input")
    b_scale, b_zero = scale_and_zero_point(b, "second input")
    y_scale, y_zero = scale_and_zero_point(call.output, "output")
    of_a, of_b = (float(a_scale), a_zero), (float(b_scale), b_zero)
    if _is_one_for_many(a.shape, b.shape):  # it exchanges them
        a, b, of_a, of_b = b, a, of_b, of_a
    op = FloatAdd(*of_a, *of_b, float(y_scale), y_zero, clamp(call), codes_offset(call))
    expect_finite(op.gains)
    return Converted(op, (a, b))


def _is_one_for_many(a: Shape, b: Shape) -> bool:
    """Whether each value of `a` meets several of `b` in a row: `a` is one in the innermost dimension that counts."""
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return next((pair[0] == 1 for pair in reversed(list(pairs)) if pair != (1, 1)), False)


def _mul(call: Call) -> Converted:
    """The same; the zero point is added before the product is rounded."""
    if call.in_float or not call.alike:
        return _pair(call)
    a, b = _operands(call)
    a_scale, a_zero = scale_and_zero_point(a, "first input")
    b_scale, b_zero = scale_and_zero_point(b, "second input")
    y_scale, y_zero = scale_and_zero_point(call.output, "output")
    factors = FloatRequant.from_scales(a_scale, b_scale, y_scale).factors
    expect_finite(factors)
    return Converted(
        Mul(a_zero, b_zero, y_zero, FloatRequant(factors, y_zero + codes_offset(call)), clamp(call)), (a, b)
    )


def _concat(call: Call) -> Sequence[Converted]:
    """Inputs of other scales are requantised first."""
    y = call.output
    axis = int(call.attribute("axis"))
    if not -len(y.shape) <= axis < len(y.shape):
        raise Refused(f"its axis {axis} is not in its output {y.shape}")
    join = _real if y.dtype == FLOAT32 else _in_scale_of_output
    alike = [join(call, index, f"input {index}") for index in range(len(call.inputs))]
    outer = math.prod(y.shape[: axis % len(y.shape)])
    joined = Converted(Concatenation(y.shape, outer), tuple(x for x, _ in alike), (y,))
    return [*(step for _, steps in alike for step in steps), joined]


def _where(call: Call) -> Sequence[Converted]:
    """Of values in one scale, by what keeps them or makes them the least of all: the larger ones are chosen."""
    y, is_first = call.output, call.constant(0, "condition").astype(np.bool_)
    steps: list[Converted] = []
    choices = []
    for index, (role, is_chosen) in enumerate((("first value", is_first), ("second value", ~is_first)), 1):
        x, before = _in_scale_of_output(call, index, role)
        bound = constant(f"{y.name}~bound {index}", np.where(is_chosen, *full_range(y.dtype)[::-1]).astype(y.dtype))
        choice = Tensor(f"{y.name}~of {index}", np.broadcast_shapes(x.shape, is_chosen.shape), y.dtype, y.quant)
        steps += [*before, Converted(Minimum(), (x, bound), (choice,))]
        choices.append(choice)
    return [*steps, Converted(Maximum(), tuple(choices), (y,))]


def _real(call: Call, index: int, role: str) -> tuple[Tensor, list[Converted]]:
    """An input in float32, and what makes it that."""
    x = call.input(index, role)
    if x.dtype == FLOAT32:
        return x, []
    scale, zero_point = scale_and_zero_point(x, role)
    same = Tensor(f"{call.output.name}~{index}", x.shape, FLOAT32)
    return same, [Converted(Dequantize(float(scale), zero_point), (x,), (same,))]


def _in_scale_of_output(call: Call, index: int, role: str) -> tuple[Tensor, list[Converted]]:
    """An input with the scale, and the bounds, of the output, and what makes it that; also of float32 constants."""
    x, y = call.input(index, role), call.output
    (scale, zero_point), limits = scale_and_zero_point(y, "output"), clamp(call)
    same = Tensor(f"{y.name}~{index}", x.shape, y.dtype, y.quant)
    if x.dtype == FLOAT32 and x.data is not None:
        return constant(same.name, quantize(x.data, scale, zero_point, *limits).astype(y.dtype), y.quant), []
    if scale_and_zero_point(x, role) == (scale, zero_point) and limits == full_range(y.dtype):
        return x, []
    return same, [requantised(x, same, limits)]


def _expression(call: Call) -> Converted:
    """Operators in a row, which make one."""
    return Converted(
        call.attribute("expression"), tuple(call.input(index, "input") for index in range(len(call.inputs)))
    )


CONVERTERS: Mapping[str, Converter] = {
    EXPRESSION: _expression,
    "Add": _add,
    "Concat": _concat,
    "Div": _quotient,
    "Max": _extremum,
    "Min": _extremum,
    "Mul": _mul,
    "Sub": _pair,
    "Sum": _sum,
    "Where": _where,
}
