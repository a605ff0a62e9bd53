"""Operators on two tensors, value by value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinygen.fixedpoint import FloatRequant
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import QUANTISE, Call, Converter, clamp, scale_and_zero_point
from tinygen.importers.onnx_file import shortened
from tinygen.importers.onnx_operators.weights import expect_finite
from tinygen.ir import Shape, Tensor
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pair import FUNCTIONS, FloatPair
from tinygen.ops.mul import Mul


def _operands(call: Call) -> tuple[Tensor, Tensor]:
    a, b = call.input(0, "first operand"), call.input(1, "second operand")
    if len(call.inputs) > 2:
        raise Refused(f"it has {len(call.inputs)} operands, supported are two", "split it into operators on two")
    for tensor in (a, b):
        if tensor.data is not None and tensor.quant is None:
            raise Refused(f"its constant {shortened(tensor.name)!r} is not quantised", QUANTISE)
    return a, b


def _add(call: Call) -> Converted:
    if not call.alike:
        return _pair(call)
    a, b = _operands(call)
    if _runs_along(a.shape, b.shape):  # the runtime exchanges operands
        a, b = b, a
    op = FloatAdd(*_scales(a, b, call.output), clamp(call), _offset(call))
    expect_finite(op.gains)
    return Converted(op, (a, b))


def _runs_along(a: Shape, b: Shape) -> bool:
    """Whether each value of `a` meets several of `b` in a row: `a` is one in the innermost dimension that counts."""
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    innermost = [pair for pair in pairs if pair != (1, 1)]
    return bool(innermost) and innermost[-1][0] == 1


def _mul(call: Call) -> Converted:
    if not call.alike:
        return _pair(call)
    a, b = _operands(call)
    a_scale, a_zero, b_scale, b_zero, scale, zero_point = _scales(a, b, call.output)
    factor = np.float32(a_scale) * np.float32(b_scale) / np.float32(scale)
    requant = FloatRequant((float(factor),), zero_point + _offset(call))
    expect_finite(requant.factors)
    return Converted(Mul(a_zero, b_zero, zero_point, requant, clamp(call)), (a, b))


def _pair(call: Call) -> Converted:
    a, b = _operands(call)
    return Converted(FloatPair(call.op, *_scales(a, b, call.output), clamp(call)), (a, b))


def _scales(a: Tensor, b: Tensor, y: Tensor) -> tuple[float, int, float, int, float, int]:
    (a_scale, a_zero), (b_scale, b_zero), (scale, zero_point) = (
        scale_and_zero_point(tensor, role)
        for tensor, role in ((a, "first operand"), (b, "second operand"), (y, "output"))
    )
    return float(a_scale), a_zero, float(b_scale), b_zero, float(scale), zero_point


def _offset(call: Call) -> int:
    """What the runtime's codes are larger by than int8."""
    return 128 if call.on_uint8 else 0


CONVERTERS: Mapping[str, Converter] = {
    **dict.fromkeys(FUNCTIONS, _pair),
    "Add": _add,
    "Mul": _mul,
}
