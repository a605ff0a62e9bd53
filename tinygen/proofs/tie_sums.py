"""Means of few real values in float32, where they are ties in exact numbers: which way the runtime's errors take them.

All values are integers times one scale, and the mean is divided by the same scale. So what a float32 sum holds is, in
units of the scale's last place, sum * significand + error; 32 bits of it tell the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.float32 import FloatArray

_MOST_TAPS = 16
_MOST_PLACES = 16
_MOST_BETWEEN = 4096
"""Floats between the least and the greatest sum, each of which is looked at."""
_SIGNIFICAND_BITS = 24


@dataclass(frozen=True)
class TieSums:
    """Float32 sums in integers: after each addition, the lowest `places` bits are rounded off, ties to even.

    There are as many as |sum| * significand has bits above 24: `most`, less one for each bit from 31 down that
    |sum| * measure does not have.
    """

    significand: int
    most: int
    bits: int
    """Of the greatest |sum|."""
    shift: int
    """By how many bits a sum is shifted to be the mean."""

    @property
    def measure(self) -> int:
        """What |sum| is multiplied by, so that the greatest one has bit 31."""
        return self.significand << 8 >> self.most

    @property
    def smearing(self) -> tuple[int, ...]:
        """By how much |sum| * measure is moved down, time after time, to set `most` bits below its highest one."""
        return tuple(1 << step for step in range((self.most - 1).bit_length()))

    @staticmethod
    def of(scale: float, low: int, high: int, taps: int) -> TieSums | None:
        """For values low * scale to high * scale; None where it does not hold for all sums of them."""
        return _tie_sums(scale, low, high, taps)

    @property
    def greatest_half(self) -> int:
        """Half of the last place of a quotient that is a tie, of the greatest sums; half of that for each bit less."""
        return self.significand >> _SIGNIFICAND_BITS + 1 - self.bits

    @property
    def top(self) -> int:
        """The bit that the greatest sums have."""
        return 1 << self.bits - 1

    def places(self, sums: IntArray) -> IntArray:
        """How many bits are rounded off."""
        measured = np.abs(sums) * self.measure
        moved = sum((measured < 1 << bit).astype(np.int64) for bit in range(32 - self.most, 32))
        return np.asarray(self.most - moved)

    def results(self, sums: IntArray, errors: IntArray, taps: int) -> IntArray:
        """sum / taps, where that is a tie, rounded as with these errors of the float32 sum."""
        half = self.greatest_half >> self.bits - np.frexp(np.abs(sums))[1]
        up = sums // taps + 1
        return np.where(errors > half, up, np.where(errors < -half, up - 1, up & ~1))


@lru_cache(maxsize=64)
def _tie_sums(scale: float, low: int, high: int, taps: int) -> TieSums | None:
    fraction, exponent = np.frexp(np.float32(scale))
    if not 1 < taps <= _MOST_TAPS or taps & taps - 1 or not -100 < exponent < 100:
        return None
    significand = int(np.ldexp(fraction, _SIGNIFICAND_BITS))
    largest = max(-low, high) * taps
    most = (largest * significand).bit_length() - _SIGNIFICAND_BITS
    if not 0 <= most <= _MOST_PLACES:
        return None
    found = TieSums(significand, most, largest.bit_length(), taps.bit_length() - 1)
    unit = np.ldexp(1.0, int(exponent) - _SIGNIFICAND_BITS)
    values = np.arange(low, high + 1)
    reals = values.astype(np.float32) * np.float32(scale)
    # Rounding keeps the order: all float32 sums of what has one sum lie between the least and the greatest.
    sums, ends = values, (reals, reals)
    for count in range(1, taps + 1):
        if count > 1:
            sums, ends = np.arange(low * count, high * count + 1), _extended(ends, reals)
        for end in ends:
            bits = np.frexp(end.astype(np.float64) / unit)[1] - _SIGNIFICAND_BITS
            if not np.array_equal(np.maximum(bits, 0), found.places(sums)):
                return None
    is_tie = sums % taps == taps // 2
    ties, (at, greatest) = sums[is_tie], (end[is_tie] for end in ends)
    for _ in range(_MOST_BETWEEN):
        errors = (at.astype(np.float64) / unit).astype(np.int64) - ties * significand
        expected = np.rint(at / np.float32(taps) / np.float32(scale)).astype(np.int64)
        if np.abs(errors).max() >= 1 << 30 or not np.array_equal(found.results(ties, errors, taps), expected):
            return None
        if (at == greatest).all():
            return found
        at = np.minimum(np.nextafter(at, np.float32(np.inf)), greatest)
    return None


def _extended(ends: tuple[FloatArray, FloatArray], reals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The least and the greatest float32 sums with one value more, for all sums in order."""
    length = len(ends[0]) + len(reals) - 1
    least, greatest = np.full(length, np.inf, np.float32), np.full(length, -np.inf, np.float32)
    for index, real in enumerate(reals):
        part = slice(index, index + len(ends[0]))
        least[part] = np.minimum(least[part], ends[0] + real)
        greatest[part] = np.maximum(greatest[part], ends[1] + real)
    return least, greatest
