"""What float32 makes of products that are nearly half-way between two outputs, in integers of 32 bits.

ONNX Runtime's rule is rint(f32(acc * factor)), ties to even. With factor = F * 2**-e, F an integer, and the tie at
m / 2, m odd, the exact product is more than the tie by d * 2**-e, d = acc * F - m * 2**(e - 1). For e >= 33 and |d|
below 2**31, d is the low word of acc * F. Where |d| is at most half of float32's last place at the tie, the product
is rounded to the tie, which becomes the even output; else the sign of d decides.

F takes no word of its own. The line whose fraction says that a sum is near a tie has a gain M0 of 24 bits of fraction,
and an addend C that needs not be precise: its low bits are what M0 * 2**(e - 24) lacks of F, with a sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.interval import BoolArray
from tinygen.rescaling import FloatRequant, Rescaling

TOP_BITS = 24
"""Of a line's fraction: an unsigned result is in the high byte of a word."""
_SIGNIFICAND_BITS = 24
_KINDS = ((37, 7), (36, 6), (33, 5), (33, 4))
"""e, more where factors are small and less where they are large, and zeros, in the order in which they are tried.

More zeros leave fewer sums, fewer leave the line more room; there are not many kinds, so that layers share functions.
"""
_LEAST_EXPONENT = 33
_MOST_SUM = 1 << 24
"""Float32 has all integers up to there."""


@dataclass(frozen=True, eq=False)
class NearTies:
    """Constants of the decision; arrays are int64 (channels,)."""

    exponent: int
    """e, of all channels"""
    factor: IntArray
    """F, below 2**32"""
    rest: IntArray | None
    """R, what x * F lacks of acc * F, modulo 2**32; None where x is acc"""
    zero_point: int
    """of the outputs"""
    bits: int
    """a sum is near a tie where so many bits of its line's fraction are zero"""

    @staticmethod
    def kinds(requant: Rescaling, zero_point: int, lowest: int, low: IntArray, high: IntArray) -> Iterator[NearTies]:
        """For accumulators from low to high (channels,); none: another rule, or too large ones.

        x is acc where the least output is the zero point, as behind a ReLU; else R is to be replaced.
        """
        if not isinstance(requant, FloatRequant) or requant.added or max(-low.min(), high.max()) > _MOST_SUM:
            return
        fractions, powers = np.frexp(np.broadcast_to(np.array(requant.factors), low.shape))
        exponents = _SIGNIFICAND_BITS - powers
        most = int(exponents.min()) + 32 - _SIGNIFICAND_BITS
        for usual, bits in _KINDS:
            exponent = max(_LEAST_EXPONENT, int(exponents.max()), min(usual, most))
            if exponent <= most:
                factor = np.ldexp(fractions, _SIGNIFICAND_BITS).astype(np.int64) << exponent - exponents
                rest = None if lowest == zero_point else np.zeros_like(factor)
                # The fraction has room for d.
                yield NearTies(exponent, factor, rest, zero_point, max(bits, exponent - 30))

    def where(self, origin: IntArray) -> NearTies:
        """For x = acc + origin; where x is acc, for all channels that have more than one output."""
        return self if self.rest is None else replace(self, rest=-self.factor * origin & 0xFFFFFFFF)

    @property
    def half(self) -> int:
        """The exponent of half of float32's last place at the tie 1 / 2, in the units of d."""
        return self.exponent - _SIGNIFICAND_BITS - 1

    @property
    def gain_shift(self) -> int:
        """The line's gain times two to this power is nearly F."""
        return self.exponent - TOP_BITS

    @property
    def lacking_bits(self) -> int:
        """Of the line's addend, with a sign, that hold what is lacking then: for the gain below F and the one above."""
        return self.gain_shift + 1

    def with_lacking(self, addend: IntArray, lacking: IntArray) -> IntArray:
        """The nearest addends that say how much is lacking."""
        return addend + self._signed(lacking - addend)

    def says_factor(self, gain: IntArray, addend: IntArray) -> BoolArray:
        """(channels,): whether F is what a line with this gain and addend says."""
        return np.asarray((gain << self.gain_shift) + self._signed(addend) == self.factor)

    def _signed(self, values: IntArray) -> IntArray:
        """The low bits that hold what is lacking."""
        half = 1 << self.lacking_bits - 1
        return (values + half & 2 * half - 1) - half

    def is_near(self, fraction: IntArray) -> BoolArray:
        """Whether a line's fraction is that of a sum that this is for."""
        return np.asarray(fraction >> TOP_BITS - self.bits == 0)

    def decided(self, x: IntArray, upper: IntArray) -> IntArray:
        """The outputs of x (..., channels) that are near the tie below the output `upper`."""
        word = (x * self.factor + (0 if self.rest is None else self.rest)) & 0xFFFFFFFF
        difference = np.where(word >> 31, word - (1 << 32), word)
        lower = upper - self.zero_point - 1
        half = np.int64(1) << self.half + np.frexp(np.abs(2 * lower + 1))[1] - 1
        up = np.where(difference > half, 1, np.where(difference < -half, 0, lower & 1))
        return np.asarray(lower + up + self.zero_point)
