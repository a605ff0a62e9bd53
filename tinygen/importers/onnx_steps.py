"""Operators that are a few steps in float32, each rounded once, whatever stands for their operands: one table of them.

Functions of one tensor of integers and expressions of several tensors are both made of these steps. Who asks says what
a step does with its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from tinygen.float32 import FloatArray

Attributes = Mapping[str, Any]
Value = Any
"""What stands for an operand, of the kind that who asks has; or a number."""
Apply = Callable[..., Value]
"""One step: of the name of one of `tinygen.ops.float_expression.FUNCTIONS`, and its operands."""
Build = Callable[[Apply, Attributes, Sequence[Value]], Value | None]
"""An operator's result; None where it has no such operands."""


def applied(op: str, attributes: Attributes, operands: Sequence[Value | None], apply: Apply) -> Value | None:
    """An operator's result; None where it is none of these, or has other operands. None stands for one left out."""
    build = STEPS.get(op)
    if build is None or not operands or any(x is None for x in (operands[:1] if op in _OPTIONAL else operands)):
        return None
    return build(apply, attributes, operands)


def of_channels(
    attributes: Attributes, scale: FloatArray, bias: FloatArray, mean: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """What BatchNormalization, not fused, multiplies each channel by, and what it adds then; None while training."""
    if attributes.get("training_mode", 0):
        return None
    factor = scale * (np.float32(1) / np.sqrt(variance + np.float32(attributes.get("epsilon", 1e-5))))
    return factor, bias - mean * factor


def _one(function: str) -> Build:
    return lambda apply, _, x: apply(function, x[0])


def _pair(function: str) -> Build:
    return lambda apply, _, x: apply(function, *x) if len(x) == 2 else None


def _in_turn(function: str) -> Build:
    """Of any number of operands, from the first to the last."""

    def built(apply: Apply, _: Attributes, x: Sequence[Value]) -> Value:
        found = x[0]
        for operand in x[1:]:
            found = apply(function, found, operand)
        return found

    return built


def _mean(apply: Apply, attributes: Attributes, x: Sequence[Value]) -> Value:
    return apply("Mul", _in_turn("Add")(apply, attributes, x), float(np.float32(1) / np.float32(len(x))))


def _cast(apply: Apply, attributes: Attributes, x: Sequence[Value]) -> Value | None:
    """To float32, which truth values are already; or to these."""
    if attributes.get("to") == TensorProto.FLOAT:
        return x[0]
    return apply("NotEqual", x[0], 0.0) if attributes.get("to") == TensorProto.BOOL else None


def _clip(apply: Apply, attributes: Attributes, x: Sequence[Value]) -> Value:
    """With bounds as operands, or as attributes."""
    found = x[0]
    for place, name, function in ((1, "min", "Max"), (2, "max", "Min")):
        bound = x[place] if place < len(x) else attributes.get(name)
        found = found if bound is None else apply(function, found, bound)
    return found


def _hard_sigmoid(apply: Apply, x: Value, alpha: float, beta: float) -> Value:
    line = apply("Add", apply("Mul", x, float(np.float32(alpha))), float(np.float32(beta)))
    return apply("Min", apply("Max", line, 0.0), 1.0)


STEPS: Mapping[str, Build] = {
    "Abs": _one("Abs"),
    "Add": _pair("Add"),
    "And": _pair("Min"),
    "Cast": _cast,
    "Clip": _clip,
    "Div": _pair("Div"),
    "Equal": _pair("Equal"),
    "Greater": _pair("Greater"),
    "GreaterOrEqual": _pair("GreaterOrEqual"),
    "HardSigmoid": lambda apply, at, x: _hard_sigmoid(apply, x[0], at.get("alpha", 0.2), at.get("beta", 0.5)),
    "HardSwish": lambda apply, _, x: apply("Mul", x[0], _hard_sigmoid(apply, x[0], 1 / 6, 0.5)),
    "LeakyRelu": lambda apply, at, x: apply("PRelu", x[0], float(np.float32(at.get("alpha", 0.01)))),
    "Less": _pair("Less"),
    "LessOrEqual": _pair("LessOrEqual"),
    "Max": _in_turn("Max"),
    "Mean": _mean,
    "Min": _in_turn("Min"),
    "Mul": _pair("Mul"),
    "Neg": _one("Neg"),
    "Not": lambda apply, _, x: apply("Sub", 1.0, x[0]),
    "Or": _pair("Max"),
    "PRelu": _pair("PRelu"),
    "Reciprocal": lambda apply, _, x: apply("Div", 1.0, x[0]),
    "Relu": lambda apply, _, x: apply("Max", x[0], 0.0),
    "Sqrt": _one("Sqrt"),
    "Sub": _pair("Sub"),
    "Sum": _in_turn("Add"),
    "Where": lambda apply, _, x: apply("Where", *x) if len(x) == 3 else None,
    "Xor": _pair("NotEqual"),
}
"""By operator, of its attributes and operands. Truth values are the numbers 0 and 1."""
_OPTIONAL = ("Clip",)
"""Those whose operands behind the first can be left out."""
