"""Results of lines in exact numbers that say themselves whether they are sure: products of 32 bits and no more.

It is the form of `tinygen.proofs.short_product`, without a step and exceptions, for a line that is good to some error
only (`tinygen.rescaling.OpenLine`). Before the last shift the sum is above the exact value, in 2**-24 of a step, by no
less than what the line can be off, and by no more than twice that and a little. So y is the result, or one more; and it
is the result where the fraction, the sum's lowest 24 bits, is not below 2**w. Where both are clamped to the least
output, x is below zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.proofs.line import BoolArray
from tinygen.proofs.near_ties import TOP_BITS
from tinygen.proofs.short_product import ShortProduct
from tinygen.rescaling import OpenLine

_MOST_OPEN_BITS = 23
_ROUNDED = 3
"""How far the sum can be off, in 2**-24 of a step: by the carries, by C, and by the line's own rounding in float64."""
_PART_BITS = 14


@dataclass(frozen=True, eq=False)
class OpenShortProduct(ShortProduct):
    """The same constants, and below which fraction a result is open."""

    open_bits: int = 0
    """w"""

    def is_open(self, acc: IntArray) -> BoolArray:
        """Of which accumulators (..., channels) the result may be one less than `apply` says."""
        x = np.asarray(acc, np.int64) + self.origin
        fractions = self._sums(acc)[-1] & (1 << TOP_BITS) - 1
        return np.asarray((x >= 0) & (x <= self.most) & (fractions < 1 << self.open_bits))

    def describe(self) -> str:
        """In words."""
        share = 2.0 ** (self.open_bits - TOP_BITS)
        return f"{super().describe()}; {share:.2%} of results are open, which float32 sums decide"


@lru_cache(maxsize=256)
def open_short_product(
    line: OpenLine, zero_point: int, clamp: tuple[int, int], low: tuple[int, ...], high: tuple[int, ...]
) -> OpenShortProduct | None:
    """The form for every sum from low to high, of each channel; None where words of 32 bits have no room for it."""
    if clamp[0] < -128 or clamp[1] > 127:
        return None
    ends = np.array(low, np.int64), np.array(high, np.int64)
    factors, offsets, errors = (
        np.broadcast_to(np.array(each, np.float64), ends[0].shape) for each in (line.factors, line.offsets, line.errors)
    )
    if factors.min() <= 0:
        return None
    steps = offsets + 0.5 + zero_point - clamp[0]
    found = (_with(part, factors, steps, errors, clamp, *ends) for part in (0, _part_bits(factors, clamp)))
    fitting = [each for each in found if each is not None]
    return min(fitting, key=lambda each: (each.open_bits, len(each.parts)), default=None)


def _part_bits(factors: np.ndarray[tuple[int], np.dtype[np.float64]], clamp: tuple[int, int]) -> int:
    """As many as leave a product with what lies between the clamp's ends room in a word."""
    most = int((clamp[1] - clamp[0] + 2) / float(factors.min()))
    return max(min(_PART_BITS, 31 - most.bit_length()), 1)


def _with(
    bits: int,
    factors: np.ndarray[tuple[int], np.dtype[np.float64]],
    steps: np.ndarray[tuple[int], np.dtype[np.float64]],
    errors: np.ndarray[tuple[int], np.dtype[np.float64]],
    clamp: tuple[int, int],
    low: IntArray,
    high: IntArray,
) -> OpenShortProduct | None:
    """For results acc * factors + steps above the least one; with a second product of so many bits, if there are."""
    unit = 2.0**TOP_BITS
    gain = np.rint(factors * 2.0 ** (TOP_BITS + bits)).astype(np.int64)
    reach = (clamp[1] - clamp[0] + 2) / factors
    # The rounded gain is off by half a unit of its own, for every x.
    margins = np.ceil(errors * unit + reach * 2.0 ** -(bits + 1)).astype(np.int64) + _ROUNDED
    open_bits = int(2 * margins.max() + _ROUNDED).bit_length()
    if open_bits > _MOST_OPEN_BITS:
        return None
    sure = (1 << open_bits) / unit
    # The first sum that tells that the result is sure, and the last one that does not tell that it is the greatest.
    first = np.maximum(np.ceil((sure - margins / unit - steps) / factors).astype(np.int64), low)
    last = np.ceil((clamp[1] - clamp[0] + sure - margins / unit - steps) / factors).astype(np.int64) - 1
    first = np.minimum(first, last)
    last = np.clip(last, first, np.maximum(high, first))
    addend = np.rint((steps + first * factors) * unit).astype(np.int64) + margins
    found = OpenShortProduct(
        bits=bits or 1,
        lowest=clamp[0],
        highest=clamp[1],
        origin=-first,
        most=last - first,
        parts=(gain >> bits, gain & ((1 << bits) - 1)) if bits else (gain,),
        addend=addend,
        exceptions=(),
        border=None,
        step=None,
        low=low,
        high=high,
        open_bits=open_bits,
    )
    return found if found.fits(low, high).all() else None
