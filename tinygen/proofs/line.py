"""Which straight lines run through a staircase: what a proof looks for, before it is checked.

floor((acc * gain + offset) / 2**shift) takes the steps of a staircase when `offset` lies in a window: at or above
value * 2**shift - acc * gain wherever the output must have reached the value, below it wherever it must not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.proofs.staircase import Staircases

_EXACT = 2.0**62
"""A difference estimated below this is exact in wrapping int64 arithmetic; of larger ones the sign says enough."""
_FAR = 1 << 61

BoolArray = npt.NDArray[np.bool_]


class Window(NamedTuple):
    """For each channel, the offsets from `least` to `most` (int64; none if `most` is the smaller)."""

    least: IntArray
    most: IntArray
    turn: IntArray
    """How much wider the window can become, at the very most, when the gain grows by one; negative: narrower."""

    @property
    def width(self) -> IntArray:
        """Below zero where no offset is left."""
        return self.most - self.least


@dataclass(frozen=True, eq=False)
class Marks:
    """Accumulators of each channel and what the output must be there; all arrays (channels, n), values less zero point.

    At `reached` accumulators the output is the value or more, at `missed` ones it is less.
    """

    reached: IntArray
    reached_values: IntArray
    reached_counts: BoolArray
    missed: IntArray
    missed_values: IntArray
    missed_counts: BoolArray

    @staticmethod
    def of(stairs: Staircases, zero_point: int, bottom: int, top: int) -> Marks:
        """Both sides of every step, and the ends, where no saturation to `bottom` and `top` follows that helps."""
        steps = np.broadcast_to(stairs.values - zero_point, stairs.thresholds.shape)
        low, high = stairs.low[:, None], stairs.high[:, None]
        first, last = stairs.first[:, None], stairs.last[:, None]
        return Marks(
            reached=np.hstack([stairs.thresholds, low]),
            reached_values=np.hstack([steps, first - zero_point]),
            reached_counts=np.hstack([stairs.reached, first > bottom]),
            missed=np.hstack([stairs.thresholds - 1, high]),
            missed_values=np.hstack([steps, last + 1 - zero_point]),
            missed_counts=np.hstack([stairs.reached, last < top]),
        )

    def of_channels(self, chosen: IntArray | BoolArray) -> Marks:
        """Those of some channels."""
        return Marks(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def on_side(self, negative: bool) -> Marks:
        """Those of negative accumulators, or of the others."""
        return Marks(
            self.reached,
            self.reached_values,
            self.reached_counts & ((self.reached < 0) == negative),
            self.missed,
            self.missed_values,
            self.missed_counts & ((self.missed < 0) == negative),
        )

    @property
    def nearest(self) -> tuple[IntArray, IntArray]:
        """(channels,) the negative accumulator next to zero and the first from zero on; far off where none is."""
        far = np.int64(1 << 40)
        negative = np.full(len(self.reached), -far)
        other = np.full(len(self.reached), far)
        for acc, counts in ((self.reached, self.reached_counts), (self.missed, self.missed_counts)):
            negative = np.maximum(negative, np.where(counts & (acc < 0), acc, -far).max(axis=1))
            other = np.minimum(other, np.where(counts & (acc >= 0), acc, far).min(axis=1))
        return negative, other

    def window(self, gain: IntArray, shift: int) -> Window:
        """The offsets for lines of these gains (channels,)."""
        least, at_least = _extreme(self.reached, self.reached_values, self.reached_counts, gain, shift, largest=True)
        most, at_most = _extreme(self.missed, self.missed_values, self.missed_counts, gain, shift, largest=False)
        return Window(np.maximum(least, -_FAR), np.minimum(most - 1, _FAR), at_least - at_most)

    def tightest(self, gain: IntArray, shift: int) -> tuple[IntArray, IntArray]:
        """The reached and the missed accumulator (channels,) that leave the window no more room."""
        least = _extreme(self.reached, self.reached_values, self.reached_counts, gain, shift, largest=True)
        most = _extreme(self.missed, self.missed_values, self.missed_counts, gain, shift, largest=False)
        return least[1], most[1]

    def without(self, reached: int | None = None, missed: int | None = None) -> Marks:
        """Without what is asked at one of these accumulators."""
        return replace(
            self,
            reached_counts=self.reached_counts & (reached is None or self.reached != reached),
            missed_counts=self.missed_counts & (missed is None or self.missed != missed),
        )


def _extreme(
    acc: IntArray,
    values: IntArray,
    counts: BoolArray,
    gain: IntArray,
    shift: int,
    largest: bool,
) -> tuple[IntArray, IntArray]:
    """The largest or smallest value * 2**shift - acc * gain of each channel, and its accumulator."""
    estimate = values * 2.0**shift - acc * gain.astype(np.float64)[:, None]
    exact = values * np.int64(1 << shift) - acc * gain[:, None]
    bounded = np.where(np.abs(estimate) < _EXACT, exact, np.copysign(_EXACT, estimate).astype(np.int64))
    limits = np.where(counts, bounded, -_FAR if largest else _FAR + 1)
    index = (limits.argmax(axis=1) if largest else limits.argmin(axis=1))[:, None]
    return np.take_along_axis(limits, index, 1)[:, 0], np.take_along_axis(acc, index, 1)[:, 0]


def sides_of(marks: Marks, stepped: bool) -> tuple[Marks, ...]:
    """A line for all accumulators, or one for those from zero on and one for the negative ones."""
    return (marks.on_side(negative=False), marks.on_side(negative=True)) if stepped else (marks,)


def possible_gains(
    sides: Sequence[Marks], nominal: IntArray, scale: int, shift: int, greatest: int
) -> tuple[IntArray, BoolArray]:
    """For each channel a gain / `scale` near the nominal one for which windows are not empty, and whether there is any.

    None is greater than `greatest`. The width of a window is a concave function of the gain. Where it is negative, the
    two marks that make it so tell on which side others may be better, and how far off.
    """
    delta = np.zeros_like(nominal)
    least, most = 1 - nominal, greatest - nominal
    waiting = np.arange(len(nominal))
    for _ in range(64):
        delta[waiting] = np.clip(0, least[waiting], most[waiting])
        waiting = waiting[least[waiting] <= most[waiting]]
        empty = np.zeros(len(waiting), np.bool_)
        for side in sides:
            window = side.of_channels(waiting).window(scale * (nominal + delta)[waiting], shift)
            short, turn = -window.width, scale * window.turn
            empty |= (missing := short > 0)
            further = delta[waiting] + -(-short // np.where(turn == 0, 1, np.abs(turn))) * np.sign(turn)
            up, down, none = missing & (turn > 0), missing & (turn < 0), missing & (turn == 0)
            least[waiting] = np.where(up, np.maximum(least[waiting], further), least[waiting])
            most[waiting] = np.where(down, np.minimum(most[waiting], further), most[waiting])
            most[waiting[none]] = least[waiting[none]] - 1
        waiting = waiting[empty]
        if not waiting.size:
            break
    possible = least <= most
    possible[waiting] = False
    return nominal + delta, possible
