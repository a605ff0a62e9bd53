"""Integer arithmetic of the runtimes that tinygen equals: one function per named rule.

All functions take and return int64 arrays (or Python integers) that hold the values of the original's int32
arithmetic, so that no intermediate can wrap here where it would not wrap there. Sources: TensorFlow Lite's
``quantization_util.cc`` and ``common.h``; gemmlowp's ``fixedpoint.h``, whose names are kept.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinygen.sigmoid_table import SIGMOID_TABLE

IntArray = npt.NDArray[np.int64]
IntLike = npt.ArrayLike

INT16_MIN = -(2**15)
INT16_MAX = 2**15 - 1
INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1


def round_half_away(value: float) -> int:
    """Nearest integer, ties away from zero: C's ``round``."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """``QuantizeMultiplier``: (multiplier, shift) with real = multiplier * 2**(shift - 31), multiplier in int32.

    A factor below 2**-32 becomes (0, 0), as in the original.
    """
    if real == 0.0:
        return 0, 0
    mantissa, shift = math.frexp(real)
    multiplier = round_half_away(mantissa * 2**31)
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def saturating_rounding_doubling_high_mul(a: IntLike, b: IntLike) -> IntArray:
    """``SaturatingRoundingDoublingHighMul``: the high half of 2ab, rounded; only MIN * MIN saturates.

    The original's sign-dependent nudge with truncating division is the same as this floor.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    high: IntArray = (product + (1 << 30)) >> 31
    return np.minimum(high, INT32_MAX)


def saturating_rounding_doubling_high_mul_int16(a: IntLike, b: IntLike) -> IntArray:
    """``SaturatingRoundingDoublingHighMul`` of int16 values: the high half of 2ab, rounded."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    high: IntArray = (product + (1 << 14)) >> 15
    return np.minimum(high, INT16_MAX)


def saturating_doubling_high_mul_int16(a: IntLike, b: IntLike) -> IntArray:
    """``SaturatingDoublingHighMul`` of int16 values: the high half of 2ab, rounded towards zero."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    high: IntArray = np.sign(product) * (np.abs(product) >> 15)
    return np.minimum(high, INT16_MAX)


def saturating_left_shift_int16(x: IntLike, bits: int) -> IntArray:
    """``SaturatingLeftShift``: x * 2**bits, saturated to int16."""
    return np.asarray(np.clip(np.asarray(x, np.int64) << bits, INT16_MIN, INT16_MAX), np.int64)


def down_scale_int32_to_int16_multiplier(multiplier: int) -> int:
    """``DownScaleInt32ToInt16Multiplier``: the high half, rounded and saturated."""
    return min((multiplier + (1 << 15)) >> 16, INT16_MAX)


def rounding_divide_by_pot(x: IntLike, exponent: IntLike) -> IntArray:
    """``RoundingDivideByPOT``: x / 2**exponent, ties away from zero."""
    value = np.asarray(x, np.int64)
    shift = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << shift) - 1
    threshold = (mask >> 1) + (value < 0)
    up = np.asarray((value & mask) > threshold, np.int64)
    return np.asarray((value >> shift) + up, np.int64)


def multiply_by_quantized_multiplier(x: IntLike, multiplier: IntLike, shift: IntLike) -> IntArray:
    """``MultiplyByQuantizedMultiplier`` with double rounding: x * multiplier * 2**(shift - 31).

    `x` times 2**max(shift, 0) must fit int32 (the original's behaviour is undefined otherwise).
    """
    exponent = np.asarray(shift, np.int64)
    scaled = np.asarray(x, np.int64) << np.maximum(exponent, 0)
    high = saturating_rounding_doubling_high_mul(scaled, multiplier)
    return rounding_divide_by_pot(high, np.maximum(-exponent, 0))


def multiply_by_quantized_multiplier_int64(x: IntLike, multiplier: IntLike, shift: IntLike) -> IntArray:
    """``MultiplyByQuantizedMultiplier`` of an int64: x * multiplier * 2**(shift - 31), rounded once, half up.

    The multiplier is reduced to 16 bits first; `x` is defined up to 2**47.
    """
    total_shift = 15 - np.asarray(shift, np.int64)
    product = np.asarray(x, np.int64) * reduced_multiplier(multiplier)
    return np.asarray((product + (np.int64(1) << (total_shift - 1))) >> total_shift, np.int64)


def reduced_multiplier(multiplier: IntLike) -> IntArray:
    """The upper 16 bits of a multiplier, rounded, as ``MultiplyByQuantizedMultiplier`` of an int64 takes them."""
    value = np.asarray(multiplier, np.int64)
    return np.where(value < 0x7FFF0000, (value + (1 << 15)) >> 16, INT16_MAX)


def wrap_int32(x: IntLike) -> IntArray:
    """What is left of a sum in 32 bits of two's complement."""
    return ((np.asarray(x, np.int64) + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def saturating_left_shift(x: IntLike, bits: int) -> IntArray:
    """x * 2**bits, saturated to int32."""
    return np.asarray(np.clip(np.asarray(x, np.int64) << bits, INT32_MIN, INT32_MAX), np.int64)


def rounding_half_sum(a: IntLike, b: IntLike) -> IntArray:
    """``RoundingHalfSum``: (a + b) / 2, ties away from zero."""
    total = np.asarray(a, np.int64) + np.asarray(b, np.int64)
    return np.where(total >= 0, (total + 1) >> 1, -((1 - total) >> 1))


def _exp_on_interval_between_negative_one_quarter_and_0_excl(a: IntArray) -> IntArray:
    """``exp_on_interval_between_negative_one_quarter_and_0_excl``: a 4th-order Taylor expansion around -1/8, Q0.31."""
    x = a + (1 << 28)
    x2 = saturating_rounding_doubling_high_mul(x, x)
    x3 = saturating_rounding_doubling_high_mul(x2, x)
    x4 = saturating_rounding_doubling_high_mul(x2, x2)
    one_third = 715827883
    exp_of_minus_one_eighth = 1895147668
    x4_over_4 = rounding_divide_by_pot(x4, 2)
    tail = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(x4_over_4 + x3, one_third) + x2, 1)
    return exp_of_minus_one_eighth + saturating_rounding_doubling_high_mul(exp_of_minus_one_eighth, x + tail)


# exp(-2**k) in Q0.31 for the bits of the argument above one quarter.
_EXP_BARREL = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def exp_on_negative_values(a: IntLike, integer_bits: int) -> IntArray:
    """``exp_on_negative_values``: exp(a) in Q0.31 for a <= 0 given in Q(integer_bits).(31 - integer_bits)."""
    value = np.asarray(a, np.int64)
    fractional_bits = 31 - integer_bits
    one_quarter = 1 << (fractional_bits - 2)
    modulo_quarter = (value & (one_quarter - 1)) - one_quarter
    result = _exp_on_interval_between_negative_one_quarter_and_0_excl(
        saturating_left_shift(modulo_quarter, integer_bits)
    )
    remainder = modulo_quarter - value
    for exponent, factor in _EXP_BARREL:
        if integer_bits > exponent:
            bit = 1 << (fractional_bits + exponent)
            result = np.where(remainder & bit, saturating_rounding_doubling_high_mul(result, factor), result)
    if integer_bits > 5:
        result = np.where(value < -(1 << (36 - integer_bits)), 0, result)
    return np.where(value == 0, INT32_MAX, result)


def _two_over_one_plus_x_for_x_in_0_1(a: IntLike) -> IntArray:
    """2 / (1 + a) for a in Q0.31, in Q2.29, by three Newton-Raphson steps."""
    half_denominator = rounding_half_sum(a, INT32_MAX)
    constant_48_over_17 = 1515870810
    constant_neg_32_over_17 = -1010580540
    x = constant_48_over_17 + saturating_rounding_doubling_high_mul(half_denominator, constant_neg_32_over_17)
    for _ in range(3):
        product = saturating_rounding_doubling_high_mul(half_denominator, x)
        one_minus_product = (1 << 29) - product
        x = x + saturating_left_shift(saturating_rounding_doubling_high_mul(x, one_minus_product), 2)
    return x


def one_over_one_plus_x_for_x_in_0_1(a: IntLike) -> IntArray:
    """``one_over_one_plus_x_for_x_in_0_1``: 1 / (1 + a), Q0.31 in and out."""
    return saturating_left_shift(_two_over_one_plus_x_for_x_in_0_1(a), 1)


def one_minus_x_over_one_plus_x_for_x_in_0_1(a: IntLike) -> IntArray:
    """``one_minus_x_over_one_plus_x_for_x_in_0_1``: (1 - a) / (1 + a), Q0.31 in and out."""
    return saturating_left_shift(_two_over_one_plus_x_for_x_in_0_1(a) - (1 << 29), 2)


def log_x_for_x_greater_than_or_equal_to_1(a: IntLike) -> IntArray:
    """``log_x_for_x_greater_than_or_equal_to_1``: log(a) in Q5.26 for a in Q12.19.

    a = 2**power * r with r around sqrt(sqrt(1/2)); log(r) is a rational function of 2 (r - sqrt(sqrt(1/2))).
    """
    high_mul = saturating_rounding_doubling_high_mul
    value = np.asarray(a, np.int64)
    sqrt_half, sqrt_sqrt_half, log_2 = 1518500250, 1805811301, 1488522236
    integer_bits, one, quarter = 12, 1 << 25, 1 << 23  # of the power, Q6.25
    # Two ways to split a; the runtime takes the smaller r with the larger power.
    zeros = _leading_zeros(value)
    first = saturating_left_shift(high_mul(value << (zeros - 1), sqrt_half), 1)
    zeros_of_second = _leading_zeros(high_mul(value, sqrt_half))
    second = np.minimum(value << (zeros_of_second - 1), INT32_MAX)
    r = np.minimum(first, second)
    power = np.maximum(
        (integer_bits - zeros) * one + quarter,
        (integer_bits + 1 - zeros_of_second) * one - quarter,
    )
    p = rounding_half_sum(r, sqrt_sqrt_half)
    q = 2 * (r - sqrt_sqrt_half)
    q_squared = high_mul(q, q)
    numerator = high_mul(q, r) + high_mul(high_mul(q, q_squared), 117049297)
    denominator_minus_1 = high_mul(p, 1057819769 + q + high_mul(127690142, q_squared)) + high_mul(638450708, q)
    log_r = high_mul(rounding_divide_by_pot(numerator, 6), one_over_one_plus_x_for_x_in_0_1(denominator_minus_1))
    return saturating_left_shift(high_mul(power, log_2) + log_r, 1)


def inverse_square_root(x: IntLike) -> tuple[IntArray, IntArray]:
    """``GetInvSqrtQuantizedMultiplierExp``: (multiplier, shift), 1 / sqrt(x) = multiplier * 2**(shift - 31), x >= 0.

    Five steps of Newton-Raphson in Q3.28, from 1, for an x that powers of four bring between a half and two. Zero
    counts as one, for which the result is just below one.
    """
    high_mul = saturating_rounding_doubling_high_mul
    value = np.maximum(np.asarray(x, np.int64), 2)
    quarters = np.where(value >= 1 << 29, 1, 0)  # x has 31 bits, so that one is enough
    pairs = np.where(quarters == 1, 0, (_leading_zeros(value) - 1) // 2 - 1)
    half_input = rounding_divide_by_pot(((value >> 2 * quarters) << 2 * pairs) >> 1, 1)
    half_three, half_sqrt_2 = 3 << 27, 1518500250
    y = np.full_like(value, 1 << 28)
    for _ in range(5):
        cube = saturating_left_shift(high_mul(high_mul(y, y), y), 6)
        y = saturating_left_shift(high_mul(half_three, y) - high_mul(half_input, cube), 3)
    y = high_mul(y, half_sqrt_2)
    exponent = 11 + quarters - pairs
    multiplier = np.where(exponent < 0, y << np.maximum(-exponent, 0), y)
    is_one = np.asarray(x, np.int64) <= 1
    return np.where(is_one, INT32_MAX, multiplier), np.where(is_one, 0, -np.maximum(exponent, 0))


def _leading_zeros(value: IntArray) -> IntArray:
    """Of positive int32 values: ``CountLeadingZeros``."""
    return 32 - np.frexp(value.astype(np.float64))[1].astype(np.int64)


def logistic(a: IntLike, integer_bits: int) -> IntArray:
    """``logistic``: 1 / (1 + exp(-a)) in Q0.31 for a in Q(integer_bits).(31 - integer_bits)."""
    value = np.asarray(a, np.int64)
    positive = one_over_one_plus_x_for_x_in_0_1(exp_on_negative_values(-np.abs(value), integer_bits))
    return np.where(value == 0, 1 << 30, np.where(value > 0, positive, INT32_MAX - positive))


def tanh(a: IntLike, integer_bits: int) -> IntArray:
    """``tanh``: in Q0.31 for a in Q(integer_bits).(31 - integer_bits), by exp(-2 |a|)."""
    value = np.asarray(a, np.int64)
    positive = one_minus_x_over_one_plus_x_for_x_in_0_1(exp_on_negative_values(-np.abs(value), integer_bits + 1))
    return np.where(value == 0, 0, np.where(value > 0, positive, -positive))


def logistic_int16(a: IntLike) -> IntArray:
    """int16 ``Logistic`` of ``integer_ops/logistic.h``: 1 / (1 + exp(-a)) in Q0.15, from 1 to 32767.

    `a` counts in units of 1 / (3 * 4096): three times a value in Q3.12. A table is interpolated.
    """
    value = np.asarray(a, np.int64)
    magnitude = _interpolated_sigmoid(np.abs(value), 9, 0x7FFF << 10)
    return np.where(value >= 0, magnitude + (1 << 9), (1 << 25) - magnitude + (1 << 9) - 1) >> 10


def tanh_int16(a: IntLike) -> IntArray:
    """int16 ``Tanh`` of ``integer_ops/tanh.h``: in Q0.15, from -32767 to 32767, as 2 / (1 + exp(-2a)) - 1.

    `a` counts in units of 1 / (3 * 4096): three times a value in Q3.12. A table is interpolated.
    """
    value = np.asarray(a, np.int64)
    magnitude = _interpolated_sigmoid(np.abs(value), 8, 0xFFFF << 8) - (1 << 23)
    return np.where(value >= 0, magnitude + (1 << 7), -magnitude + (1 << 7) - 1) >> 8


def _interpolated_sigmoid(magnitude: IntArray, fraction_bits: int, saturated: int) -> IntArray:
    """The table at magnitude / 2**fraction_bits, in Q0.(16 + fraction_bits); `saturated` from its last entry on."""
    table = SIGMOID_TABLE.astype(np.int64)
    step = np.minimum(magnitude >> fraction_bits, 254)
    fraction = magnitude & ((1 << fraction_bits) - 1)
    value = (table[step] << fraction_bits) + fraction * (table[step + 1] - table[step])
    return np.where(magnitude >> fraction_bits >= 255, saturated, value)


def interpolate_int16(table: npt.NDArray[np.int16], x: IntLike) -> IntArray:
    """``LUTLookup``: a table of 513 entries for int16 values, linearly interpolated between its steps of 128."""
    value, entries = np.asarray(x, np.int64), table.astype(np.int64)
    step = 256 + (value >> 7)
    slope = entries[step + 1] - entries[step]
    return np.asarray(entries[step] + ((slope * (value & 127) + 64) >> 7), np.int64)


def calculate_input_radius(input_integer_bits: int, input_left_shift: int, total_signed_bits: int = 31) -> int:
    """``CalculateInputRadius``: the largest |difference| that still has the given integer bits when rescaled."""
    largest = ((1 << input_integer_bits) - 1) * 2.0 ** (total_signed_bits - input_integer_bits)
    return math.floor(largest / 2.0**input_left_shift)


def quantize_f32(x: npt.NDArray[np.float32], scale: np.float32, zero_point: int, low: int, high: int) -> IntArray:
    """``AffineQuantize``: float32 quotient, ties away from zero, zero point added, clamped to [low, high]."""
    with np.errstate(over="ignore", invalid="ignore"):
        quotient = (np.asarray(x, np.float32) / np.float32(scale)).astype(np.float64)
    # Beyond +-2**24 the clamp decides; it also keeps infinities and NaN out of the conversion.
    bounded = np.clip(np.nan_to_num(quotient, nan=-np.inf), -(2.0**24), 2.0**24)
    rounded = np.trunc(bounded + np.copysign(0.5, bounded)).astype(np.int64)
    return np.clip(rounded + zero_point, low, high)
