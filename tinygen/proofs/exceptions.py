"""Staircases that a straight line runs through but for a few accumulators of a channel: which ones these are.

Rounding in float32 moves a step by an accumulator here and there, where a product lies almost halfway between two
outputs. A line that passes such a step on the wrong side gives the outputs of a staircase that has the step one
accumulator sooner or later, and that accumulator's output is an exception.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.proofs.line import BoolArray, Marks, possible_gains
from tinygen.proofs.staircase import Staircases

MOST_EXCEPTIONS = 4
"""Of a channel."""
_FINER = 8
"""More bits of a gain than there are in any form: what has no line then has none at all."""
_SHIFT = 31 + _FINER
_GAINS = 1 + 2.0**-16 * np.linspace(-1, 1, 4097)
"""By the nominal one: those that are tried."""

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Exceptions(NamedTuple):
    """(n, channels) accumulators, and by how much a line's output is to be more there than the staircase's."""

    acc: IntArray
    by: IntArray
    """1, -1, or 0: the channel has no such exception"""

    def without(self, stairs: Staircases) -> Staircases:
        """The staircases that lines run through."""
        for acc, by in zip(self.acc, self.by, strict=True):
            stairs = stairs.moved(acc, by)
        return stairs


def exceptions(stairs: Staircases, factors: IntArray, zero_point: int, clamp: tuple[int, int]) -> Exceptions | None:
    """The fewest without which some channels have no line, however fine its gain; None where MOST are not enough."""
    nominal = np.floor(np.ldexp(factors, _SHIFT)).astype(np.int64)
    shape = MOST_EXCEPTIONS, len(stairs.low)
    found = Exceptions(np.broadcast_to(np.clip(0, stairs.low, stairs.high), shape).copy(), np.zeros(shape, np.int64))
    for channel in np.flatnonzero(~stairs.constant & ~_possible(stairs, nominal, zero_point, clamp)):
        reached = stairs.reached[channel]
        steps = stairs.thresholds[channel][reached]
        those = _fewest(steps, (stairs.values[reached] - zero_point).astype(np.float64), float(factors[channel]))
        if not those:
            return None
        found.acc[: len(those), channel], found.by[: len(those), channel] = np.array(those).T
    used = max(int(np.abs(found.by).sum(axis=0).max(initial=0)), 1)
    found = Exceptions(found.acc[:used], found.by[:used])
    return found if _possible(found.without(stairs), nominal, zero_point, clamp).all() else None


def _possible(stairs: Staircases, nominal: IntArray, zero_point: int, clamp: tuple[int, int]) -> BoolArray:
    marks = Marks.of(stairs, zero_point, *clamp)
    return stairs.constant | possible_gains((marks,), np.maximum(nominal, 1), 1, _SHIFT, INT32_MAX << _FINER)[1]


def _fewest(steps: IntArray, values: FloatArray, factor: float) -> list[tuple[int, int]]:
    """(accumulator, difference) of a channel's exceptions; none where too many would be needed, or something else.

    `steps` (n,) are the least accumulators with `values` (n,), zero point taken off, or more.
    At or after a step a line is at its value or above, if its offset is at `least`; before the step it is below that,
    if the offset is below `most`. Leaving out those of the largest `least` and of the smallest `most` leaves the most
    room for an offset, which is looked at for each gain.
    """
    gains = factor * _GAINS[:, None]
    least, most = values - gains * steps, values - gains * (steps - 1)
    kept = min(MOST_EXCEPTIONS + 1, len(steps))
    largest = -np.sort(np.partition(-least, kept - 1, axis=1)[:, :kept], axis=1)
    smallest = np.sort(np.partition(most, kept - 1, axis=1)[:, :kept], axis=1)
    for count in range(1, kept):
        room = np.stack([smallest[:, count - late] - largest[:, late] for late in range(count + 1)])
        late, gain = np.unravel_index(int(room.argmax()), room.shape)
        if room[late, gain] > 0:
            offset = (smallest[gain, count - late] + largest[gain, late]) / 2
            later, sooner = steps[least[gain] > offset], steps[most[gain] <= offset] - 1
            return [*((int(acc), -1) for acc in later), *((int(acc), 1) for acc in sooner)]
    return []
