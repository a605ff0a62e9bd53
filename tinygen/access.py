"""How far an input and an output of a step may overlap, from the order in which a kernel reads and writes.

A kernel works in steps: it reads some bytes of an input, and writes some bytes of the output. An input byte that has
been read for the last time may be overwritten. The rule is that of Jangda et al. and others for overlapping the
buffers of one operator, in both directions: forwards, with the output below the input, and backwards, above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.ir import Array


class Spacing(NamedTuple):
    """How an input and the output of a kernel may lie to each other, in bytes; one of the two must hold.

    ``input_above``: the input may begin this many bytes after the output's beginning, or any more. 0: it may begin
    where the output does; negative: even before it. ``output_above``: the same with the roles exchanged. Where nothing
    is known they are the size of the output, and the size of the input: the two do not overlap.
    """

    input_above: int
    output_above: int
    in_place: bool = False
    """Whether, besides, both may begin at the same byte, even where other distances as small are not allowed."""


@dataclass(frozen=True)
class Order:
    """The steps of a kernel, in the order of time: which bytes each reads of an input, and writes of the output.

    Arrays of int64, one element for each step: the first byte, and the first one beyond. A step that reads nothing has
    an empty range of reads. In a `buffered` step all reads come before the first write; otherwise nothing is known of
    their order within the step.
    """

    reads_from: Array
    reads_to: Array
    writes_from: Array
    writes_to: Array
    buffered: bool = True


def spacing(order: Order) -> Spacing:
    """The least distances at which no byte is overwritten before it has been read for the last time."""
    reads = order.reads_to > order.reads_from
    nothing = np.iinfo(np.int64).max // 4
    lowest = np.where(reads, order.reads_from, nothing)
    highest = np.where(reads, order.reads_to, -nothing)
    # Of all steps from each on, and of those after it.
    lowest = np.minimum.accumulate(lowest[::-1])[::-1]
    highest = np.maximum.accumulate(highest[::-1])[::-1]
    if order.buffered:
        lowest = np.append(lowest[1:], nothing)
        highest = np.append(highest[1:], -nothing)
    size = int(order.reads_to.max(initial=0))
    end = int(order.writes_to.max(initial=0))
    return Spacing(
        max(int((order.writes_to - lowest).max(initial=-nothing)), -size),
        max(int((highest - order.writes_from).max(initial=-nothing)), -end),
    )


def by_channels(order: Order) -> Spacing:
    """Of a kernel that goes through `order` for some channels of all pixels, then for the next channels, and so on.

    `order` is that of whole pixels, of as many channels in the input as in the output. Where both begin at the same
    byte, a channel's bytes meet those of the same channel only, so that the order of the channels does not matter;
    elsewhere the first channels' outputs lie upon other channels that are still to be read.
    """
    size, end = int(order.reads_to.max(initial=0)), int(order.writes_to.max(initial=0))
    return Spacing(end, size, in_place=spacing(order).input_above <= 0)


def evenly(steps: int, read: int, written: int, buffered: bool = True) -> Order:
    """Steps that walk through input and output side by side: `read` and `written` bytes each, no byte twice."""
    at = np.arange(steps, dtype=np.int64)
    return Order(at * read, (at + 1) * read, at * written, (at + 1) * written, buffered)


def rows(steps: int, row: int, window: int, stride: int, before: int, height: int, written: int) -> Order:
    """Buffered steps that each write a row, from `window` rows of an input of `height` rows that `stride` moves over.

    `before`: rows of padding above the input. `row` and `written` are bytes of a row of input and output.
    """
    at = np.arange(steps, dtype=np.int64)
    first = np.clip(at * stride - before, 0, height)
    last = np.clip(at * stride - before + window, 0, height)
    return Order(first * row, last * row, at * written, (at + 1) * written)
