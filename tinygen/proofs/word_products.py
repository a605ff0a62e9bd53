"""Outputs as the upper half of a sum of products, as SMLAWB and SMLAWT make them, proved on all inputs.

SMLAWB and SMLAWT multiply a word by a halfword, drop the lowest 16 bits of the product and add a word. An operator of
one or two values of few bits whose profile rescales, rounds and adds is nearly a plane over these values:
y = (C + A * a + B * b) / 2**16 rounded down. Here A, B and C are found for which it is exactly the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray

FRACTION_BITS = 16
"""Of the sum."""
_LARGEST_SUM = 1 << 30
_STRETCHES = (0.0, *(2.0**exponent for exponent in range(-18, -9)))
"""By how much factors are tried larger than the gains: halves that the profile rounds away from zero need it."""
_NEAR = np.arange(-8, 9)
_SHORTLIST = 2048
_ATTEMPTS = 4


@dataclass(frozen=True)
class WordProducts:
    """y = clip((offset + sum of (factor * value >> shift)) >> fraction_bits, low, high), all int32.

    `shift` is 16 where a halfword holds a value, 8 where it holds 256 times the value; 0 is an ordinary product.
    """

    factors: tuple[int, ...]
    shift: int
    offset: int
    low: int
    high: int
    fraction_bits: int = FRACTION_BITS

    def apply(self, *values: IntArray) -> IntArray:
        """What the instructions give, exactly, for int64 values, one array for each factor, that broadcast."""
        return np.asarray(np.clip(self._sum(*values) >> self.fraction_bits, self.low, self.high))

    def fits_int32(self, *values: IntArray) -> bool:
        """Whether factors and sums do, even with 256 more or less in the output. Partial sums may wrap."""
        sums = self._sum(*values)
        largest = max(int(sums.max()), -int(sums.min()), abs(self.offset))
        return largest <= _LARGEST_SUM and max(map(abs, self.factors)) <= INT32_MAX

    def _sum(self, *values: IntArray) -> IntArray:
        products = (factor * value >> self.shift for factor, value in zip(self.factors, values, strict=True))
        return np.asarray(self.offset + sum(products))


class _Limits(NamedTuple):
    """Combinations of values (operands, n), and the least (or most) (n,) that the sum may be for each."""

    values: IntArray
    sums: IntArray

    def of(self, chosen: IntArray) -> _Limits:
        """Those of some combinations."""
        return _Limits(self.values[:, chosen], self.sums[chosen])

    def offsets(self, factors: IntArray, shift: int) -> IntArray:
        """(k, n): the limits of the offset, for factors (operands, k)."""
        products = factors[:, :, None] * self.values[:, None, :] >> shift
        return np.asarray(self.sums - products.sum(axis=0))


def prove_word_products(
    expected: IntArray,
    values: IntArray,
    clamp: tuple[int, int],
    gains: tuple[float, ...],
    shift: int,
    fraction_bits: int = FRACTION_BITS,
) -> WordProducts | None:
    """Factors and offset that give `expected` for every combination of values, or None where none were found.

    `expected` (n,) are int64 outputs within `clamp` for `values` (operands, n); `gains` are what one step of each
    operand changes the output by, nearly.
    """
    scale = 2.0 ** (fraction_bits + shift)
    if not all(0 < 1.01 * abs(gain) * scale < INT32_MAX for gain in gains):
        return None
    rises, falls = expected > clamp[0], expected < clamp[1]  # saturation sees to the others
    least = _Limits(values[:, rises], expected[rises] << fraction_bits)
    most = _Limits(values[:, falls], (expected[falls] + 1 << fraction_bits) - 1)
    for stretch in _STRETCHES:
        centre = np.rint(np.array(gains) * (1 + stretch) * scale).astype(np.int64)
        for factors, offset in _candidates(least, most, centre, shift):
            found = WordProducts(factors, shift, offset, *clamp, fraction_bits)
            if found.fits_int32(*values) and np.array_equal(found.apply(*values), expected):
                return found
    return None


def _candidates(least: _Limits, most: _Limits, centre: IntArray, shift: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Factors near the centre, with an offset in the middle of what is left for it: those that leave most come first.

    Looks at the combinations that leave least room alone.
    """
    tight_least = least.of(np.argsort(-least.offsets(centre[:, None], shift)[0])[:_SHORTLIST])
    tight_most = most.of(np.argsort(most.offsets(centre[:, None], shift)[0])[:_SHORTLIST])
    factors = np.stack([near.reshape(-1) for near in np.meshgrid(*(value + _NEAR for value in centre))])
    bottom = tight_least.offsets(factors, shift).max(axis=1, initial=-_LARGEST_SUM)
    top = tight_most.offsets(factors, shift).min(axis=1, initial=_LARGEST_SUM)
    for index in np.argsort(bottom - top)[:_ATTEMPTS]:
        if bottom[index] <= top[index]:
            yield tuple(factors[:, index].tolist()), int(bottom[index] + top[index]) // 2
