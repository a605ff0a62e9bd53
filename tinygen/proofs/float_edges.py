"""Float32 edges of models without a float operation: quotients and products of floats, from their bits.

A float32 is significand * 2**(exponent - 150): a significand of 24 bits, and the exponent as its bits have it. Both
forms are proved when they are made: a quotient by the steps of its rounding, on both sides of each; a product by all
codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.float32 import FloatArray

_INFINITY = 0x7F800000
_HIDDEN = 1 << 23
_QUOTIENT_BITS = 8
"""Behind the point, of the first look at a quotient."""
_OFF = 7
"""Steps of 2**-8 that this is below the quotient at most: 2**-14 + 2**-15 of up to 256, and what is cut off."""

Rule = Callable[[FloatArray], IntArray]
"""Floats to integers that never go down as the floats go up."""


@dataclass(frozen=True)
class IntegerQuotient:
    """|x| / scale in float32, rounded to an integer, ties to even or up, for x of these bits: least <= bits < most.

    With shift = exponent - first_exponent, the quotient is about (significand >> 8) * reciprocal * 2**(shift - 31).
    Where that is at most `near` / 256 below whole + 1/2, an exact difference decides, significand * 2**shift -
    divisor * (2 * whole + 1). The float32 quotient is a tie where it is no more than half a place of the quotient:
    divisor >> 24 - shift, and once more where significand < divisor.
    """

    divisor: int
    """The scale's significand"""
    first_exponent: int
    reciprocal: int
    to_even: bool
    least: int
    """Bits of the least float that becomes one"""
    most: int
    """Bits of the least float that becomes more than is asked for"""

    near: int = _OFF

    @staticmethod
    def of(scale: float, limit: int, rule: Rule, to_even: bool) -> IntegerQuotient | None:
        """For results from 0 to limit - 1, limit <= 256, of `rule`, which the form equals; None where it does not."""
        exponent, divisor = _taken(scale)
        if not 2 <= exponent <= 240:
            return None
        steps = _thresholds(rule, np.arange(1, limit + 1))
        reciprocal = (1 << 38) // divisor
        found = IntegerQuotient(divisor, exponent - 1, reciprocal, to_even, int(steps[0]), int(steps[-1]))
        bits = np.concatenate([steps[:-1], steps[1:] - 1])
        return found if np.array_equal(found.apply(bits), rule(_floats(bits))) else None

    def apply(self, bits: IntArray) -> IntArray:
        """As the C does it, for bits from `least` to `most` - 1."""
        shift = (bits >> 23) - self.first_exponent
        significand = bits & _HIDDEN - 1 | _HIDDEN
        fine = (significand >> 8) * self.reciprocal >> 31 - _QUOTIENT_BITS - shift
        whole, rest = fine >> _QUOTIENT_BITS, fine & (1 << _QUOTIENT_BITS) - 1
        excess = (significand << shift) - self.divisor * (2 * whole + 1)
        place = self.divisor >> 24 - shift >> (significand < self.divisor)
        above = excess > (np.where(whole & 1, ~place, place) if self.to_even else ~place)
        half = 1 << _QUOTIENT_BITS - 1
        return np.asarray(whole + np.where(rest > half, 1, (rest >= half - self.near) & above))


@dataclass(frozen=True)
class IntegerProduct:
    """code * scale in float32 as bits of a float, for codes with |code| <= 255.

    The product of |code| and the scale's significand has 32 bits at most; moved up until it has so many, its upper 24
    are the significand, once they are rounded. `exponent` is that of 2**31 times the scale's last place, less the one
    that the highest bit of a significand adds.
    """

    significand: int
    exponent: int
    rounds: bool
    """Whether some products have more than 24 bits"""

    @staticmethod
    def of(scale: float, low: int, high: int) -> IntegerProduct | None:
        """For codes from low to high, each compared; None where a product is no normal float."""
        exponent, significand = _taken(scale)
        if low < -255 or high > 255:
            return None
        codes = np.arange(low, high + 1)
        with np.errstate(over="ignore"):
            expected = (codes.astype(np.float32) * np.float32(scale)).view(np.uint32)
        for rounds in (False, True):
            found = IntegerProduct(significand, exponent + 7, rounds)
            if np.array_equal(found.apply(codes), expected):
                return found
        return None

    def apply(self, codes: IntArray) -> IntArray:
        """As the C does it."""
        magnitude = np.abs(np.asarray(codes, np.int64))
        moved = sum((magnitude * self.significand < 1 << bit).astype(np.int64) for bit in range(24, 32))
        product = magnitude * self.significand << moved
        bits = (self.exponent - moved << 23) + (product >> 8)
        if self.rounds:
            bits += (product & 255) + (product >> 8 & 1) + 127 >> 8
        return np.asarray(np.where(magnitude == 0, 0, bits + np.where(np.asarray(codes) < 0, 1 << 31, 0)))


def _taken(scale: float) -> tuple[int, int]:
    """The exponent and the significand of a positive normal float32; (0, 0) of others."""
    bits = int(np.float32(scale).view(np.uint32))
    return (bits >> 23, bits & _HIDDEN - 1 | _HIDDEN) if _HIDDEN <= bits < _INFINITY else (0, 0)


def _floats(bits: IntArray) -> FloatArray:
    return np.asarray(bits.astype(np.uint32).view(np.float32))


def _thresholds(rule: Rule, values: IntArray) -> IntArray:
    """Bits of the least positive floats that become at least these values, by bisection."""
    below, reached = np.zeros_like(values), np.full_like(values, _INFINITY)
    while (reached - below > 1).any():
        middle = below + reached >> 1
        there = rule(_floats(middle)) >= values
        below, reached = np.where(there, below, middle), np.where(there, middle, reached)
    return np.asarray(reached)
