"""Depthwise windows over pairs of rows: which output rows are computed from which pairs, and in which bands.

Rows 2q and 2q + 1 of a channel become words (row 2q below, row 2q + 1 above) that SMLAD multiplies two at a time. A
window of three rows meets them in one of five ways, P being pair p and Q pair p + 1:

    lower   rows 0 and 1 of P under taps 1 and 2: the first row, whose tap 0 lies above the image
    first   P under taps 0 and 1, the first row of Q under tap 2
    second  the second row of P under tap 0, Q under taps 1 and 2
    both    two output rows at once: first and second
    upper   P under taps 0 and 1: the last row, whose tap 2 lies below the image
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.access import Order
from tinygen.ops.window import Axis

TAPS = 3
"""Rows of the window."""


@dataclass(frozen=True)
class Rows:
    """Output rows in order: a head, `count` steps of one kind, which walk down the pairs from 0 on, and a tail."""

    head: str
    """Kind of the first row, which meets pair 0; "" if there is none."""
    kind: str
    count: int
    tail: str
    """Kind of the last row, which meets pair `count`; "" if there is none."""
    pairs: int
    odd: bool
    """Whether the last pair has one row only."""

    @staticmethod
    def of(axis: Axis, height: int) -> Rows | None:
        """Of a window's rows over an image of `height`; None where they do not meet pairs so."""
        output = axis.output_size(height)
        if axis.taps != TAPS or axis.dilation != 1 or axis.stride > 2 or axis.before > 1 or output < 1:
            return None
        last = (output - 1) * axis.stride - axis.before + TAPS - 1
        if last > height:
            return None
        left = output - axis.before
        if axis.stride == 1:
            kind, count = "both", left // 2
            tail = left % 2 == 1
        else:
            kind = "second" if axis.before else "first"
            tail = not axis.before and last == height
            count = left - tail
        ends = ("upper" if last == height else "first") if tail else ""
        pairs = count + (2 if ends == "first" else 1)
        return Rows("lower" if axis.before else "", kind, count, ends, pairs, 2 * pairs == height + 1)

    @property
    def step(self) -> int:
        """Output rows of one step."""
        return 2 if self.kind == "both" else 1


@dataclass(frozen=True)
class Bands:
    """The steps of `Rows` in `count` bands of `steps` each, the last with what is left.

    Bands have one pair in common: the last of a band is the first of the next.
    """

    count: int
    steps: int
    pairs: int
    """Of the band that has most."""
    last_steps: int
    last_pairs: int

    @staticmethod
    def of(rows: Rows, steps: int) -> Bands:
        """Bands of at most so many steps, as few as can be, and as long as each other."""
        count = max(1, -(-rows.count // steps))
        steps = -(-rows.count // count)
        last_steps = rows.count - (count - 1) * steps
        last_pairs = rows.pairs - (count - 1) * steps
        most = last_pairs if count == 1 else max(last_pairs, steps + 1)
        return Bands(count, steps, most, last_steps, last_pairs)

    def order(self, rows: Rows, height: int, in_row: int, out_row: int) -> Order:
        """For some channels, in bytes of whole rows: every band takes the pairs that it does not have, then writes."""
        band = np.arange(self.count)
        pairs = np.minimum((band + 1) * self.steps + 1, rows.pairs)
        pairs[-1] = rows.pairs
        read = np.minimum(2 * pairs, height)
        head, tail = bool(rows.head), bool(rows.tail)
        written = head + np.minimum((band + 1) * self.steps, rows.count) * rows.step
        written[-1] += tail
        return Order(
            np.append(0, read[:-1]) * in_row, read * in_row, np.append(0, written[:-1]) * out_row, written * out_row
        )
