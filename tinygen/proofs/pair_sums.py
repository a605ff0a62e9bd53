"""ADD and SUB of two int8 operands as one sum of products, proved on all pairs of their values.

The profile brings both operands to a common scale and rescales the sum, with three roundings. As a map of pairs of
values to outputs that is nearly a plane: y = (C + A * a + B * b) / 2**16 rounded down, with A and B the ratios of the
scales. Here A, B and C are found for which it is exactly the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray

FRACTION_BITS = 16
"""Of the sum."""
_FACTOR_BITS = FRACTION_BITS + 8
_STRETCHES = (0.0, *(2.0**exponent for exponent in range(-18, -9)))
"""By how much both factors are tried larger than the ratios: halves that the profile rounds away from zero need it."""
_NEAR = np.arange(-8, 9)
_SHORTLIST = 2048
_ATTEMPTS = 4


@dataclass(frozen=True)
class PairSum:
    """y = clip((offset + (a_factor * a >> 8) + (b_factor * b >> 8)) >> FRACTION_BITS, low, high), all int32.

    SMLAWB and SMLAWT of a factor and 256 * a make such a product, and add it to a sum.
    """

    a_factor: int
    b_factor: int
    offset: int
    low: int
    high: int

    def apply(self, a: IntArray, b: IntArray) -> IntArray:
        """What the instructions give, exactly, for int64 values that broadcast."""
        return np.asarray(np.clip(self._sum(a, b) >> FRACTION_BITS, self.low, self.high))

    def fits_int32(self, a: IntArray, b: IntArray) -> bool:
        """Whether factors and all sums do. Partial sums may wrap."""
        sums = self._sum(a, b)
        largest = max(int(sums.max()), -int(sums.min()), abs(self.a_factor), abs(self.b_factor), abs(self.offset))
        return largest <= INT32_MAX

    def _sum(self, a: IntArray, b: IntArray) -> IntArray:
        return np.asarray(self.offset + (self.a_factor * a >> 8) + (self.b_factor * b >> 8))


class _Limits(NamedTuple):
    """Pairs of values (n,) each, and the least (or most) that the sum may be for them."""

    a: IntArray
    b: IntArray
    sums: IntArray

    def of(self, chosen: IntArray) -> _Limits:
        """Those of some pairs."""
        return _Limits(self.a[chosen], self.b[chosen], self.sums[chosen])

    def offsets(self, a_factor: IntArray, b_factor: IntArray) -> IntArray:
        """(factors, n): the limits of the offset, for factors (factors, 1)."""
        return np.asarray(self.sums - (a_factor * self.a >> 8) - (b_factor * self.b >> 8))


def prove_pair_sum(
    expected: IntArray, a_values: IntArray, b_values: IntArray, clamp: tuple[int, int], gains: tuple[float, float]
) -> PairSum | None:
    """Factors and offset that give `expected` for every pair of values, or None where none were found.

    `expected` (len(a_values), len(b_values)) are int64 outputs within `clamp`; `gains` are what one step of a and one
    of b change the output by, nearly.
    """
    if not all(0 < abs(gain) < 127 for gain in gains):
        return None
    a, b = np.meshgrid(a_values, b_values, indexing="ij")
    least, most = (limits(a, b, expected, clamp) for limits in (_least, _most))
    for stretch in _STRETCHES:
        factors = np.rint(np.array(gains) * (1 + stretch) * 2.0**_FACTOR_BITS).astype(np.int64)
        for a_factor, b_factor, offset in _candidates(least, most, factors):
            found = PairSum(a_factor, b_factor, offset, *clamp)
            if found.fits_int32(a, b) and np.array_equal(found.apply(a, b), expected):
                return found
    return None


def _least(a: IntArray, b: IntArray, expected: IntArray, clamp: tuple[int, int]) -> _Limits:
    """Of the pairs whose output is not the lowest: saturation sees to the others."""
    counts = expected > clamp[0]
    return _Limits(a[counts], b[counts], expected[counts] << FRACTION_BITS)


def _most(a: IntArray, b: IntArray, expected: IntArray, clamp: tuple[int, int]) -> _Limits:
    counts = expected < clamp[1]
    return _Limits(a[counts], b[counts], (expected[counts] + 1 << FRACTION_BITS) - 1)


def _candidates(least: _Limits, most: _Limits, factors: IntArray) -> Iterator[tuple[int, int, int]]:
    """Factors near some, with an offset in the middle of what is left for it: those that leave most come first.

    Looks at the pairs that leave least room alone.
    """
    centre = factors.reshape(2, 1)
    tight_least = least.of(np.argsort(-least.offsets(*centre))[:_SHORTLIST])
    tight_most = most.of(np.argsort(most.offsets(*centre))[:_SHORTLIST])
    a_factor, b_factor = (near.reshape(-1, 1) for near in np.meshgrid(factors[0] + _NEAR, factors[1] + _NEAR))
    bottom = tight_least.offsets(a_factor, b_factor).max(axis=1, initial=-INT32_MAX)
    top = tight_most.offsets(a_factor, b_factor).min(axis=1, initial=INT32_MAX)
    for index in np.argsort(bottom - top)[:_ATTEMPTS]:
        if bottom[index] <= top[index]:
            yield int(a_factor[index, 0]), int(b_factor[index, 0]), int(bottom[index] + top[index]) // 2
