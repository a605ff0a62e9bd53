"""Requantisation by ONNX Runtime's float32 operations, of the channels of a layer that no line takes all steps of.

The others have the form of `tinygen.proofs.high_product`. A channel's multiplier tells: zero stands for

    VCVT.F32.S32 s, a ; VMUL.F32 s, s, m ; VCVTR.S32.F32 a, s ; ADD a, z, a, LSL #j ; SSAT y, #8, a, ASR #j

All three float operations round ties to even. The accumulator register a holds a multiple of the sum, by a power of two
that the factor m makes up for, times an odd number that MUL by its inverse modulo 2**32 takes away first. z is the zero
point times 2**j.

Cores without an FPU compute the same in integers: see `tinygen.ops.tie_product`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.proofs.high_product import HighProduct, prove_high_product, with_lines
from tinygen.proofs.line import BoolArray
from tinygen.rescaling import FloatRequant, Rescaling


@dataclass(frozen=True, eq=False)
class MixedProduct(HighProduct):
    """The same constants; where the multiplier is zero, the start is, too, and the addend holds the bits of m."""

    zero_point: int = 0

    @property
    def in_float(self) -> BoolArray:
        """(channels,)"""
        return np.asarray(self.multiplier == 0)

    @property
    def inverse(self) -> int | None:
        """What registers are multiplied by, modulo 2**32, where they hold an odd multiple of the sum; else None."""
        odd = _odd_part(self.scale) if isinstance(self.scale, int) else 1
        return None if odd == 1 else pow(odd, -1, 1 << 32)

    def apply(self, acc: IntArray) -> IntArray:
        """What the instructions give for accumulators (..., channels)."""
        bits = np.where(self.in_float, self.addend, 0)
        power = np.asarray(self.scale) & -np.asarray(self.scale)
        requant = FloatRequant(tuple(bits.astype(np.uint32).view(np.float32).astype(np.float64).tolist()))
        y = requant.apply(power * np.asarray(acc, np.int64)) + self.zero_point
        low = -128 if self.low_clamp is None else self.low_clamp
        high = 127 if self.high_clamp is None else self.high_clamp
        return np.where(self.in_float, np.clip(y, low, high), super().apply(acc))

    def describe(self) -> str:
        """In words."""
        count, channels = int(self.in_float.sum()), len(self.low)
        in_float = "float32 product, rounded to even, as the profile has it"
        if count == channels:
            return in_float
        if not count:
            return super().describe()
        return f"{super().describe()}; {count} of these by {in_float}"


def mixed_product(
    requant: Rescaling,
    zero_point: int,
    clamp: tuple[int, int],
    low: IntArray,
    high: IntArray,
    *,
    scale: int | Sequence[int],
) -> MixedProduct | None:
    """The form for every sum from low to high (channels,), as `prove_high_product` has it.

    Of several scales, channels without a line get one. None for other rules, and for sums that do not fit.
    """
    if not isinstance(requant, FloatRequant) or requant.added or clamp[0] < -128 or clamp[1] > 127:
        return None
    in_float = scale if isinstance(scale, int) else 1
    factors = np.broadcast_to(np.array(requant.factors, np.float32), low.shape)
    scaled = factors / np.float32(in_float // _odd_part(in_float))
    largest = np.maximum(-low, high)
    if in_float * int(largest.max()) > INT32_MAX or scaled.min() < np.finfo(np.float32).tiny:
        return None
    results = factors.astype(np.float64) * largest + 256
    kept, lines = _lines(requant, zero_point, clamp, low, high, scale)
    if lines is not None and (results * 2.0**lines.shift).max() > INT32_MAX:
        kept, lines = np.zeros_like(kept), None

    def column(values: IntArray | int, otherwise: IntArray | int) -> IntArray:
        found = np.broadcast_to(np.asarray(otherwise, np.int64), low.shape).copy()
        found[kept] = values
        return found

    bits = np.ascontiguousarray(scaled).view(np.uint32).astype(np.int64)
    return MixedProduct(
        scale=scale if isinstance(scale, int) else column(0 if lines is None else lines.scale, in_float),
        shift=0 if lines is None else lines.shift,
        start=column(0 if lines is None else lines.start, 0),
        multiplier=column(0 if lines is None else lines.multiplier, 0),
        addend=column(0 if lines is None else lines.addend, bits),
        step=None,
        low=low,
        high=high,
        low_clamp=clamp[0] if clamp[0] > -128 else None,
        high_clamp=clamp[1] if clamp[1] < 127 else None,
        zero_point=zero_point,
    )


def _lines(
    requant: FloatRequant,
    zero_point: int,
    clamp: tuple[int, int],
    low: IntArray,
    high: IntArray,
    scale: int | Sequence[int],
) -> tuple[BoolArray, HighProduct | None]:
    """Which channels have lines with a common shift, and the form of these; none, and None, if there is none."""
    kept = with_lines(requant, zero_point, clamp, low, high, scale if isinstance(scale, int) else max(scale))

    def proved(chosen: BoolArray) -> HighProduct | None:
        some = requant.of_channels(chosen)
        return prove_high_product(some, zero_point, clamp, low[chosen], high[chosen], scale=scale, with_step=False)

    found = proved(kept) if kept.any() else None
    if found is None:  # some may have lines only with multipliers that are no integers
        alone = np.flatnonzero(kept)
        for channel in alone:
            kept[channel] = proved(np.arange(len(low)) == channel) is not None
        found = proved(kept) if 0 < kept.sum() < len(alone) else None
    return (kept, found) if found is not None else (np.zeros_like(kept), None)


def _odd_part(scale: int) -> int:
    return scale // (scale & -scale)
