"""Float32 arithmetic as ONNX Runtime's CPU provider does it on x86-64, operation by operation.

What it approximates (by rational functions, with fused multiply-adds) is approximated here by the same operations in
the same order, so that every bit is the same. Sources: ``quantize_linear``, ``qladd.cpp``, ``logistic.cpp`` and
``tanh.cpp`` of ONNX Runtime and its library MLAS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray

FloatArray = npt.NDArray[np.float32]

_BEYOND = np.float32(2.0**20)


def fused_multiply_add(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> FloatArray:
    """a * b + c of float32 values, rounded once."""
    first, second, addend = np.broadcast_arrays(
        *(np.asarray(value, np.float32).astype(np.float64) for value in (a, b, c))
    )
    product = first * second  # exact: 48 bits
    total = product + addend
    # What the sum leaves out, exactly (Knuth). Where it is not zero, an odd last bit keeps the second rounding right.
    part = total - product
    error = (product - (total - part)) + (addend - part)
    even = (np.ascontiguousarray(total).view(np.int64) & 1).reshape(total.shape) == 0
    odd = np.where((error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return np.asarray(odd.astype(np.float32))


def dequantize(codes: IntArray, scale: float, zero_point: int) -> FloatArray:
    """``DequantizeLinear``: (code - zero_point) * scale."""
    return np.asarray((np.asarray(codes, np.int64) - zero_point).astype(np.float32) * np.float32(scale))


def quantize(values: FloatArray, scale: float | np.float32, zero_point: int, low: int, high: int) -> IntArray:
    """``QuantizeLinear``: the float32 quotient, ties to even, the zero point added, clamped. NaN gives `low`."""
    with np.errstate(over="ignore", invalid="ignore"):
        quotient = np.asarray(values, np.float32) / np.float32(scale)
    bounded = np.clip(np.nan_to_num(quotient, nan=-np.inf), -_BEYOND, _BEYOND)
    return np.asarray(np.clip(np.rint(bounded).astype(np.int64) + zero_point, low, high))


_LOGISTIC_LIMIT = 18.0
_LOGISTIC_NUMERATOR = (
    4.37031012579801e-11,
    1.15627324459942e-07,
    6.08574864600143e-05,
    8.51377133304701e-03,
    2.48287947061529e-01,
)
_LOGISTIC_DENOMINATOR = (
    6.10247389755681e-13,
    5.76102136993427e-09,
    6.29106785017040e-06,
    1.70198817374094e-03,
    1.16817656904453e-01,
    9.93151921023180e-01,
)
_TANH_LIMIT = 9.0
_TANH_NUMERATOR = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_DENOMINATOR = (
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
)


def logistic(x: FloatArray) -> FloatArray:
    """``MlasComputeLogistic``: an odd rational function of x within +-18, plus a half; not below zero."""
    centred = _odd_quotient(x, _LOGISTIC_LIMIT, _LOGISTIC_NUMERATOR, _LOGISTIC_DENOMINATOR)
    return np.asarray(np.maximum(centred + np.float32(0.5), np.float32(0)))


def tanh(x: FloatArray) -> FloatArray:
    """``MlasComputeTanh``: an odd rational function of x within +-9."""
    return _odd_quotient(x, _TANH_LIMIT, _TANH_NUMERATOR, _TANH_DENOMINATOR)


EXPONENTIAL_LEAST = -103.9720840454
EXPONENTIAL_BIAS = 12582912.0
"""1.5 * 2**23: what is added to it is rounded to an integer."""
LOG2_E = 1.44269504088896341
LOG_2_HIGH, LOG_2_LOW = -6.93145752e-1, -1.42860677e-6
"""The negative logarithm of 2 in two parts, of which the first has few bits."""
EXPONENTIAL_COEFFICIENTS = tuple(
    float.fromhex(text)
    for text in (
        *("0x1.694000p-10", "0x1.125edcp-7", "0x1.555b5ap-5", "0x1.555450p-3"),
        *("0x1.fffff6p-2", "0x1.000000p+0", "0x1.000000p+0"),
    )
)
"""Of highest powers first."""


def exponential(x: FloatArray) -> FloatArray:
    """``MlasComputeSumExp`` for x <= 0, with AVX-512: of x = m log(2) + r, a polynomial of r, times 2**m."""
    bias = np.float32(EXPONENTIAL_BIAS)
    bounded = np.maximum(x, np.float32(EXPONENTIAL_LEAST))
    whole = fused_multiply_add(bounded, LOG2_E, bias) - bias
    rest = fused_multiply_add(whole, LOG_2_LOW, fused_multiply_add(whole, LOG_2_HIGH, bounded))
    return np.ldexp(_polynomial(rest, EXPONENTIAL_COEFFICIENTS), whole.astype(np.int32))


def hard_sigmoid(x: FloatArray, alpha: float, beta: float) -> FloatArray:
    """``HardSigmoid``: alpha * x + beta within 0 and 1, not fused."""
    line = x * np.float32(alpha) + np.float32(beta)
    return np.asarray(np.clip(line, np.float32(0), np.float32(1)))


def leaky_relu(x: FloatArray, alpha: float | FloatArray) -> FloatArray:
    """``LeakyRelu`` and ``PRelu``: negative values times alpha."""
    return np.asarray(np.where(x < 0, x * np.asarray(alpha, np.float32), x))


def _odd_quotient(x: FloatArray, limit: float, numerator: Sequence[float], denominator: Sequence[float]) -> FloatArray:
    """x * p(x * x) / q(x * x) by Horner's scheme, of highest powers first."""
    bounded = np.clip(x, np.float32(-limit), np.float32(limit))
    square = bounded * bounded
    above, below = (_polynomial(square, coefficients) for coefficients in (numerator, denominator))
    return np.asarray(above * bounded / below)


def _polynomial(x: FloatArray, coefficients: Sequence[float]) -> FloatArray:
    value: npt.NDArray[Any] = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = fused_multiply_add(value, x, np.float32(coefficient))
    return value
