"""The windows of a convolution over patches: how their bytes are gathered into groups of four values.

A group is four neighbouring bytes of a window's row, one load. What is left of rows that are no multiple of four is
either filled up with what lies beyond the window's row, which meets weights of zero, or shares groups with what is left
of other rows: exact groups, which read nothing beyond. `templates/armv7em/gather.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array
from tinygen.kernels.armv7em import filters
from tinygen.kernels.armv7em.filters import GROUP, UNROLLED, group_bytes
from tinygen.kernels.armv7em.plane import Plane

FARTHEST = 4095
"""Bytes that an instruction's immediate offset reaches."""

_WIDE = 1024
"""Bytes that wide weights may take more, at most."""


@dataclass(frozen=True)
class Piece:
    """Bytes of a group that one instruction loads: one, two or all four."""

    size: int
    offset: int
    """From the window's first byte."""
    shift: int
    """Bits to where they belong in the group."""


@dataclass(frozen=True)
class Gathered:
    """A group of each window."""

    pieces: tuple[Piece, ...]
    apart: bool
    """Whether single bytes become halfwords as they are loaded."""


@dataclass(frozen=True)
class Window:
    """The bytes under a window: `rows` of `run` bytes, in exact groups or not."""

    rows: int
    run: int
    exact: bool

    @property
    def exact_groups(self) -> int:
        """Where nothing beyond a window's row is read."""
        return self.rows * (self.run // GROUP) - (-(self.rows * (self.run % GROUP)) // GROUP)

    @property
    def loose_groups(self) -> int:
        """Where each row has its own."""
        return self.rows * -(-self.run // GROUP)

    @property
    def groups(self) -> int:
        """That there are."""
        return self.exact_groups if self.exact else self.loose_groups

    def pieces(self, pitch: int) -> tuple[tuple[Piece, ...], ...]:
        """What the groups consist of where rows lie `pitch` bytes apart."""
        rows = range(self.rows)
        whole = self.run // GROUP * GROUP
        if not self.exact:
            return tuple((Piece(GROUP, row * pitch + first, 0),) for row in rows for first in range(0, self.run, GROUP))
        words = [(Piece(GROUP, row * pitch + first, 0),) for row in rows for first in range(0, whole, GROUP)]
        rest = [row * pitch + byte for row in rows for byte in range(whole, self.run)]
        return (*words, *(_pieces(rest[first : first + GROUP]) for first in range(0, len(rest), GROUP)))

    def weights(self, plane: Plane) -> Array:
        """Weights (filters, 1, values) in the order of the groups."""
        flat = plane.weights.reshape(plane.filters, self.rows, self.run)
        if self.exact:
            whole = self.run // GROUP * GROUP
            parts = (flat[:, :, :whole], flat[:, :, whole:])
            return np.concatenate([part.reshape(plane.filters, -1) for part in parts], axis=1)[:, None]
        padded = np.zeros((*flat.shape[:2], -(-self.run // GROUP) * GROUP), np.int8)
        padded[:, :, : self.run] = flat
        return padded.reshape(plane.filters, 1, -1)


def _pieces(offsets: Sequence[int]) -> tuple[Piece, ...]:
    """Single bytes, or two neighbours at once."""
    found: list[Piece] = []
    index = 0
    while index < len(offsets):
        size = 2 if index + 1 < len(offsets) and offsets[index + 1] == offsets[index] + 1 else 1
        found.append(Piece(size, offsets[index], 8 * index))
        index += size
    return tuple(found)


@dataclass(frozen=True)
class Gather:
    """How the windows of a block are gathered from rows that lie `pitch` bytes apart."""

    window: Window
    pitch: int
    lanes: int
    straight: bool
    """Whether without a loop."""
    wide: bool
    """Whether for wide weights."""

    @property
    def groups(self) -> tuple[Gathered, ...]:
        """All of them, without a loop."""
        return tuple(
            Gathered(pieces, self.wide and all(piece.size == 1 for piece in pieces))
            for pieces in self.window.pieces(self.pitch)
        )

    @property
    def bytes(self) -> int:
        """Of a block's expanded windows."""
        return self.window.groups * group_bytes(self.lanes)

    @property
    def rows(self) -> int:
        """Turns of the loop over a window's rows."""
        return self.window.rows

    @property
    def words(self) -> int:
        """Of a row in the loop."""
        return -(-self.window.run // GROUP)

    @property
    def together(self) -> int:
        """Words of each turn of the inner loop."""
        return 2 - self.words % 2

    @property
    def turns(self) -> int:
        """Of the inner loop."""
        return self.words // self.together

    @property
    def row_bytes(self) -> int:
        """Of a row's expanded words."""
        return self.words * group_bytes(self.lanes)

    @property
    def next_row(self) -> int:
        """Bytes from where a row's last word ends to the next row."""
        return self.pitch - self.words * GROUP

    @property
    def none_outside(self) -> tuple[bool, ...]:
        """Of the lanes: all are in memory."""
        return (False,) * self.lanes


@dataclass(frozen=True)
class Blocks:
    """How pointers go from block to block of a row of results, or of several: `count` of `lanes` pixels."""

    count: int
    lanes: int
    overlap: int
    """Pixels that the last one computes again."""
    step: int
    """Bytes from a window to the next in its row."""
    filters: int

    @property
    def steps(self) -> tuple[int, ...]:
        """Bytes from the first lane's window to each lane's."""
        return tuple(lane * self.step for lane in range(self.lanes))

    @property
    def offsets(self) -> tuple[int, ...]:
        """The same for results."""
        return tuple(lane * self.filters for lane in range(self.lanes))

    @property
    def advance(self) -> int:
        """Bytes from a block's first window to the next one's."""
        return self.lanes * self.step

    @property
    def back(self) -> int:
        """By so many bytes, the last one's windows begin before those of the one before end."""
        return self.overlap * self.step

    @property
    def y_advance(self) -> int:
        """Bytes from where the results of a block's first pixel end to those of the next block."""
        return (self.lanes - 1) * self.filters

    @property
    def y_back(self) -> int:
        """As `back`, for results."""
        return self.overlap * self.filters


def takes_wide_weights(plane: Plane, groups: int, most: int) -> bool:
    """Whether weights are wide, of a window of `groups`: where they are few, and code is not to be small."""
    return most == UNROLLED and groups <= most and 4 * groups * plane.filters <= _WIDE


def block_cost(plane: Plane, lanes: int, groups: int, wide: bool) -> float:
    """Instructions of a block with all filters, about."""
    each = 9 if wide else 11
    return plane.filters / 2 * filters.cost(lanes, lanes, groups, wide) + groups * (each * lanes + 4) + 50
