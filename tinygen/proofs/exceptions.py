"""Staircases that a straight line runs through but for one accumulator of a channel: which one that is.

Rounding in float32 moves a step by an accumulator here and there, where a product lies almost halfway between two
outputs. Of the steps that leave a line the least room, one is then given another place, and that accumulator's output
is an exception.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.proofs.line import BoolArray, Marks, possible_gains
from tinygen.proofs.staircase import Staircases

_FINER = 8
"""More bits of a gain than there are in any form: what has no line then has none at all."""
_SHIFT = 31 + _FINER
_TRIED, _APART = 20, 2.0**-17
"""Gains on either side of the nominal one at which the steps with the least room are looked at, and how far apart."""


class Exceptions(NamedTuple):
    """Of each channel, an accumulator, and by how much the line's output is to be more there than the staircase's."""

    acc: IntArray
    by: IntArray
    """1, -1, or 0: the channel has no exception"""


def exceptions(stairs: Staircases, factors: IntArray, zero_point: int, clamp: tuple[int, int]) -> Exceptions | None:
    """Those without which some channels have no line, however fine its gain; None where one for each is not enough."""
    found = Exceptions(np.clip(0, stairs.low, stairs.high), np.zeros(len(stairs.low), np.int64))
    nominal = np.floor(np.ldexp(factors, _SHIFT)).astype(np.int64)
    for channel in np.flatnonzero(~stairs.constant & ~_possible(stairs, nominal, zero_point, clamp)):
        one = _exception(stairs, int(channel), nominal[channel], zero_point, clamp)
        if one is None:
            return None
        found.acc[channel], found.by[channel] = one
    return found


def _possible(stairs: Staircases, nominal: IntArray, zero_point: int, clamp: tuple[int, int]) -> BoolArray:
    marks = Marks.of(stairs, zero_point, *clamp)
    return possible_gains((marks,), np.maximum(nominal, 1), 1, _SHIFT, INT32_MAX << _FINER)[1]


def _exception(
    stairs: Staircases, channel: int, nominal: np.int64, zero_point: int, clamp: tuple[int, int]
) -> tuple[int, int] | None:
    """Accumulator and difference of the exception that leaves a line the most room."""
    gains = np.floor(nominal * (1 + _APART * np.arange(-_TRIED, _TRIED + 1))).astype(np.int64)
    reached, missed = _marks(stairs, channel, len(gains), zero_point, clamp).tightest(gains, _SHIFT)
    tried = sorted({(int(acc), -1) for acc in reached} | {(int(acc), 1) for acc in missed})
    acc, by = np.array(tried).T
    every = stairs.of_channels(np.full(len(tried), channel)).moved(acc, by)
    possible = _possible(every, np.full(len(tried), nominal), zero_point, clamp)
    marks = Marks.of(every, zero_point, *clamp)
    room = np.max([marks.window(np.full(len(tried), gain), _SHIFT).width for gain in gains], axis=0)
    best = int(np.where(possible, room, np.iinfo(np.int64).min).argmax())
    return tried[best] if possible[best] else None


def _marks(stairs: Staircases, channel: int, times: int, zero_point: int, clamp: tuple[int, int]) -> Marks:
    return Marks.of(stairs.of_channels(np.full(times, channel)), zero_point, *clamp)
