"""Requantisation by float32 factors in integers: exact products, and a second look at those that are next to a tie.

    y = (sum * multiplier / 2**32 + 2**(shift - 1)) >> shift

rounds the real product, ties up. The float32 product, rounded to even, gives the same unless it is a tie, which it can
only be within half a last place of one. Then the bits that are shifted out are all zeros, or all ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.rescaling import FloatRequant, Rescaling

_LARGEST_EXACT_FLOAT32 = 1 << 24
_LEAST_FACTOR, _GREATEST_FACTOR = 2.0**-32, 1.0
_SCALE = 64
"""Of sums whose factors are so large that little is shifted out: then much of it would be next to a tie."""
_LEAST_SHIFT = 5
_MOST_BITS = 24
"""Of the high half of a product that may be a tie: half a last place is told by the low half."""
_FARTHEST = 512
"""Results from here on are clamped, whatever they are."""


@dataclass(frozen=True, eq=False)
class TieProduct:
    """Constants of the form; arrays are int64 (channels,)."""

    scale: int
    """What accumulators are multiplied by to be sums"""
    multiplier: IntArray
    shift: IntArray

    @property
    def common_shift(self) -> int | None:
        """That of all channels, if it is one."""
        first = int(self.shift[0])
        return first if (self.shift == first).all() else None

    def describe(self) -> str:
        """In words."""
        return "float32 product, rounded to even, as the profile has it"


def tie_product(requant: Rescaling, bound: IntArray) -> TieProduct | None:
    """The form for |accumulators| within `bound` (channels,), clamped to int8; None if there is none."""
    if not isinstance(requant, FloatRequant) or requant.added or int(bound.max()) > _LARGEST_EXACT_FLOAT32:
        return None
    factors = np.array(requant.factors)
    if factors.min() < _LEAST_FACTOR or factors.max() >= _GREATEST_FACTOR:
        return None
    scale = 1 if factors.max() < 2.0 ** -(_LEAST_SHIFT + 1) else _SCALE
    up = 32 - int(np.log2(scale))
    results = (bound if requant.per_channel else bound.max()) * factors + 1
    # Multipliers and sums of 32 bits, with their signs, and how far a tie may be told.
    limits = (
        31 - up - np.frexp(factors)[1],
        30 - np.frexp(results)[1],
        _MOST_BITS - np.frexp(np.minimum(results, _FARTHEST))[1],
    )
    shift = np.minimum.reduce(limits).astype(np.int64)
    if shift.min() >= _LEAST_SHIFT and _are_integers(np.ldexp(factors, up + shift.min())):
        shift = np.full_like(shift, shift.min())
    multiplier = np.ldexp(factors, up + shift)
    if shift.min() < 1 or not _are_integers(multiplier):
        return None
    return TieProduct(scale, multiplier.astype(np.int64), shift)


def _are_integers(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    return bool(np.array_equal(values, np.rint(values)))
