"""Requantisation of whole vectors by MVE: two multiplications and a narrowing shift, where equality is proved.

    VMLAS.S32 a, K, B ; VQDMULH.S32 a, a, M ; VQRSHRN[BT].S32 y, a, #n ; VQMOVN[BT].S16 y, y

The lanes of `a` hold sums, K is 2**k in every lane, of the layer or, where no k serves all channels, of the channel. B
and M are scalars of the channel, or vectors with a channel in each lane:
y = sat8(floor((2**k * sum + B) * M / 2**(31 + n) + 1/2)). B puts the line where it takes every step of the staircase,
and has the bias and both zero points. Rounding ties away from zero sets the steps of negative results off from the
others: then the second form adds D to the lanes that are below T, by VPT.S32 LT and VADDT.I32, before the VQDMULH.

What is found here is not trusted: every result was evaluated at both ends and on both sides of each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX, INT32_MIN, IntArray
from tinygen.proofs.line import BoolArray, Marks, Window, possible_gains
from tinygen.proofs.staircase import Staircases
from tinygen.rescaling import Rescaling

_SHIFTS = (12, 8, 16, 10, 6, 4, 2)
"""Those of VQRSHRN that are tried, in this order: layers that take the first ones share their code."""
_SCALE_BITS, _TRIED = 8, 5
"""Where the search for k begins: steps of B are so fine that most windows have one; and how many are tried."""
_MOST_SCALE_BITS = 23
"""Lanes of any more would have room for a sum of one byte only."""
_MULTIPLIERS = sorted({0, *(sign * round(1.25**n) for n in range(50) for sign in (1, -1))}, key=abs)
"""How far from the first possible multiplier others are tried: closely around it, then further and further off."""
_FINER = 8
"""More bits of a multiplier than there are in any form: what has no line then has none at all."""


@dataclass(frozen=True, eq=False)
class VectorProduct:
    """Constants of the form, proved for every channel of a layer; arrays are int64 (channels,)."""

    scale_bits: IntArray
    """k: lanes are multiplied by 2**k"""
    shift: int
    """n of VQRSHRN, from 1 to 16"""
    start: IntArray
    """B for sums that are the accumulator, int32; what a sum lacks of it, times 2**k, is to be added, modulo 2**32"""
    multiplier: IntArray
    """M, 0 <= M < 2**31"""
    step: IntArray | None
    """D of the form with a step, else None"""
    low: IntArray
    """the least accumulator that it is proved for"""
    high: IntArray
    """the greatest"""
    low_clamp: int | None
    """the least output, where saturation does not see to it"""
    high_clamp: int | None
    """the greatest output, likewise"""
    bits: int = 8
    """of the outputs: 8, or 16 of the form without its last instruction"""

    @property
    def is_uniform(self) -> bool:
        """Whether k is the layer's."""
        return bool((self.scale_bits == self.scale_bits[0]).all())

    @property
    def threshold(self) -> IntArray:
        """T: the lanes of an accumulator that is zero."""
        return self.start

    def apply(self, acc: IntArray) -> IntArray:
        """What the instructions give for accumulators (..., channels), as long as the registers hold them."""
        value = (self._register(acc) * self.multiplier >> 31) + (1 << self.shift - 1) >> self.shift
        most = (1 << self.bits - 1) - 1
        low = -most - 1 if self.low_clamp is None else self.low_clamp
        high = most if self.high_clamp is None else self.high_clamp
        return np.asarray(np.clip(value, low, high))

    def fits(self, low: IntArray, high: IntArray) -> BoolArray:
        """(channels,): whether all registers hold their values, for accumulators from low to high."""
        inside: BoolArray = (self.multiplier >= 0) & _is_int32(self.multiplier) & _is_int32(self.start)
        # With a step, lanes on either side of zero are the farthest out right beside it, or at the ends.
        for acc in (low, high, np.clip(-1, low, high), np.clip(0, low, high)):
            inside &= _is_int32((acc << self.scale_bits) + self.start) & _is_int32(self._register(acc))
        return inside if self.step is None else inside & _is_int32(self.step)

    def holds(self, stairs: Staircases) -> BoolArray:
        """(channels,): whether the form is proved: it keeps the order, and takes the same steps."""
        keeps = np.ones(len(self.start), np.bool_) if self.step is None else self._keeps_the_order(stairs)
        return keeps & self.fits(stairs.low, stairs.high) & stairs.equal(self.apply)

    def _keeps_the_order(self, stairs: Staircases) -> BoolArray:
        """Whether the step does not put the last lane below zero above the first one from zero on."""
        below, above = (self.apply(np.clip(acc, stairs.low, stairs.high)) for acc in (-1, 0))
        return np.asarray(below <= above)

    def describe(self) -> str:
        """The form, its constants and what it was proved for, in words."""
        lines = "one line" if self.step is None else "a line for each sign"
        channels = f"{len(self.low)} channel{'s' if len(self.low) > 1 else ''}"
        scale = " to ".join(f"{1 << bits}" for bits in sorted({self.scale_bits.min(), self.scale_bits.max()}))
        return (
            f"high half of a product in vectors, {lines}: scale {scale}, shift {self.shift}, "
            f"multipliers of {int(self.multiplier.max()).bit_length()} bits, {channels}, "
            f"sums from {self.low.min():,} to {self.high.max():,}"
        )

    def _register(self, acc: IntArray) -> IntArray:
        """What the lanes are multiplied as."""
        acc = np.asarray(acc, np.int64)
        scaled = (acc << self.scale_bits) + self.start
        if self.step is None:
            return scaled
        return scaled + np.where(acc < 0, self.step, 0)


def _is_int32(value: IntArray) -> BoolArray:
    return np.asarray((value >= INT32_MIN) & (value <= INT32_MAX))


def prove_vector_product(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: IntArray, high: IntArray, uniform: bool = True
) -> VectorProduct | None:
    """The form that equals clip(requant(acc) + zero_point, *clamp) for every acc from low to high (channels,).

    None where some channel has none, or where the clamp does not lie within int8. `uniform`: k has to be the layer's.
    """
    if clamp[0] < -128 or clamp[1] > 127:
        return None
    return _prove(requant, zero_point, clamp, uniform, *(np.asarray(end, np.int64).tobytes() for end in (low, high)))


@lru_cache(maxsize=1024)
def _prove(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], uniform: bool, low: bytes, high: bytes
) -> VectorProduct | None:
    """What can be a key, as kernels ask for the same again: when they are selected, and when they are printed."""
    if not uniform:
        found = _prove(requant, zero_point, clamp, True, low, high)
        if found is not None:
            return found
    ends = (np.frombuffer(low, np.int64), np.frombuffer(high, np.int64))
    stairs = Staircases.of(requant, zero_point, clamp, *ends)
    factors = np.broadcast_to(np.array(requant.factors), stairs.low.shape)
    low_clamp = clamp[0] if clamp[0] > -128 else None
    high_clamp = clamp[1] if clamp[1] < 127 else None
    ends_of_form = stairs.low, stairs.high, low_clamp, high_clamp
    for stepped in (False, True):
        search = _Search(stairs, factors, zero_point, clamp, stepped)
        if search.is_vain:
            continue
        for line in search.uniform() if uniform else search.mixed():
            step = line.step if stepped else None
            found = VectorProduct(line.scale_bits, line.shift, line.start, line.multiplier, step, *ends_of_form)
            if found.holds(stairs).all():
                return found
        return None  # a step is of no help where there is one line that was only not met
    return None


class _Lines(NamedTuple):
    """What a search has found for every channel."""

    scale_bits: IntArray
    shift: int
    start: IntArray
    multiplier: IntArray
    step: IntArray


class _Search:
    """For lines through the staircases of one layer, with a step or without."""

    def __init__(
        self,
        stairs: Staircases,
        factors: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
        zero_point: int,
        clamp: tuple[int, int],
        stepped: bool,
    ) -> None:
        self.stairs = stairs
        self.factors = factors
        self.zero_point = zero_point
        self.stepped = stepped
        marks = Marks.of(stairs, zero_point, *clamp)
        self.sides = _sides(marks, stairs, zero_point, clamp) if stepped else (marks,)
        self.hard = np.zeros(0, np.int64)
        """Channels without a line in the form that was tried last: they are looked at first in the next one."""

    @property
    def is_vain(self) -> bool:
        """Whether some channel has no line, however fine multipliers were."""
        open_ = np.flatnonzero(~self.stairs.constant)
        nominal = np.floor(np.ldexp(self.factors[open_], 31 + _FINER)).astype(np.int64)
        sides = tuple(side.of_channels(open_) for side in self.sides)
        return not possible_gains(sides, nominal, 1, 31 + _FINER, INT32_MAX << _FINER)[1].all()

    def forms(self) -> Iterator[tuple[int, int]]:
        """(k, n) for which multipliers and lanes have room, in the order in which they are worth trying."""
        open_ = ~self.stairs.constant
        largest = self.factors[open_].max(initial=2.0**-31)
        reach = np.maximum(-self.stairs.low, self.stairs.high).max()
        most = math.floor(31 - math.log2(max(float(reach), 256)))
        for shift in _SHIFTS:
            least = max(math.floor(shift + math.log2(largest)) + 1, 0)
            nearest = sorted(range(least, most + 1), key=lambda bits: (abs(bits - _SCALE_BITS), bits))
            yield from ((scale_bits, shift) for scale_bits in nearest[:_TRIED])

    def uniform(self) -> Iterator[_Lines]:
        """Lines of all channels with the same k."""
        every = np.arange(len(self.factors))
        for scale_bits, shift in self.forms():
            if self.hard.size and not self._of(self.hard, scale_bits, shift)[3].all():
                continue
            *line, found = self._of(every, scale_bits, shift)
            self.hard = np.flatnonzero(~found)[:8]
            if found.all():
                yield _Lines(np.full(len(every), scale_bits), shift, line[0], line[1], line[2])

    def mixed(self) -> Iterator[_Lines]:
        """The same with the channel's own k."""
        for shift in _SHIFTS:
            scale_bits, *line = (np.zeros(len(self.factors), np.int64) for _ in range(4))
            left = np.arange(len(self.factors))
            for bits in sorted(range(_MOST_SCALE_BITS + 1), key=lambda bits: (abs(bits - _SCALE_BITS), bits)):
                *those, found = self._of(left, bits, shift)
                done, left = left[found], left[~found]
                scale_bits[done] = bits
                for values, value in zip(line, those, strict=True):
                    values[done] = value[found]
                if not left.size:
                    yield _Lines(scale_bits, shift, line[0], line[1], line[2])
                    break

    def _of(self, channels: IntArray, scale_bits: int, shift: int) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
        """For these channels: start, multiplier, step, and whether there is such a line."""
        total = 31 + shift
        sides = tuple(side.of_channels(channels) for side in self.sides)
        nominal = np.floor(np.ldexp(self.factors[channels], total - scale_bits)).astype(np.int64)
        base, _ = possible_gains(sides, np.maximum(nominal, 1), 1 << scale_bits, total, INT32_MAX)
        start, multiplier, step = (np.zeros(len(channels), np.int64) for _ in range(3))
        found = np.zeros(len(channels), np.bool_)
        for tried in (*(base + delta for delta in _MULTIPLIERS), self._flattest(channels, scale_bits, total)):
            left = np.flatnonzero(~found)
            gains = np.clip(tried[left], 1, INT32_MAX)
            windows = [side.of_channels(left).window(gains << scale_bits, total) for side in sides]
            starts, steps, good = self._offsets(windows, gains, channels[left], scale_bits, shift)
            done = left[good]
            start[done], multiplier[done], step[done], found[done] = starts[good], gains[good], steps[good], True
            if found.all():
                break
        return start, multiplier, step, found

    def _flattest(self, channels: IntArray, scale_bits: int, total: int) -> IntArray:
        """A multiplier for channels that always give the same: the largest that keeps within half an output."""
        width = self.stairs.high[channels] - self.stairs.low[channels] + 1
        return np.asarray((1 << total - 1) // (width << scale_bits))

    def _offsets(
        self, windows: list[Window], gains: IntArray, channels: IntArray, scale_bits: int, shift: int
    ) -> tuple[IntArray, IntArray, BoolArray]:
        """(channels,): starts in the middle of the windows, steps, and whether there are any such."""
        low, high = self.stairs.low[channels], self.stairs.high[channels]
        moved = (self.zero_point << 31 + shift) - (1 << 30 + shift)
        starts = []
        good = np.ones(len(channels), np.bool_)
        # With a step, it is added to lanes that held the first start before.
        for window, last in zip(windows, (high, np.minimum(high, -1)), strict=False):
            least = np.maximum(-(-(window.least + moved) // gains), INT32_MIN - (np.minimum(low, 0) << scale_bits))
            most = np.minimum((window.most + moved) // gains, INT32_MAX - (np.maximum(last, 0) << scale_bits))
            good &= least <= most
            starts.append(least + most >> 1)
        return starts[0], starts[-1] - starts[0], good


def _sides(marks: Marks, stairs: Staircases, zero_point: int, clamp: tuple[int, int]) -> tuple[Marks, Marks]:
    """Those of accumulators from zero on, and of negative ones.

    The outputs right beside zero count, too: the step that bounds them may be on the other side.
    """
    zero, below = np.zeros((len(stairs.low), 1), np.int64), np.full((len(stairs.low), 1), -1)
    at_zero, at_below = (
        stairs.first[:, None] - zero_point + (stairs.reached & (stairs.thresholds <= acc)).sum(axis=1, keepdims=True)
        for acc in (zero, below)
    )
    both = ((stairs.low < 0) & (stairs.high >= 0))[:, None]
    from_zero, negative = marks.on_side(negative=False), marks.on_side(negative=True)
    return (
        replace(
            from_zero,
            reached=np.hstack([from_zero.reached, zero]),
            reached_values=np.hstack([from_zero.reached_values, at_zero]),
            reached_counts=np.hstack([from_zero.reached_counts, both & (at_zero + zero_point > clamp[0])]),
        ),
        replace(
            negative,
            missed=np.hstack([negative.missed, below]),
            missed_values=np.hstack([negative.missed_values, at_below + 1]),
            missed_counts=np.hstack([negative.missed_counts, both & (at_below + zero_point < clamp[1])]),
        ),
    )
