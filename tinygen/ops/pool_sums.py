"""Means of real values by sums of integers: all but those near a tie, which the order of float32 sums decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.interval import BoolArray
from tinygen.ops.common import INT8, Clamp, full_range

_MOST_BITS = 24
_FEWEST_BITS = 10
_MOST_NEAR = 1 / 8
"""Of a step of the output: were more sums near a tie, they would hardly be worth the look."""
_MOST_TAPS = 4096
"""Float32 is further off for more than `_MOST_NEAR` allows, if scales are alike."""
_ROUNDING = 2.0**-24
_SAFETY = 1.01


class Means(NamedTuple):
    """Results of float32 by exact sums of steps, as far as these decide: rint(sum * gain) + zero point, clamped.

    `offset` is added before rounding, with the zero point, and taken off again.
    """

    gain: float
    """What a step of one value changes the output by."""
    taps: int
    """Values of a sum."""
    zero_point: int
    clamp: Clamp
    offset: int = 0

    def certain(self, sums: IntArray) -> tuple[IntArray, BoolArray]:
        """The results for sums of x - its zero point, and which of them are certain.

        Every float32 operation is off by 2**-24 of its result at most. So all orders and all values of one sum give
        the same as long as the exact quotient is not so near to a tie.
        """
        exact = np.asarray(sums, np.float64) * self.gain
        farthest = 256.0 * self.taps * self.gain
        error = _SAFETY * _ROUNDING * (farthest * (self.taps + 4) + farthest + abs(self.zero_point + self.offset) + 1)
        rest = np.abs(exact - np.floor(exact) - 0.5)
        counts = np.abs(exact + self.zero_point) < 2 * 256  # else it is clamped, whichever way it is rounded
        results = np.clip(np.rint(exact).astype(np.int64) + self.zero_point, *self.clamp)
        return np.asarray(results), ~(counts & (rest <= error))

    def by_sums(self, input_zero_point: int) -> Sums | None:
        """The same for sums of int8 values, with this zero point in them; None where such do not decide."""
        if self.taps > _MOST_TAPS:
            return None
        low, high = full_range(INT8)
        sums = np.arange(low * self.taps, high * self.taps + 1)
        lacking = self.taps * input_zero_point
        results, certain = self.certain(sums - lacking)
        return Sums.of(sums, self.gain, self.zero_point - lacking * self.gain, results, certain, self.clamp)


@dataclass(frozen=True)
class Sums:
    """y = (sum * factor + offset) >> bits; but where that is cut off `near` a multiple of 2**bits."""

    factor: int
    offset: int
    bits: int
    near: int
    clamps: bool
    """Whether that, or what is next to it where it is near, may lie beyond the clamp."""

    @property
    def mask(self) -> int:
        """Of the fraction."""
        return (1 << self.bits) - 1

    def is_near(self, sums: IntArray) -> BoolArray:
        """Which of these the formula is not for."""
        return np.asarray((sums * self.factor + self.offset + self.near & self.mask) < 2 * self.near)

    @staticmethod
    def of(
        sums: IntArray, gain: float, offset: float, expected: IntArray, certain: BoolArray, clamp: Clamp
    ) -> Sums | None:
        """What gives `expected`, which is clamped, for all `sums` for which it is certain; about sum * gain + offset.

        None where products do not fit, or where too many sums would be near a tie.
        """
        reach = float(np.abs(sums).max() * gain + abs(offset) + 1)
        bits = min(_MOST_BITS, math.floor(math.log2(INT32_MAX / reach)) - 1)
        if bits < _FEWEST_BITS:
            return None
        factor, added = round(math.ldexp(gain, bits)), round(math.ldexp(offset + 0.5, bits))
        scaled = sums * factor + added
        mask = (1 << bits) - 1
        fraction = scaled & mask
        wrong = ~certain | (np.clip(scaled >> bits, *clamp) != expected)
        near = int(np.where(wrong, np.minimum(fraction, mask + 1 - fraction) + 1, 0).max())
        if near > _MOST_NEAR * (1 << bits) or int(np.abs(scaled).max()) + near > INT32_MAX:
            return None
        least, most = int(scaled.min()) - near >> bits, int(scaled.max()) + near >> bits
        return Sums(factor, added, bits, near, clamps=least < clamp[0] or most > clamp[1])
