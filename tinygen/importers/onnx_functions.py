"""Functions of real values as ONNX Runtime computes them in float32, and how far off it can be where it approximates.

What float32 rounds correctly is the same everywhere. Exponentials, logarithms and the like are approximated within a
few units in the last place, by polynomials that differ from processor to processor: they are intervals here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from tinygen import float32
from tinygen.float32 import FloatArray

Attributes = Mapping[str, Any]
_ONE = np.float32(1)


@dataclass(frozen=True)
class Reals:
    """Float32 values, and what they lie between."""

    low: FloatArray
    middle: FloatArray
    """By functions that are rounded correctly."""
    high: FloatArray

    @staticmethod
    def exactly(values: FloatArray) -> Reals:
        """Values that are known."""
        return Reals(values, values, values)

    @property
    def are_exact(self) -> bool:
        """Whether all are known."""
        return bool(np.array_equal(self.low, self.high, equal_nan=True))


Function = Callable[[Attributes, Sequence[Reals]], Reals | None]
"""Of a node's attributes and operands; None where it has no such operands."""


def _mapped(function: Callable[..., FloatArray], *operands: Reals) -> Reals:
    """What float32 computes the same everywhere; it is monotone in each operand between its ends."""
    with np.errstate(all="ignore"):
        middle = np.asarray(function(*(x.middle for x in operands)), np.float32)
        if all(x.are_exact for x in operands):
            return Reals.exactly(middle)
        ends = [function(*corner) for corner in itertools.product(*((x.low, x.high) for x in operands))]
        return Reals(np.minimum.reduce([middle, *ends]), middle, np.maximum.reduce([middle, *ends]))


def _about(function: Callable[[Any], Any], units: int, x: Reals) -> Reals:
    """A function that is off by so many units in the last place, but where its results are float32 values."""

    def rounded(values: FloatArray) -> FloatArray:
        return np.asarray(function(values.astype(np.float64)), np.float32)

    found = _mapped(rounded, x)
    with np.errstate(all="ignore"):
        is_value = (function(x.middle.astype(np.float64)) == found.middle) & (x.low == x.high)
    low, high = found.low, found.high
    for _ in range(units):
        low, high = np.nextafter(low, np.float32(-np.inf)), np.nextafter(high, np.float32(np.inf))
    return Reals(np.where(is_value, found.low, low), found.middle, np.where(is_value, found.high, high))


def _exponential(x: Reals) -> Reals:
    return _about(np.exp, 2, x)


def _logarithm(x: Reals) -> Reals:
    return _about(np.log, 4, x)


def _error_function(x: Reals) -> Reals:
    return _about(np.vectorize(math.erf), 4, x)


def _inverse(x: Reals) -> Reals:
    return _mapped(lambda x: _ONE / x, x)


# --- operators -------------------------------------------------------------------------------------------------------


def _by(function: Callable[..., Any], count: int = 1) -> Function:
    """An operator of so many operands, without attributes."""

    def evaluated(_: Attributes, operands: Sequence[Reals]) -> Reals | None:
        return _mapped(function, *operands) if len(operands) == count else None

    return evaluated


def _in_turn(function: Callable[..., Any]) -> Function:
    """An operator of any number of operands, from the first to the last."""

    def evaluated(_: Attributes, operands: Sequence[Reals]) -> Reals | None:
        total = operands[0]
        for operand in operands[1:]:
            total = _mapped(function, total, operand)
        return total

    return evaluated


def _with(function: Callable[..., Any], **defaults: float) -> Function:
    """An operator of one operand, and attributes."""

    def evaluated(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
        given = [float(attributes.get(name, default)) for name, default in defaults.items()]
        return _mapped(lambda x: function(x, *given), operands[0])

    return evaluated


def _of(function: Callable[[Reals], Reals]) -> Function:
    return lambda _, operands: function(operands[0])


def _approximated(function: Callable[[Any], Any], units: int) -> Function:
    """An operator of one operand that is off by so many units in the last place."""
    return _of(lambda x: _about(function, units, x))


def _of_known(function: Callable[..., Any], count: int) -> Function:
    """An operator of so many operands, which need not be monotone, so that they have to be known."""

    def evaluated(_: Attributes, operands: Sequence[Reals]) -> Reals | None:
        is_known = len(operands) == count and all(operand.are_exact for operand in operands)
        return _mapped(function, *operands) if is_known else None

    return evaluated


def _clip(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    """With bounds as operands, or as attributes."""
    bounds = [
        operands[place].middle if place < len(operands) else np.float32(attributes.get(name, default))
        for place, name, default in ((1, "min", -np.inf), (2, "max", np.inf))
    ]
    return _mapped(lambda x: np.minimum(np.maximum(x, bounds[0]), bounds[1]), operands[0])


def _elu(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    alpha = np.float32(attributes.get("alpha", 1.0))
    return _mapped(lambda x, e: np.where(x >= 0, x, alpha * (e - _ONE)), operands[0], _exponential(operands[0]))


def _selu(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    alpha = np.float32(attributes.get("alpha", 1.67326319217681884765625))
    gamma = np.float32(attributes.get("gamma", 1.05070102214813232421875))
    exponential = _exponential(operands[0])
    return _mapped(lambda x, e: np.where(x > 0, gamma * x, gamma * (alpha * e - alpha)), operands[0], exponential)


def _celu(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    alpha = np.float32(attributes.get("alpha", 1.0))
    exponential = _exponential(_mapped(lambda x: x / alpha, operands[0]))
    return _mapped(
        lambda x, e: np.maximum(x, np.float32(0)) + np.minimum(alpha * (e - _ONE), np.float32(0)),
        operands[0],
        exponential,
    )


def _softplus(x: Reals) -> Reals:
    """log(exp(x) + 1), of -x and plus x above zero."""
    folded = _exponential(_mapped(lambda x: -np.abs(x), x))
    return _mapped(lambda x, y: np.maximum(x, np.float32(0)) + y, x, _logarithm(_mapped(lambda e: e + _ONE, folded)))


def _mish(x: Reals) -> Reals:
    """As the standard has it: of other operators."""
    return _mapped(lambda x, y: x * float32.tanh(y), x, _softplus(x))


def _softsign(x: Reals) -> Reals:
    return _mapped(np.multiply, x, _inverse(_mapped(lambda x: _ONE + np.abs(x), x)))


def _swish(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    alpha = np.float32(attributes.get("alpha", 1.0))
    return _mapped(lambda x: x * float32.logistic(x * alpha), operands[0])


def _gelu_by_tanh(x: FloatArray) -> FloatArray:
    slope = np.float32(math.sqrt(2 / math.pi))
    inner = x * (np.float32(0.044715) * slope * x * x + slope)
    return np.asarray(np.float32(0.5) * x * (float32.tanh(inner) + _ONE))


def _gelu(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    (x,) = operands
    if attributes.get("approximate", "none") == "tanh":
        return _mapped(_gelu_by_tanh, x)
    error = _error_function(_mapped(lambda x: x * np.float32(math.sqrt(0.5)), x))
    return _mapped(lambda x, e: np.float32(0.5) * x * (e + _ONE), x, error)


def _pow(_: Attributes, operands: Sequence[Reals]) -> Reals | None:
    x, exponents = operands
    if exponents.middle.size != 1 or not exponents.are_exact:
        return None
    exponent = float(exponents.middle.reshape(-1)[0])
    if exponent == 2:
        return _mapped(lambda x: x * x, x)
    if exponent == 3:
        return _mapped(lambda x: x * x * x, x)
    return _about(lambda values: values**exponent, 2, x)


def _batch_normalization(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    """x * s + b, not fused, with s and b of each channel."""
    if len(operands) != 5 or attributes.get("training_mode", 0):
        return None
    scale, bias, mean, variance = (operand.middle for operand in operands[1:])
    factor = scale * (_ONE / np.sqrt(variance + np.float32(attributes.get("epsilon", 1e-5))))
    return _mapped(lambda x: x * factor + (bias - mean * factor), operands[0])


def _shrink(x: FloatArray, bias: float, bound: float) -> FloatArray:
    moved, far = np.float32(bias), np.float32(bound)
    return np.asarray(np.where(x < -far, x + moved, np.where(x > far, x - moved, np.float32(0))))


def _thresholded(x: FloatArray, alpha: float) -> FloatArray:
    return np.asarray(np.where(x > np.float32(alpha), x, np.float32(0)))


def _mean(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    total = _in_turn(np.add)(attributes, operands)
    return None if total is None else _mapped(lambda x: x * (_ONE / np.float32(len(operands))), total)


def _modulo(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    """The remainder with the sign of the dividend, the only one of floats."""
    return _of_known(np.fmod, 2)(attributes, operands)


def _cast(attributes: Attributes, operands: Sequence[Reals]) -> Reals | None:
    """To float32, which truth values are already; or to these."""
    if attributes.get("to") == TensorProto.FLOAT:
        return operands[0]
    if attributes.get("to") == TensorProto.BOOL:
        return _of_known(lambda x: x != 0, 1)(attributes, operands)
    return None


# Truth values are the numbers 0 and 1.
FUNCTIONS: Mapping[str, Function] = {
    "Abs": _by(np.abs),
    "Acos": _approximated(np.arccos, 6),
    "Acosh": _approximated(np.arccosh, 3),
    "Add": _by(np.add, 2),
    "And": _by(np.minimum, 2),
    "Asin": _approximated(np.arcsin, 6),
    "Asinh": _approximated(np.arcsinh, 3),
    "Atan": _approximated(np.arctan, 6),
    "Atanh": _approximated(np.arctanh, 3),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Ceil": _by(np.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _approximated(np.cos, 4),
    "Cosh": _approximated(np.cosh, 4),
    "Div": _by(np.divide, 2),
    "Elu": _elu,
    "Equal": _of_known(np.equal, 2),
    "Erf": _of(_error_function),
    "Exp": _of(_exponential),
    "Floor": _by(np.floor),
    "Gelu": _gelu,
    "Greater": _by(np.greater, 2),
    "GreaterOrEqual": _by(np.greater_equal, 2),
    "HardSigmoid": _with(float32.hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": _by(lambda x: x * float32.hard_sigmoid(x, 1 / 6, 0.5)),
    "LeakyRelu": _with(float32.leaky_relu, alpha=0.01),
    "Less": _by(np.less, 2),
    "LessOrEqual": _by(np.less_equal, 2),
    "Log": _of(_logarithm),
    "Max": _in_turn(np.maximum),
    "Mean": _mean,
    "Min": _in_turn(np.minimum),
    "Mish": _of(_mish),
    "Mod": _modulo,
    "Mul": _by(np.multiply, 2),
    "Neg": _by(np.negative),
    "Not": _by(lambda x: _ONE - x),
    "Or": _by(np.maximum, 2),
    "PRelu": _by(float32.leaky_relu, 2),
    "Pow": _pow,
    "Reciprocal": _of(_inverse),
    "Relu": _by(lambda x: np.maximum(x, np.float32(0))),
    "Round": _by(np.rint),
    "Selu": _selu,
    "Shrink": _with(_shrink, bias=0.0, lambd=0.5),
    "Sigmoid": _by(float32.logistic),
    "Sign": _by(np.sign),
    "Sin": _approximated(np.sin, 4),
    "Sinh": _approximated(np.sinh, 4),
    "Softplus": _of(_softplus),
    "Softsign": _of(_softsign),
    "Sqrt": _by(np.sqrt),
    "Sub": _by(np.subtract, 2),
    "Sum": _in_turn(np.add),
    "Swish": _swish,
    "Tan": _approximated(np.tan, 3),
    "Tanh": _by(float32.tanh),
    "ThresholdedRelu": _with(_thresholded, alpha=1.0),
    "Where": _by(lambda c, a, b: np.where(c != 0, a, b), 3),
    "Xor": _by(np.not_equal, 2),
}
"""By operator. Measured in units in the last place, ONNX Runtime is within 0.9 for Exp and Tan, 1.0 for Erf, 1.8 for
Acosh, Asinh, Atanh, Cosh and Sinh, 2.3 for Cos and Sin, 3.1 for Log, 3.8 for Atan and 4.1 for Acos and Asin."""
