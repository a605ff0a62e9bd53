"""Means of real values by sums of integers: all but those near a tie, which the order of float32 sums decides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.interval import BoolArray

_MOST_BITS = 24
_FEWEST_BITS = 10
_MOST_NEAR = 1 / 8
"""Of a step of the output: were more sums near a tie, they would hardly be worth the look."""


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
        sums: IntArray, gain: float, offset: float, expected: IntArray, certain: BoolArray, clamp: tuple[int, int]
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
