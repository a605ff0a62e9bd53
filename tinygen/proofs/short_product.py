"""Requantisation by products of 32 bits and no more, for cores without long ones (Armv6-M), where equality is proved.

    x = acc + O, at least 0 and at most X
    c = C, less S where x < Z (in forms with steps: for each of them)
    c = (x * M[n] + c) >> b ; ... ; c = (x * M[1] + c) >> b
    y = ((x * M[0] + c) >> 24) + L

All are unsigned and below 2**32. That is a straight line: its gain, of 24 + n * b bits of fraction, is cut into a high
part and n parts of b bits, each of which leaves the product room. O puts the line near zero where x is zero, so that C
has room; X and zero are the clamp, or where int8 ends. Rounding ties away from zero sets the steps of negative results
off from the others: the second form has another C for them. Rounding products to float32 first, then ties to even,
moves single steps, so that for some channels in a hundred there is no such line: they have one in two parts or a few,
each set off upwards.

What is found here is not trusted: every result was evaluated at both ends and on both sides of each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tinygen.fixedpoint import INT32_MAX, INT32_MIN, IntArray, Rescaling
from tinygen.proofs.line import BoolArray, Marks, Window, parts_of, possible_gains
from tinygen.proofs.staircase import Staircases

TOP_BITS = 24
"""An unsigned result in the high byte of a word."""
_WORD = 1 << 32
_FORMS = (
    *((1, bits) for bits in (12, 10, 14, 11, 13, 9, 8, 16, 7, 6, 5, 4, 18, 20)),
    *((2, bits) for bits in (10, 8, 12, 9, 11, 7, 6, 5)),
    *((3, bits) for bits in (8, 7, 6, 5)),
)
"""(n, b) in the order in which they are tried: those of one part more first, and those that most layers can have."""
_NEAR = sorted({0, *(sign * round(1.4**n) for n in range(20) for sign in (1, -1))}, key=abs)
"""How far from the first possible gain others are tried."""
_MOST_STEPS = 6
"""Of one line."""
_TRIED_GAINS, _GAIN_RANGE = 4001, 3e-5
"""How many gains are looked at for a line in parts, and how far from the factor, relatively."""
_FINE = 48
"""Bits of a gain such that what has no line then has none at all."""
_LARGEST_GAIN = 1 << 58

Factors = np.ndarray[tuple[int], np.dtype[np.float64]]
"""(channels,)"""


@dataclass(frozen=True, eq=False)
class ShortProduct:
    """Constants of the form, proved for every channel of a layer; arrays are int64 (channels,)."""

    bits: int
    """b, of each part but the first, and what follows its product"""
    lowest: int
    """L, the least output"""
    origin: IntArray
    """O, int32"""
    most: IntArray
    """X"""
    parts: tuple[IntArray, ...]
    """M[0], M[1] to M[n]"""
    addend: IntArray
    """C"""
    border: IntArray | None
    """Z of forms with steps, (steps, channels), none above the one before; else None"""
    step: IntArray | None
    """S, likewise"""
    low: IntArray
    """the least accumulator that it is proved for"""
    high: IntArray
    """the greatest"""

    def apply(self, acc: IntArray) -> IntArray:
        """What the instructions give for accumulators (..., channels), as long as the registers hold them."""
        return np.asarray((self._sums(acc)[-1] >> TOP_BITS) + self.lowest)

    def fits(self, low: IntArray, high: IntArray) -> BoolArray:
        """(channels,): whether all registers hold their values, for accumulators from low to high."""
        ends = np.stack([low + self.origin, high + self.origin])
        inside: BoolArray = np.all((ends >= INT32_MIN) & (ends <= INT32_MAX), axis=0)
        inside &= (np.abs(self.origin) <= INT32_MAX) & (self.most >= 0) & (self.most <= INT32_MAX)
        for part in self.parts:
            inside &= (part >= 0) & (part < _WORD)
        if self.step is not None and self.border is not None:
            inside &= ((self.step >= 0) & (self.border >= 0) & (self.border <= INT32_MAX)).all(axis=0)
            inside &= self.addend >= self.step.sum(axis=0)
        inside &= self.addend >= 0
        for total in self._sums(np.stack([low, high])):
            inside &= np.all((total >= 0) & (total < _WORD), axis=0)
        return inside

    def holds(self, stairs: Staircases) -> BoolArray:
        """(channels,): whether the form is proved: it keeps the order, and takes the same steps."""
        return self.fits(stairs.low, stairs.high) & stairs.equal(self.apply)

    def describe(self) -> str:
        """The form, its constants and what it was proved for, in words."""
        steps = "one line" if self.step is None else f"a line in {len(self.step) + 1} parts"
        channels = f"{len(self.low)} channel{'s' if len(self.low) > 1 else ''}"
        return (
            f"{len(self.parts)} products of 32 bits, {steps}: {TOP_BITS + self.bits * (len(self.parts) - 1)} bits of "
            f"fraction, {channels}, sums from {self.low.min():,} to {self.high.max():,}"
        )

    def _sums(self, acc: IntArray) -> list[IntArray]:
        """Product and what is added to it, of each part from the last to the first."""
        x = np.clip(np.asarray(acc, np.int64) + self.origin, 0, self.most)
        carry: IntArray = np.broadcast_to(self.addend, x.shape)
        if self.step is not None and self.border is not None:
            for border, step in zip(self.border, self.step, strict=True):
                carry = carry - np.where(x < border, step, 0)
        sums = []
        for part in reversed(self.parts):
            sums.append(x * part + carry)
            carry = sums[-1] >> self.bits
        return sums


def prove_short_product(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: IntArray, high: IntArray
) -> ShortProduct | None:
    """The form that equals clip(requant(acc) + zero_point, *clamp) for every acc from low to high (channels,).

    None where some channel has none, or where the clamp does not lie within int8.
    """
    if clamp[0] < -128 or clamp[1] > 127:
        return None
    low_bytes, high_bytes = (np.asarray(end, np.int64).tobytes() for end in (low, high))
    return _prove(requant, zero_point, clamp, low_bytes, high_bytes)


@lru_cache(maxsize=1024)
def _prove(requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: bytes, high: bytes) -> ShortProduct | None:
    """What can be a key, as kernels ask for the same again: when they are selected, and when they are printed."""
    ends = np.frombuffer(low, np.int64), np.frombuffer(high, np.int64)
    if ends[0].min() <= INT32_MIN // 2 or ends[1].max() >= INT32_MAX // 2:
        return None
    stairs = Staircases.of(requant, zero_point, clamp, *ends)
    factors = np.broadcast_to(np.array(requant.factors), stairs.low.shape)
    for borders in _borders(stairs, factors, clamp[0]):
        found = _first_proved(stairs, factors, clamp[0], borders)
        if found is not None:
            return found
    return None


def _borders(stairs: Staircases, factors: Factors, lowest: int) -> Iterator[IntArray]:
    """Where lines may have steps, (steps, channels): nowhere, at zero, or where they help; each from the top down."""
    yield np.empty((0, len(factors)), np.int64)
    yield np.zeros((1, len(factors)), np.int64)
    found = _breaks(_marks(stairs, lowest), stairs, factors)
    if found is not None:
        yield found


def _first_proved(stairs: Staircases, factors: Factors, lowest: int, borders: IntArray) -> ShortProduct | None:
    varied = np.flatnonzero(~stairs.constant)
    sides = parts_of(_marks(stairs, lowest).of_channels(varied), borders[:, varied])
    nominal = np.floor(np.ldexp(factors[varied], _FINE)).astype(np.int64)
    if not possible_gains(sides, nominal, 1, _FINE, _LARGEST_GAIN)[1].all():
        return None
    for more, bits in _FORMS:
        found = _with_form(stairs, sides, factors, varied, borders, lowest, more, bits)
        if found is not None and found.holds(stairs).all():
            return found
    return None


def _breaks(marks: Marks, stairs: Staircases, factors: Factors) -> IntArray | None:
    """Borders for the channels that have no line without them, as few as they need; None where some find none.

    Channels that need fewer have them below all accumulators.
    """
    nominal = np.floor(np.ldexp(factors, _FINE)).astype(np.int64)
    possible = possible_gains((marks,), nominal, 1, _FINE, _LARGEST_GAIN)[1] | stairs.constant
    borders = np.tile(stairs.low, (_MOST_STEPS, 1))
    most = 0
    for channel in np.flatnonzero(~possible):
        found = _channel_breaks(marks, int(channel), float(factors[channel]))
        if found is None:
            return None
        borders[: len(found), channel] = found
        most = max(most, len(found))
    return borders[:most]


def _channel_breaks(marks: Marks, channel: int, factor: float) -> IntArray | None:
    """(steps,) the accumulators from which on the parts of the line begin, from the top; None for too many.

    For each of many gains, the fewest parts are found from the top down: a part goes on as long as some offset, not
    above those before, is right for all of its marks. Of the gains with the fewest, one amidst others is taken.
    """
    kinds = (
        (marks.missed[channel], marks.missed_values[channel], marks.missed_counts[channel]),
        (marks.reached[channel], marks.reached_values[channel], marks.reached_counts[channel]),
    )
    acc = np.concatenate([found[counts] for found, _, counts in kinds])
    values = np.concatenate([found[counts] for _, found, counts in kinds])
    is_missed = np.arange(len(acc)) < kinds[0][2].sum()
    order = np.argsort(-acc, kind="stable")
    gains = factor * (1 + np.linspace(-_GAIN_RANGE, _GAIN_RANGE, _TRIED_GAINS))
    most, least = np.full(len(gains), np.inf), np.full(len(gains), -np.inf)
    breaks = np.zeros((len(order), len(gains)), np.bool_)
    fails = np.zeros(len(gains), np.bool_)
    for place, mark in enumerate(order):
        offset = values[mark] - acc[mark] * gains
        if is_missed[mark]:
            most = np.minimum(most, offset)
            breaks[place] = least > most
            least = np.where(breaks[place], -np.inf, least)
        else:
            fails |= offset > most
            least = np.maximum(least, offset)
    counts = np.where(fails, _MOST_STEPS + 1, breaks.sum(axis=0))
    if counts.min() > _MOST_STEPS:
        return None
    chosen = np.flatnonzero(counts == counts.min())
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
    longest = max(runs, key=len)
    return acc[order[np.flatnonzero(breaks[:, longest[len(longest) // 2]]) - 1]]


def _marks(stairs: Staircases, lowest: int) -> Marks:
    """Of outputs less the lowest. X sees to what lies above the last step, so that no mark stands at the upper end."""
    marks = Marks.of(stairs, lowest, lowest, 127)
    counts = marks.missed_counts.copy()
    counts[:, -1] = False
    return replace(marks, missed_counts=counts)


def _with_form(
    stairs: Staircases,
    sides: tuple[Marks, ...],
    factors: Factors,
    varied: IntArray,
    borders: IntArray,
    lowest: int,
    more: int,
    bits: int,
) -> ShortProduct | None:
    """Constants of `varied` channels are searched, the others' are such that x is one always."""
    shift = TOP_BITS + more * bits
    nominal = np.floor(np.ldexp(factors[varied], shift)).astype(np.int64)
    base, possible = possible_gains(sides, nominal, 1, shift, _LARGEST_GAIN)
    if not possible.all():
        return None
    last = np.where(stairs.reached, stairs.thresholds, stairs.low[:, None]).max(axis=1, initial=INT32_MIN)
    gain = (stairs.first - lowest << shift).astype(np.int64)
    origin, most = 1 - stairs.low, np.ones_like(stairs.low)
    addend, step = np.zeros_like(stairs.low), np.zeros_like(borders)
    left = np.arange(len(varied))
    for delta in _NEAR:
        if not left.size:
            break
        tried = base[left] + delta
        windows = [side.of_channels(left).window(tried, shift) for side in sides]
        start, offset, lower, found = _offsets(windows, tried, last[varied[left]], bits)
        found &= tried > 0
        done = varied[left[found]]
        gain[done], origin[done], addend[done] = tried[found], start[found], offset[found]
        step[:, done] = lower[:, found]
        most[done] = last[done] + start[found]
        left = left[~found]
    if left.size:
        return None
    stepped = len(borders) > 0
    masked = tuple((gain >> bits * part) & ((1 << bits) - 1) for part in range(more))
    return ShortProduct(
        bits=bits,
        lowest=lowest,
        origin=origin,
        most=most,
        parts=(gain >> bits * more, *reversed(masked)),
        addend=addend,
        border=np.clip(borders + origin, 0, most + 1) if stepped else None,
        step=step if stepped else None,
        low=stairs.low,
        high=stairs.high,
    )


def _offsets(
    windows: list[Window], gain: IntArray, last: IntArray, bits: int
) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """O, C, S (steps, channels), and whether C and what is left of it after each step lie in the windows of the parts.

    All are in the middle, so that none is above the one before.
    """
    positive = np.maximum(gain, 1)
    origin = np.minimum.reduce([window.most for window in windows]) // positive
    room = _WORD - 1 - (last + origin) * (gain & ((1 << bits) - 1))
    least = np.stack([np.maximum(window.least - origin * gain, 0) for window in windows])
    most = np.stack([np.minimum(window.most - origin * gain, room) for window in windows])
    offsets = least + most >> 1
    return origin, offsets[0], offsets[:-1] - offsets[1:], np.asarray((least <= most).all(axis=0))
