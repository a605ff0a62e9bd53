"""Requantisation by the high half of one product: three instructions of Armv7E-M, or five, where equality is proved.

    SMMLA h, a, M, Z ; SSAT y, #8, h, ASR #j            y = sat8((Z + (a * M >> 32)) >> j)
    AND t, S, a, ASR #31 ; SMMLA h, a, M, Z ; SUB h, h, t ; SSAT y, #8, h, ASR #j

The accumulator register a holds scale * acc + start. M is the factor, Z the zero point; start and Z together put the
line where it takes every step of the staircase. Rounding ties away from zero sets the steps of negative results off
from the others by a constant: then the second form, with S, has a line for each sign.

What is found here is not trusted: every result was evaluated at both ends and on both sides of each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX, INT32_MIN, IntArray
from tinygen.proofs.line import BoolArray, Marks, Window, possible_gains, sides_of
from tinygen.proofs.staircase import Staircases
from tinygen.rescaling import Rescaling

_SHIFTS_BELOW = 3
"""Shifts are tried from the largest possible one on down to so many less: smaller ones are less precise."""
_MULTIPLIERS = sorted({0, *(sign * round(1.35**n) for n in range(27) for sign in (1, -1))}, key=abs)
"""How far from the first possible multiplier others are tried: closely around it, then further and further off."""
_VAIN_SCALES = 24
"""After so many scales without a channel proved, no more are tried."""
_FINER = 8
"""More bits of a multiplier than there are in any form: what has no line then has none with any scale."""
_FEW, _MANY = 32, 4096
"""How many addends are tried for a multiplier: at first, and for channels that ask for more."""


@dataclass(frozen=True, eq=False)
class HighProduct:
    """Constants of the form, proved for every channel of a layer; arrays are int64 (channels,)."""

    scale: int | IntArray
    """g: the accumulator register holds g times the sum; one for all, or per channel where the caller left it open"""
    shift: int
    """j of SSAT #8, ..., ASR #j"""
    start: IntArray
    """what the register holds besides scale * acc"""
    multiplier: IntArray
    """M, 0 <= M < 2**31"""
    addend: IntArray
    """Z, int32"""
    step: IntArray | None
    """S of the form with a step, else None"""
    low: IntArray
    """the least accumulator that it is proved for"""
    high: IntArray
    """the greatest"""
    low_clamp: int | None = None
    """the least output, where saturation to int8 does not see to it"""
    high_clamp: int | None = None
    """the greatest output, likewise"""

    def apply(self, acc: IntArray) -> IntArray:
        """What the instructions give for accumulators (..., channels), as long as the registers hold them."""
        value = self._high_half(acc) >> self.shift
        low = -128 if self.low_clamp is None else self.low_clamp
        high = 127 if self.high_clamp is None else self.high_clamp
        return np.asarray(np.clip(np.clip(value, -128, 127), low, high))

    def fits(self, low: IntArray, high: IntArray) -> BoolArray:
        """(channels,): whether all registers hold their values, for accumulators from low to high."""
        # A sum that is multiplied by zero may well wrap.
        inside: BoolArray = (self.multiplier == 0) & (self._step == 0)
        inside |= _is_int32(self._register(low)) & _is_int32(self._register(high))
        inside &= _is_int32(self._high_half(low)) & _is_int32(self._high_half(high)) & _is_int32(self.addend)
        inside &= (np.minimum(self.multiplier, self._step) >= 0) & _is_int32(self.multiplier | self._step)
        return inside

    def holds(self, stairs: Staircases) -> BoolArray:
        """(channels,): whether the form is proved: it keeps the order, and takes the same steps."""
        return self.fits(stairs.low, stairs.high) & stairs.equal(self.apply)

    def describe(self) -> str:
        """The form, its constants and what it was proved for, in words."""
        steps = "one line" if self.step is None else "a line for each sign"
        scales = np.unique(self.scale)
        scale = str(scales[0]) if len(scales) == 1 else f"{scales[0]} to {scales[-1]}"
        channels = f"{len(self.low)} channel{'s' if len(self.low) > 1 else ''}"
        bits = int(self.multiplier.max()).bit_length()
        return (
            f"high half of a product, {steps}: scale {scale}, shift {self.shift}, multipliers of {bits} bits, "
            f"{channels}, sums from {self.low.min():,} to {self.high.max():,}"
        )

    @property
    def in_float(self) -> BoolArray:
        """(channels,): which ones have the other form, of `tinygen.proofs.mixed_product`."""
        return np.zeros(self.start.shape, np.bool_)

    @property
    def _step(self) -> IntArray:
        return np.zeros_like(self.start) if self.step is None else self.step

    def _register(self, acc: IntArray) -> IntArray:
        return np.asarray(self.scale * np.asarray(acc, np.int64) + self.start)

    def _high_half(self, acc: IntArray) -> IntArray:
        """h, after the step."""
        register = self._register(acc)
        return np.asarray(self.addend + (register * self.multiplier >> 32) - np.where(register < 0, self._step, 0))


def _is_int32(value: IntArray) -> BoolArray:
    return np.asarray((value >= INT32_MIN) & (value <= INT32_MAX))


def prove_high_product(
    requant: Rescaling,
    zero_point: int,
    clamp: tuple[int, int],
    low: IntArray,
    high: IntArray,
    *,
    scale: int | Sequence[int],
    shifts: Sequence[int] | None = None,
    with_step: bool | None = None,
    start_multiple: int = 1,
) -> HighProduct | None:
    """The form that equals clip(requant(acc) + zero_point, *clamp) for every acc from low to high (channels,).

    None where some channel has none, or where the clamp does not lie within int8.

    `scale`: what the kernel multiplies sums by; of several, each channel gets the first that it can be proved with.
    `shifts`: those to try, in this order; else one that similar layers are likely to have, too, goes first.
    `with_step`: whether the form has a step; None: only if there is no other. `start_multiple`: a divisor of `scale`
    that all start values are to be multiples of; multiples of `scale` can be added before sums are multiplied.
    """
    if clamp[0] < -128 or clamp[1] > 127:
        return None
    low_bytes, high_bytes = (np.asarray(end, np.int64).tobytes() for end in (low, high))
    scales = scale if isinstance(scale, int) else tuple(scale)
    wanted = None if shifts is None else tuple(shifts)
    return _prove(requant, zero_point, clamp, low_bytes, high_bytes, scales, wanted, with_step, start_multiple)


def with_lines(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: IntArray, high: IntArray, scale: int
) -> BoolArray:
    """(channels,): which ones may have a form without a step, as far as no multiplier is asked to be an integer."""
    stairs = _staircases(requant, zero_point, clamp, low.astype(np.int64).tobytes(), high.astype(np.int64).tobytes())
    factors = np.broadcast_to(np.array(requant.factors), low.shape)
    search = _Search(stairs, factors, zero_point, (scale,), 1)
    channels = np.arange(len(low))
    marks = Marks.of(stairs, zero_point, *clamp)
    return search.have_lines(marks, channels, search.shifts(stepped=False)[0], stepped=False) & ~stairs.constant


@lru_cache(maxsize=1024)
def _prove(
    requant: Rescaling,
    zero_point: int,
    clamp: tuple[int, int],
    low: bytes,
    high: bytes,
    scale: int | tuple[int, ...],
    shifts: tuple[int, ...] | None,
    with_step: bool | None,
    start_multiple: int,
) -> HighProduct | None:
    """What can be a key, as kernels ask for the same again: when they are selected, and when they are printed."""
    stairs = _staircases(requant, zero_point, clamp, low, high)
    scales = (scale,) if isinstance(scale, int) else scale
    factors = np.broadcast_to(np.array(requant.factors), stairs.low.shape)
    search = _Search(stairs, factors, zero_point, scales, start_multiple)
    for stepped in (False, True) if with_step is None else (with_step,):
        for clamps in _clamps(clamp):
            found = search.first_proved(stepped, clamps, shifts)
            if found is not None:
                return replace(found, scale=scale) if isinstance(scale, int) else found
    return None


@lru_cache(maxsize=64)
def _staircases(requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: bytes, high: bytes) -> Staircases:
    """The same for several scales and forms."""
    return Staircases.of(requant, zero_point, clamp, np.frombuffer(low, np.int64), np.frombuffer(high, np.int64))


def _clamps(clamp: tuple[int, int]) -> Iterator[tuple[int | None, int | None]]:
    """Which ends to clamp explicitly, the cheapest first."""
    lows = (None, clamp[0]) if clamp[0] > -128 else (None,)
    highs = (None, clamp[1]) if clamp[1] < 127 else (None,)
    yield from sorted(((low, high) for low in lows for high in highs), key=lambda pair: 2 - pair.count(None))


class _Line(NamedTuple):
    """For some channels: start, multiplier, addend without the zero point, step; and which channels it is good for."""

    start: IntArray
    multiplier: IntArray
    addend: IntArray
    step: IntArray
    found: BoolArray


@dataclass(frozen=True, eq=False)
class _Search:
    """All that stays the same while shifts, clamps and multipliers are tried."""

    stairs: Staircases
    factors: np.ndarray[tuple[int], np.dtype[np.float64]]
    zero_point: int
    scales: tuple[int, ...]
    start_multiple: int

    def first_proved(
        self, stepped: bool, clamps: tuple[int | None, int | None], shifts: Sequence[int] | None
    ) -> HighProduct | None:
        bottom, top = -128 if clamps[0] is None else clamps[0], 127 if clamps[1] is None else clamps[1]
        marks = Marks.of(self.stairs, self.zero_point, bottom, top)
        for shift in self.shifts(stepped) if shifts is None else shifts:
            found = self._with_shift(marks, shift, stepped)
            if found is not None:
                found = replace(found, low_clamp=clamps[0], high_clamp=clamps[1])
                if found.holds(self.stairs).all():
                    return found
        return None

    def shifts(self, stepped: bool) -> list[int]:
        """The largest that multipliers and results leave room for, rounded down to a multiple of four; then others.

        Of several scales, the small ones come first; with a step, which must be an integer, the large ones.
        """
        factors = np.where(self.stairs.constant, 0, self.factors)
        results = (factors * np.maximum(-self.stairs.low, self.stairs.high)).max() + 256
        shifts: list[int] = []
        for scale in sorted({min(self.scales), max(self.scales)}, reverse=stepped):
            # factor / scale * 2**(32 + shift) < 2**31, and results * 2**shift < 2**31
            limits = (2 * factors.max() / scale, results * 2.0**-31)
            largest = min(31, *(math.floor(-math.log2(limit)) for limit in limits if limit > 0))
            shifts += [largest // 4 * 4, *range(largest, largest - _SHIFTS_BELOW - 1, -1)]
        return [shift for shift in dict.fromkeys(shifts) if shift >= 0]

    def _with_shift(self, marks: Marks, shift: int, stepped: bool) -> HighProduct | None:
        channels = len(self.factors)
        constant = self.stairs.constant
        zeros = np.zeros(channels, np.int64)
        result = HighProduct(
            scale=np.full(channels, self.scales[0]),
            shift=shift,
            start=np.where(constant, -self.scales[0] * self.stairs.low, 0),
            multiplier=zeros.copy(),
            addend=(np.where(constant, self.stairs.first, self.zero_point) << shift).astype(np.int64),
            step=zeros.copy() if stepped else None,
            low=self.stairs.low,
            high=self.stairs.high,
        )
        open_ = np.flatnonzero(~constant)
        if not self.have_lines(marks.of_channels(open_), open_, shift, stepped).all():
            return None
        vain = 0
        for scale in self.scales:
            if not open_.size or vain == _VAIN_SCALES:
                break
            if (np.ldexp(self.factors[open_], 32 + shift) / scale > INT32_MAX).all():
                continue
            line = self._lines(marks.of_channels(open_), open_, scale, shift, stepped, only=len(self.scales) == 1)
            if line is None:
                return None
            done = open_[line.found]
            vain = 0 if done.size else vain + 1
            for array, values in (
                (result.scale, np.full(len(open_), scale)),
                (result.start, line.start),
                (result.multiplier, line.multiplier),
                (result.addend, line.addend + (self.zero_point << shift)),
                (result.step, line.step),
            ):
                if isinstance(array, np.ndarray):
                    array[done] = values[line.found]
            open_ = open_[~line.found]
        return None if open_.size else result

    def have_lines(self, marks: Marks, channels: IntArray, shift: int, stepped: bool) -> BoolArray:
        """Which of these channels have one, if only multipliers were fine enough."""
        shift += _FINER
        nominal = np.floor(np.ldexp(self.factors[channels], 32 + shift)).astype(np.int64)
        most = INT32_MAX * max(self.scales) << _FINER
        return possible_gains(sides_of(marks, stepped), nominal, 1, 32 + shift, most)[1]

    def _lines(
        self, marks: Marks, channels: IntArray, scale: int, shift: int, stepped: bool, only: bool
    ) -> _Line | None:
        """Lines for these channels; None as soon as one has none, if this scale is the `only` one."""
        sides = sides_of(marks, stepped)
        nominal = np.floor(np.ldexp(self.factors[channels], 32 + shift) / scale).astype(np.int64)
        base, possible = possible_gains(sides, nominal, scale, 32 + shift, INT32_MAX)
        if only and not possible.all():
            return None
        starts = self._starts(marks, channels, scale, stepped)
        count = len(channels)
        start, multiplier, addend, step = np.zeros((4, count), np.int64)
        line = _Line(start, multiplier, addend, step, np.zeros(count, np.bool_))
        for addends in (_FEW, _MANY) if only else (_FEW,):
            left = np.flatnonzero(possible & ~line.found)
            if addends == _MANY and only and left.size > 1:
                # One that is hard to prove tells whether it is worth to look at them all.
                _extend(line, left[:1], sides, base, starts, scale, shift, addends, self.start_multiple)
                if not line.found[left[0]]:
                    return None
                left = left[1:]
            _extend(line, left, sides, base, starts, scale, shift, addends, self.start_multiple)
        return None if only and not line.found.all() else line

    def _starts(self, marks: Marks, channels: IntArray, scale: int, stepped: bool) -> tuple[IntArray, IntArray]:
        """The least and the greatest start value: the register fits, and has the sums' sign where that counts."""
        least = INT32_MIN - scale * self.stairs.low[channels]
        most = INT32_MAX - scale * self.stairs.high[channels]
        if stepped:
            negative, other = marks.nearest
            least, most = np.maximum(least, -scale * other), np.minimum(most, -scale * negative - 1)
        return least, most


def _extend(
    line: _Line,
    channels: IntArray,
    sides: Sequence[Marks],
    base: IntArray,
    starts: tuple[IntArray, IntArray],
    scale: int,
    shift: int,
    addends: int,
    multiple: int,
) -> None:
    """Look for lines of channels (indices into `line`), with multipliers from `base` outwards, and enter them."""
    for delta in _MULTIPLIERS:
        channels = channels[~line.found[channels]]
        if not channels.size:
            return
        multiplier = base[channels] + delta
        windows = [side.of_channels(channels).window(scale * multiplier, 32 + shift) for side in sides]
        fits = (multiplier > 0) & (multiplier <= INT32_MAX)
        for window in windows:
            fits &= window.width >= 0
        kept = np.flatnonzero(fits)
        chosen = channels[kept]
        windows = [Window(*(array[kept] for array in window)) for window in windows]
        start, addend, step, found = _offsets(
            windows, multiplier[kept], starts[0][chosen], starts[1][chosen], addends, multiple
        )
        done = chosen[found]
        line.start[done] = start[found]
        line.multiplier[done] = multiplier[kept][found]
        line.addend[done] = addend[found]
        line.step[done] = step[found]
        line.found[done] = True


def _offsets(
    windows: Sequence[Window],
    multiplier: IntArray,
    least_start: IntArray,
    most_start: IntArray,
    addends: int,
    multiple: int,
) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """(channels,): start, addend, step, and whether start * multiplier + addend * 2**32 lies in the (first) window.

    The step takes it to the second window, if there is one. Start values are tried from zero outwards, or else from
    the middle of those that are possible; without a step, addends are, which leaves less to chance.
    """
    window = windows[0]
    # A step goes down: where hardly anything is asked of one sign, the other's least offset is still to be kept.
    least = np.maximum.reduce([each.least for each in windows])
    middle: IntArray = np.where((least_start <= 0) & (most_start >= 0), 0, (least_start + most_start) >> 1)
    around = ((least - middle * multiplier) >> 32)[:, None]
    tries = np.arange(addends, dtype=np.int64)
    tries = np.where(tries & 1, -1, 1) * ((tries + 1) >> 1)
    if multiple == 1 and len(windows) == 1:
        addend = around + tries
        start = -(((addend << 32) - least[:, None]) // multiplier[:, None])
    else:
        start = (middle[:, None] // multiple + tries) * multiple
        addend = -((start * multiplier[:, None] - least[:, None]) >> 32)
    offset = start * multiplier[:, None] + (addend << 32)
    good = (offset <= window.most[:, None]) & (start >= least_start[:, None]) & (start <= most_start[:, None])
    step = np.zeros_like(addend)
    if len(windows) > 1:
        below = windows[1]
        step = np.maximum(-((below.most[:, None] - offset) >> 32), 0)
        good &= (offset - (step << 32) >= below.least[:, None]) & (step <= INT32_MAX)
    first = good.argmax(axis=1)
    rows = np.arange(len(first))
    return start[rows, first], addend[rows, first], step[rows, first], good[rows, first]
