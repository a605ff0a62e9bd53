"""Requantisation by products of 32 bits and no more, for cores without long ones (Armv6-M), where equality is proved.

    x = acc + O; below 0 y is the least output L, above X the greatest one; else
    x = x + D where x = E (of exceptions)
    c = x * M[n] >> b ; ... ; c = (x * M[1] + c) >> b
    y = ((x * M[0] + c + C) >> 24) + L, C less S where x < Z (in the form with a step)

All are unsigned and below 2**32. That is a straight line: its gain, of 24 + n * b bits of fraction, is cut into a high
part and n parts of b bits, each of which leaves the product room. O puts the line near zero where x is zero, so that C
has room; X is the last sum before the greatest output. Rounding ties away from zero sets the steps of negative results
off from the others: the second form has another C for them. Rounding to float32 moves a few steps by one accumulator,
up or down, so that no line takes them all. Then sums near a tie, whose line has a fraction of `bits` zeros, are decided
in their own way (`tinygen.proofs.near_ties`), and the line need not be precise: M[0] is its only part. What has no such
form has exceptions, or, where those are too many, near ties and a second part, M[1].

Where M[0] alone does, the channel's other parts are zero.

What is found here is not trusted: every result was evaluated at both ends and on both sides of each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product

import numpy as np

from tinygen.fixedpoint import INT32_MAX, INT32_MIN, IntArray
from tinygen.proofs.line import BoolArray, Marks, Window, possible_gains, sides_of
from tinygen.proofs.near_ties import TOP_BITS, NearTies
from tinygen.proofs.staircase import Staircases
from tinygen.rescaling import Rescaling

_WORD = 1 << 32
_FORMS = (
    (0, 0),
    *((1, bits) for bits in (12, 10, 14, 11, 13, 9, 8, 16, 7, 6, 5, 4, 18, 20)),
    *((2, bits) for bits in (10, 8, 12, 9, 11, 7, 6, 5)),
    *((3, bits) for bits in (8, 7, 6, 5)),
)
"""(n, b) in the order in which they are tried: those of fewer parts first, and those that most layers can have."""
_NEAR_TIE_FORMS = tuple((1, bits) for bits in (8, 10, 12, 6))
"""Likewise, where near ties are decided apart and one part is too coarse."""
_NEAR = sorted({0, *(sign * round(1.4**n) for n in range(20) for sign in (1, -1))}, key=abs)
"""How far from the first possible gain others are tried."""
_FINE = 48
"""Bits of a gain such that what has no line then has none at all."""
_LARGEST_GAIN = 1 << 58
_MOST_EXCEPTIONS = 6
"""Of a channel; all others of the layer pay for them, too."""


@dataclass(frozen=True, eq=False)
class ShortProduct:
    """Constants of the form, proved for every channel of a layer; arrays are int64 (channels,)."""

    bits: int
    """b, of each part but the first, and what follows its product"""
    lowest: int
    """L, the least output"""
    highest: int
    """the greatest"""
    origin: IntArray
    """O, int32"""
    most: IntArray
    """X"""
    parts: tuple[IntArray, ...]
    """M[0], M[1] to M[n]"""
    addend: IntArray
    """C"""
    exceptions: tuple[tuple[IntArray, IntArray], ...]
    """E and D of each"""
    border: IntArray | None
    """Z of the form with a step, else None"""
    step: IntArray | None
    """S, likewise"""
    low: IntArray
    """the least accumulator that it is proved for"""
    high: IntArray
    """the greatest"""
    near: NearTies | None = None
    """how sums near a tie are decided, if not by the line"""

    def apply(self, acc: IntArray) -> IntArray:
        """What the instructions give for accumulators (..., channels), as long as the registers hold them."""
        x = np.asarray(acc, np.int64) + self.origin
        total = self._sums(acc)[-1]
        line = (total >> TOP_BITS) + self.lowest
        if self.near is not None:
            is_near = self.near.is_near(total & (1 << TOP_BITS) - 1)
            line = np.where(is_near, self.near.decided(np.clip(x, 0, self.most), line), line)
        return np.where(x < 0, self.lowest, np.where(x > self.most, self.highest, line))

    def fits(self, low: IntArray, high: IntArray) -> BoolArray:
        """(channels,): whether all registers hold their values, for accumulators from low to high."""
        ends = np.stack([low + self.origin, high + self.origin])
        inside: BoolArray = np.all((ends >= INT32_MIN) & (ends <= INT32_MAX), axis=0)
        inside &= (np.abs(self.origin) <= INT32_MAX) & (self.most >= 0) & (self.most <= INT32_MAX)
        for part in self.parts:
            inside &= (part >= 0) & (part < _WORD)
        if self.step is not None and self.border is not None:
            inside &= (self.step >= 0) & (self.addend >= self.step) & (self.border >= 0) & (self.border <= INT32_MAX)
        for where, by in self.exceptions:
            moved = where + by
            inside &= (where >= 0) & (where <= INT32_MAX) & ((by == 0) | (moved >= 0) & (moved <= self.most))
        inside &= self.addend >= 0
        if self.near is not None:
            inside &= (self.parts[0] == 0) | self.near.says_factor(self.parts[0], self.addend)
        for total in self._sums(np.stack([low, high])):
            inside &= np.all((total >= 0) & (total < _WORD), axis=0)
        return inside

    def holds(self, stairs: Staircases) -> BoolArray:
        """(channels,): whether the form is proved: it keeps the order, and takes the same steps."""
        ends_in_order = self.apply(np.clip(self.most - self.origin, stairs.low, stairs.high)) <= self.highest
        return self.fits(stairs.low, stairs.high) & ends_in_order & stairs.equal(self.apply)

    def describe(self) -> str:
        """The form, its constants and what it was proved for, in words."""
        steps = "one line" if self.step is None else "a line for each sign"
        moved = sum(int(np.count_nonzero(by)) for _, by in self.exceptions)
        apart = f"{_number(moved, 'exception')}, " if moved else ""
        if self.near is not None:
            apart = f"near ties as float32 has them, one in {1 << self.near.bits}, "
        fraction = TOP_BITS + self.bits * (len(self.parts) - 1)
        return (
            f"{apart}{_number(len(self.parts), 'product')} of 32 bits, {steps}: {fraction} bits of fraction, "
            f"{_number(len(self.low), 'channel')}, sums from {self.low.min():,} to {self.high.max():,}"
        )

    def _sums(self, acc: IntArray) -> list[IntArray]:
        """Product and what is added to it, of each part from the last to the first, where x is from zero to X."""
        x = np.clip(np.asarray(acc, np.int64) + self.origin, 0, self.most)
        for where, by in self.exceptions:
            x = x + np.where(x == where, by, 0)
        sums: list[IntArray] = []
        for part in reversed(self.parts):
            sums.append(x * part + (sums[-1] >> self.bits if sums else 0))
        addend = self.addend
        if self.step is not None:
            addend = addend - np.where(x < self.border, self.step, 0)
        return [*sums, sums[-1] + addend]


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"


def prove_short_product(
    requant: Rescaling,
    zero_point: int,
    clamp: tuple[int, int],
    low: IntArray,
    high: IntArray,
    apart: bool = False,
) -> ShortProduct | None:
    """The form that equals clip(requant(acc) + zero_point, *clamp) for every acc from low to high (channels,).

    None where some channel has none, or where the clamp does not lie within int8. `apart`: one that decides near ties
    apart if there is any, though others may be enough.
    """
    if clamp[0] < -128 or clamp[1] > 127:
        return None
    low_bytes, high_bytes = (np.asarray(end, np.int64).tobytes() for end in (low, high))
    return _prove(requant, zero_point, clamp, low_bytes, high_bytes, apart)


@lru_cache(maxsize=1024)
def _prove(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: bytes, high: bytes, apart: bool
) -> ShortProduct | None:
    """What can be a key, as kernels ask for the same again: when they are selected, and when they are printed."""
    ends = np.frombuffer(low, np.int64), np.frombuffer(high, np.int64)
    if ends[0].min() <= INT32_MIN // 2 or ends[1].max() >= INT32_MAX // 2:
        return None
    stairs = Staircases.of(requant, zero_point, clamp, *ends)
    factors = np.broadcast_to(np.array(requant.factors), stairs.low.shape)
    search = _Search(stairs, factors, *clamp)
    kinds = partial(NearTies.kinds, requant, zero_point, clamp[0], *ends)
    return (
        (search.first_proved_near_ties(kinds()) if apart else None)
        or search.first_proved(False)
        or search.first_proved(True)
        or search.first_proved_near_ties(kinds())
        or search.first_proved_with_exceptions()
        or search.first_proved_near_ties(kinds(), _NEAR_TIE_FORMS)
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """All that stays the same while forms are tried."""

    stairs: Staircases
    factors: np.ndarray[tuple[int], np.dtype[np.float64]]
    lowest: int
    highest: int

    @property
    def varied(self) -> IntArray:
        """The channels of which constants are searched; of the others C is the output."""
        return np.flatnonzero(~self.stairs.constant)

    @property
    def marks(self) -> Marks:
        """Of these, outputs less the lowest. Where the last output is the highest one X sees to what follows."""
        return Marks.of(self.stairs, self.lowest, self.lowest, self.highest).of_channels(self.varied)

    def first_proved(self, stepped: bool) -> ShortProduct | None:
        sides = sides_of(self.marks, stepped)
        if not possible_gains(sides, self._nominal(_FINE), 1, _FINE, _LARGEST_GAIN)[1].all():
            return None
        return self._with_any_form(sides, _no_exceptions(self.varied))

    def first_proved_near_ties(
        self, kinds: Iterable[NearTies], forms: Sequence[tuple[int, int]] = ((0, 0),)
    ) -> ShortProduct | None:
        """With sums near a tie apart; `forms` as in `_FORMS`."""
        for near, (more, bits) in product(kinds, forms):
            nominal = self._nominal(TOP_BITS + more * bits)
            gains = {1: (nominal, np.ones(nominal.shape, np.bool_))}
            found = self._with_form((self.marks,), _no_exceptions(self.varied), more, bits, gains, near)
            if found is not None and found.holds(self.stairs).all():
                return found
        return None

    def first_proved_with_exceptions(self) -> ShortProduct | None:
        """For rules that have one line, but for a few steps."""
        marks = self.marks
        nominal = self._nominal(_FINE)
        lacking = np.flatnonzero(~possible_gains((marks,), nominal, 1, _FINE, _LARGEST_GAIN)[1])
        known: list[tuple[tuple[int, int], ...]] = []
        for channel in lacking:
            found = _exceptions(marks.of_channels(np.array([channel])), nominal[channel])
            if found is None:
                return None
            known.append(found)
        exceptions = np.zeros((max(map(len, known), default=0), len(self.varied), 2), np.int64)
        counts = marks.reached_counts.copy(), marks.missed_counts.copy()
        for channel, each in zip(lacking, known, strict=True):
            for number, (acc, by) in enumerate(sorted(each)):
                exceptions[number, channel] = acc, by
                accs = marks.reached if by > 0 else marks.missed
                counts[0 if by > 0 else 1][channel] &= accs[channel] != acc
        kept = replace(marks, reached_counts=counts[0], missed_counts=counts[1])
        return self._with_any_form((kept,), exceptions)

    def _nominal(self, shift: int) -> IntArray:
        return np.floor(np.ldexp(self.factors[self.varied], shift)).astype(np.int64)

    def _with_any_form(self, sides: tuple[Marks, ...], exceptions: IntArray) -> ShortProduct | None:
        for more, bits in _FORMS:
            shift = TOP_BITS + more * bits
            fine = possible_gains(sides, self._nominal(shift), 1, shift, _LARGEST_GAIN)
            if not fine[1].all():
                continue
            high = possible_gains(sides, self._nominal(TOP_BITS), 1 << more * bits, shift, _LARGEST_GAIN >> more * bits)
            for gains in ({1 << more * bits: high, 1: fine}, {1: fine}):
                found = self._with_form(sides, exceptions, more, bits, gains)
                if found is not None and found.holds(self.stairs).all():
                    return found
        return None

    def _with_form(
        self,
        sides: tuple[Marks, ...],
        exceptions: IntArray,
        more: int,
        bits: int,
        gains: Mapping[int, tuple[IntArray, BoolArray]],
        near: NearTies | None = None,
    ) -> ShortProduct | None:
        """`exceptions` (n, channels, 2): an accumulator, and by how much it is moved, or zero.

        `gains` are tried in their order, in units of the last part or of the first one: as in `possible_gains`.
        """
        stairs, varied = self.stairs, self.varied
        shift = TOP_BITS + more * bits
        apart = 0 if near is None else 1 << shift - near.bits
        said = 0 if near is None else 1 << near.lacking_bits - 1
        margin = said << more * bits
        last = np.where(stairs.reached, stairs.thresholds - 1, stairs.low[:, None]).max(axis=1, initial=INT32_MIN)
        last = np.where(stairs.last < self.highest, stairs.high, last)
        for where, by in np.moveaxis(exceptions, 2, 1):
            last[varied] = np.maximum(last[varied], np.where(by > 0, where + by, INT32_MIN))
        gain, step = np.zeros_like(stairs.low), np.zeros_like(stairs.low)
        origin, most = -stairs.low, stairs.high - stairs.low
        addend = (stairs.first - self.lowest << TOP_BITS) + (apart and 1 << TOP_BITS - 1)
        left = np.arange(len(varied))
        for unit, (base, possible) in gains.items():
            waiting = left[possible[left]]
            for delta in _NEAR:
                if not waiting.size:
                    break
                tried = unit * (base[waiting] + delta)
                windows = [side.of_channels(waiting).window(tried, shift) for side in sides]
                windows = [Window(least + margin, most + apart - margin, turn) for least, most, turn in windows]
                start, offset, lower, found = _offsets(windows, tried, shift - TOP_BITS)
                found &= tried > 0
                # What is less than a whole window above the least output is the least output.
                ahead: IntArray = np.asarray(-(-apart // np.maximum(tried, 1)), np.int64)
                if near is not None and near.rest is None:
                    ahead = start
                start, offset = start - ahead, offset + (ahead * tried >> more * bits)
                if near is not None:
                    lacking = near.factor[varied[waiting]] - (tried >> more * bits << near.gain_shift)
                    found &= (lacking >= -said) & (lacking < said)
                    offset = near.with_lacking(offset, lacking)
                done = varied[waiting[found]]
                gain[done], origin[done] = tried[found], start[found]
                addend[done], step[done] = offset[found], lower[found]
                most[done] = last[done] + start[found]
                left = np.setdiff1d(left, waiting[found])
                waiting = waiting[~found]
        if left.size:
            return None
        stepped = len(sides) > 1
        masked = tuple((gain >> bits * part) & ((1 << bits) - 1) for part in range(more))
        moved = np.zeros((len(exceptions), len(most), 2), np.int64)
        moved[:, varied] = exceptions
        return ShortProduct(
            bits=bits,
            lowest=self.lowest,
            highest=self.highest,
            origin=origin,
            most=most,
            parts=(gain >> bits * more, *reversed(masked)),
            addend=addend,
            exceptions=tuple((np.where(by, acc + origin, most + 1), by) for acc, by in np.moveaxis(moved, 2, 1)),
            border=np.clip(origin, 0, most + 1) if stepped else None,
            step=step if stepped else None,
            low=stairs.low,
            high=stairs.high,
            near=near and near.where(origin),
        )


def _no_exceptions(channels: IntArray) -> IntArray:
    return np.zeros((0, len(channels), 2), np.int64)


def _exceptions(marks: Marks, nominal: np.int64) -> tuple[tuple[int, int], ...] | None:
    """Accumulators of one channel, and by how much each is to be moved, so that a line takes the other steps.

    As few as there can be; None where those are too many.
    """
    for most in range(1, _MOST_EXCEPTIONS + 1):
        found = _at_most(most, marks, nominal)
        if found is not None:
            return found
    return None


def _at_most(most: int, marks: Marks, nominal: np.int64) -> tuple[tuple[int, int], ...] | None:
    gain, possible = possible_gains((marks,), np.array([nominal]), 1, _FINE, _LARGEST_GAIN)
    if possible[0]:
        return ()
    if most == 0:
        return None
    # One of the two marks that leave no room must go.
    reached, missed = (int(acc[0]) for acc in marks.tightest(gain, _FINE))
    for acc, by, fewer in ((reached, 1, marks.without(reached=reached)), (missed, -1, marks.without(missed=missed))):
        found = _at_most(most - 1, fewer, nominal)
        if found is not None:
            return ((acc, by), *found)
    return None


def _offsets(windows: list[Window], gain: IntArray, fraction: int) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """(channels,): O, C, S, and whether C lies in the window of the line, or C and C - S in those of the two lines.

    Of the lines' bits `fraction` are below the lowest one of C.
    """
    positive = np.maximum(gain, 1)
    origin = np.minimum.reduce([window.most for window in windows]) // positive
    ends = [
        (-(-np.maximum(window.least - origin * gain, 0) >> fraction), window.most - origin * gain >> fraction)
        for window in windows
    ]
    found = np.logical_and.reduce([least <= most for least, most in ends])
    (least, most), below = ends[0], ends[-1]
    least = np.maximum(least, below[0])
    found &= least <= most
    if len(windows) == 1:
        middle = least + most >> 1
        return origin, middle, np.zeros_like(middle), found
    under = np.minimum(below[0] + below[1] >> 1, most)
    addend = np.maximum(least + most >> 1, under)
    return origin, addend, addend - under, found
