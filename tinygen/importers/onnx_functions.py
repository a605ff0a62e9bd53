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

from tinygen import float32
from tinygen.float32 import FloatArray
from tinygen.importers import onnx_steps
from tinygen.importers.onnx_steps import STEPS, Attributes, of_channels
from tinygen.ops import float_expression
from tinygen.ops.float_expression import TRUTHS

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


# --- operators -------------------------------------------------------------------------------------------------------


def _by(function: Callable[..., Any]) -> Function:
    """An operator of one operand, without attributes."""
    return _of(lambda x: _mapped(function, x))


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
    return _mapped(lambda x, y: x * (_ONE / y), x, _mapped(lambda x: _ONE + np.abs(x), x))


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
    x, *given = operands
    found = of_channels(attributes, *(operand.middle for operand in given)) if len(given) == 4 else None
    return None if found is None else _mapped(lambda x: x * found[0] + found[1], x)


def _shrink(x: FloatArray, bias: float, bound: float) -> FloatArray:
    moved, far = np.float32(bias), np.float32(bound)
    return np.asarray(np.where(x < -far, x + moved, np.where(x > far, x - moved, np.float32(0))))


def _thresholded(x: FloatArray, alpha: float) -> FloatArray:
    return np.asarray(np.where(x > np.float32(alpha), x, np.float32(0)))


def _modulo(_: Attributes, operands: Sequence[Reals]) -> Reals | None:
    """The remainder with the sign of the dividend, the only one of floats: of operands that are known."""
    return _mapped(np.fmod, *operands) if all(operand.are_exact for operand in operands) else None


_FUNCTIONS: Mapping[str, Function] = {
    "Acos": _approximated(np.arccos, 6),
    "Acosh": _approximated(np.arccosh, 3),
    "Asin": _approximated(np.arcsin, 6),
    "Asinh": _approximated(np.arcsinh, 3),
    "Atan": _approximated(np.arctan, 6),
    "Atanh": _approximated(np.arctanh, 3),
    "BatchNormalization": _batch_normalization,
    "Ceil": _by(np.ceil),
    "Celu": _celu,
    "Cos": _approximated(np.cos, 4),
    "Cosh": _approximated(np.cosh, 4),
    "Elu": _elu,
    "Erf": _of(_error_function),
    "Exp": _of(_exponential),
    "Floor": _by(np.floor),
    "Gelu": _gelu,
    "Log": _of(_logarithm),
    "Mish": _of(_mish),
    "Mod": _modulo,
    "Pow": _pow,
    "Round": _by(np.rint),
    "Selu": _selu,
    "Shrink": _with(_shrink, bias=0.0, lambd=0.5),
    "Sigmoid": _by(float32.logistic),
    "Sign": _by(np.sign),
    "Sin": _approximated(np.sin, 4),
    "Sinh": _approximated(np.sinh, 4),
    "Softplus": _of(_softplus),
    "Softsign": _of(_softsign),
    "Swish": _swish,
    "Tan": _approximated(np.tan, 3),
    "Tanh": _by(float32.tanh),
    "ThresholdedRelu": _with(_thresholded, alpha=1.0),
}
"""By operator. Measured in units in the last place, ONNX Runtime is within 0.9 for Exp and Tan, 1.0 for Erf, 1.8 for
Acosh, Asinh, Atanh, Cosh and Sinh, 2.3 for Cos and Sin, 3.1 for Log, 3.8 for Atan and 4.1 for Acos and Asin."""
OPERATORS = frozenset((*_FUNCTIONS, *STEPS))


def applied(op: str, attributes: Attributes, operands: Sequence[Reals | None]) -> Reals | None:
    """An operator's result; None where it is none of these, or has other operands. None stands for one left out."""
    if op in STEPS:
        found: Reals | None = onnx_steps.applied(op, attributes, operands, _step)
        return found
    given = [operand for operand in operands if operand is not None]
    return _FUNCTIONS[op](attributes, given) if op in _FUNCTIONS and len(given) == len(operands) else None


def _step(function: str, *operands: Reals | float | None) -> Reals | None:
    """None where an operand is not known that has to be: what makes truth values is not monotone."""
    given = [Reals.exactly(np.asarray(x, np.float32)) if isinstance(x, float) else x for x in operands]
    known = [x for x in given if x is not None and (x.are_exact or function not in TRUTHS)]
    return _mapped(float_expression.FUNCTIONS[function].compute, *known) if len(known) == len(given) else None
