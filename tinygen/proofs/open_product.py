"""Results of lines in exact numbers that say themselves whether they are sure: the high half of a product, in Armv7E-M.

    SMMLA h, a, M, Z ; CMP L, h, LSL #(32 - j) ; BLS open ; SSAT y, #8, h, ASR #j

It is the form of `tinygen.proofs.high_product`, without a step, for a line that is good to some error only
(`tinygen.rescaling.OpenLine`). h is below the exact value times 2**j by no less than what the line can be off, and by
no more than twice that and a little. So y is the result, or one less; and it is the result where the fraction of h,
which is its lowest j bits, leaves room for that difference: where it is below L.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.proofs.high_product import HighProduct
from tinygen.proofs.line import BoolArray
from tinygen.rescaling import OpenLine

_LEAST_SHIFT = 10
"""With fewer bits of a fraction, what the integers round away would leave too many results open."""


@dataclass(frozen=True, eq=False)
class OpenProduct(HighProduct):
    """The same constants, and from which fraction on a result is open."""

    limit: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """L, uint32 (channels,)"""

    def is_open(self, acc: IntArray) -> BoolArray:
        """Of which accumulators (..., channels) the result may be one more than `apply` says."""
        fractions = (self._high_half(acc) << (32 - self.shift)) & 0xFFFFFFFF
        return np.asarray(fractions >= self.limit)

    def describe(self) -> str:
        """In words."""
        share = 1 - float(self.limit.mean()) / 2.0**32
        return f"{super().describe()}; {share:.2%} of results are open, which float32 sums decide"


def open_product(
    line: OpenLine,
    zero_point: int,
    clamp: tuple[int, int],
    low: IntArray,
    high: IntArray,
    *,
    scale: int | Sequence[int],
) -> OpenProduct | None:
    """The form for every sum from low to high (channels,); of several scales, the largest that all sums have room for.

    None where integers of 32 bits are too coarse for it.
    """
    largest = int(np.maximum(-low, high).max())
    scales = [each for each in ((scale,) if isinstance(scale, int) else scale) if each * largest <= INT32_MAX]
    if not scales or clamp[0] < -128 or clamp[1] > 127:
        return None
    chosen = max(scales)
    factors, offsets, errors = (
        np.broadcast_to(np.array(each), low.shape) for each in (line.factors, line.offsets, line.errors)
    )
    results = (factors * np.maximum(-low, high) + np.abs(offsets)).max() + 256
    # factor / scale * 2**(32 + shift) < 2**31, and results * 2**shift < 2**31
    limits = (2 * factors.max() / chosen, results * 2.0**-31)
    shift = min(31, *(math.floor(-math.log2(limit)) for limit in limits))
    if shift < _LEAST_SHIFT:
        return None
    # The product with a rounded multiplier is off by less than 1/4, its high half by less than one more, as the addend.
    margins = np.ceil(errors * 2.0**shift).astype(np.int64) + 1
    limit = (1 << shift) - 2 * margins - 2
    if limit.min() <= 0:
        return None
    found = OpenProduct(
        scale=chosen if isinstance(scale, int) else np.full(low.shape, chosen),
        shift=shift,
        start=np.zeros(low.shape, np.int64),
        multiplier=np.rint(factors / chosen * 2.0 ** (32 + shift)).astype(np.int64).clip(0, INT32_MAX),
        addend=np.floor((offsets + zero_point + 0.5) * 2.0**shift).astype(np.int64) - margins,
        step=None,
        low=low,
        high=high,
        low_clamp=clamp[0] if clamp[0] > -128 else None,
        high_clamp=clamp[1] if clamp[1] < 127 else None,
        limit=limit << (32 - shift),
    )
    return found if found.fits(low, high).all() else None
