"""Windows over a channel's plane as loads of 16 bytes at any address, each of which serves several outputs.

A window is cut into pieces that lie within 16 bytes. A load at the beginning of an output's piece serves that output,
and those whose piece begins so few bytes later that it lies within the load, too: what differs is by how much the
weights, with zeros around them, are shifted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.kernels.armv81m.values import LANES

_STAY = 4
"""Vectors of weights that there are registers for."""
_MOST_PIECES = 16


class Product(NamedTuple):
    """An output, by its number in the block, and the vector of weights that it is multiplied by."""

    output: int
    weights: int


class Load(NamedTuple):
    """Bytes from the block's beginning, and what is multiplied by them."""

    offset: int
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Taps:
    """Where in the plane a window's taps are, row by row, in bytes from its first one."""

    offsets: tuple[int, ...]

    @staticmethod
    def of(rows: int, row_step: int, columns: int, column_step: int) -> Taps:
        """Of a window with so many taps down and across."""
        return Taps(tuple(row * row_step + column * column_step for row in range(rows) for column in range(columns)))

    @property
    def ascend(self) -> bool:
        """Whether each is beyond the one before, as in a row that is as wide as the window."""
        return all(before < after for before, after in pairwise(self.offsets))

    def pieces(self, widest: int) -> tuple[tuple[int, ...], ...]:
        """The numbers of taps that lie within `widest` bytes, in turn."""
        found: list[list[int]] = []
        for number, offset in enumerate(self.offsets):
            if not found or offset - self.offsets[found[-1][0]] >= widest:
                found.append([])
            found[-1].append(number)
        return tuple(map(tuple, found))


@dataclass(frozen=True)
class Scheme:
    """How the outputs of blocks are computed: pieces of the window, and the shifts of their weights."""

    taps: Taps
    pieces: tuple[tuple[int, ...], ...]
    shifts: tuple[int, ...]

    @property
    def stays(self) -> bool:
        """Whether all weights stay in registers."""
        return self.vectors <= _STAY

    @property
    def vectors(self) -> int:
        """Of weights."""
        return len(self.pieces) * len(self.shifts)

    def loads(self, outputs: Sequence[int]) -> tuple[Load, ...]:
        """For outputs whose windows begin so many bytes after the block's beginning."""
        found = []
        for number, piece in enumerate(self.pieces):
            first = self.taps.offsets[piece[0]]
            waiting = sorted(range(len(outputs)), key=lambda output: outputs[output])
            while waiting:
                base = outputs[waiting[0]]
                served = [output for output in waiting if outputs[output] - base in self.shifts]
                products = (
                    Product(output, number * len(self.shifts) + self.shifts.index(outputs[output] - base))
                    for output in served
                )
                found.append(Load(base + first, tuple(products)))
                waiting = [output for output in waiting if output not in served]
        return tuple(found)

    def reach(self, outputs: Sequence[int]) -> int:
        """Where the loads end for outputs whose windows begin at these bytes."""
        return max(load.offset for load in self.loads(outputs)) + LANES

    @property
    def taps_by_lane(self) -> IntArray:
        """(vectors, 16): which tap's weight each lane has; those beyond the last tap are zero."""
        found = np.full((self.vectors, LANES), len(self.taps.offsets), np.int64)
        for vector, (piece, shift) in enumerate(product(self.pieces, self.shifts)):
            for tap in piece:
                found[vector, self.taps.offsets[tap] - self.taps.offsets[piece[0]] + shift] = tap
        return found

    @property
    def weight_bytes(self) -> int:
        """Of each filter in the stream."""
        count = len(self.taps.offsets)
        return count + 4 - count % 4 if self.stays else LANES * self.vectors

    def weights(self, taps: IntArray) -> IntArray:
        """(filters, bytes) of weights (filters, taps): vectors, or, where they stay, the taps and at least a zero."""
        count = len(self.taps.offsets)
        extended = np.pad(taps, ((0, 0), (0, 4 - count % 4)))
        return extended if self.stays else extended[:, self.taps_by_lane.reshape(-1)]


def schemes(taps: Taps, steps: tuple[int, int]) -> Iterator[Scheme]:
    """The possible ones, for windows that are these bytes apart, across and down."""
    for across, down in product(range(1, _STAY + 1), repeat=2):
        if across * down > _STAY:
            continue
        shifts = sorted({column * steps[0] + row * steps[1] for column in range(across) for row in range(down)})
        widest = LANES - shifts[-1]
        pieces = taps.pieces(widest) if widest > 0 else ()
        scheme = Scheme(taps, pieces, tuple(shifts))
        if pieces and len(pieces) <= _MOST_PIECES and (scheme.stays or len(shifts) == 1):
            yield scheme
