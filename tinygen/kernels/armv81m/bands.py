"""Convolutions over a band: rows of the image in the scratch, with the zero point around them, four pixels at a time.

The rows under some rows of results are copied, so that no window knows of a border and windows lie at known places. A
row of a window is one run of bytes, read 16 at a time. Where the stride is one and pixels consist of whole vectors,
neighbouring pixels share what they read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.access import Order
from tinygen.ir import Array
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m.pixel_blocks import PIXELS, PixelBlocks
from tinygen.kernels.armv81m.values import LANES

LARGE, SMALL = 4096, 0
"""Bytes of a band of more than the rows under one row of results, at most."""
_POINTERS = ("r1", "r3", "r5")
_LONGEST = 36
"""Vectors of a window that are written out, at most."""
_WORDS, _BYTES = 508, 127
"""Bytes that loads reach, either way: of words, from a word; of bytes, from anywhere."""


class Lane(NamedTuple):
    """A pixel of a block while one vector of its window is multiplied."""

    register: int
    """Of the vector: q0 to q3"""
    place: int | None
    """Where it is loaded from, in bytes from the pointer; None: it has been loaded"""


Tap = tuple[Lane, ...]
"""One vector of the windows of all lanes."""


@dataclass(frozen=True, eq=False)
class Band:
    """All that the template and the stream need to know."""

    plane: Plane
    """Its channels are bytes."""
    results: int
    """Rows of results over a band."""
    size: int = 1
    """Bytes of a value."""

    @property
    def blocks(self) -> PixelBlocks:
        """Of a row of results."""
        plane = self.plane
        return PixelBlocks(plane.out_width, plane.columns.stride * plane.channels, plane.filters, self.size)

    @property
    def step(self) -> int:
        """Bytes from a pixel's window to the next one's."""
        return self.plane.columns.stride * self.plane.channels

    @property
    def rows(self) -> int:
        """Rows of the band."""
        return (self.results - 1) * self.plane.rows.stride + self.plane.rows.taps

    @property
    def bands(self) -> int:
        """How many there are."""
        return self.plane.out_height // self.results

    @property
    def pitch(self) -> int:
        """Bytes from a row to the next."""
        plane = self.plane
        pixels = (plane.out_width - 1) * plane.columns.stride + plane.columns.taps
        return -(-pixels * plane.channels // 4) * 4

    @property
    def copied(self) -> int:
        """Bytes of a row that come from the image."""
        plane = self.plane
        columns = (plane.out_width - 1) * plane.columns.stride + plane.columns.taps - plane.columns.before
        return max(min(columns, plane.width), 0) * plane.channels

    @property
    def bytes(self) -> int:
        """Of the band."""
        return self.rows * self.pitch

    @property
    def scratch(self) -> int:
        """Bytes with what vectors reach beyond the last window, for weights of zero."""
        return -(-(self.bytes + LANES) // 4) * 4

    @cached_property
    def shared(self) -> bool:
        """Whether neighbouring pixels share vectors."""
        plane = self.plane
        return plane.columns.stride == 1 and plane.channels % LANES == 0 and plane.out_width >= PIXELS

    @property
    def in_words(self) -> bool:
        """Whether every vector lies at a word."""
        return self.plane.channels % 4 == 0

    @cached_property
    def _places(self) -> tuple[tuple[tuple[int, int | None], ...], ...]:
        """(register, bytes from the first pixel's run) of each lane, for each vector of a run."""
        lanes = self.blocks.lanes
        if not self.shared:
            run = self.plane.columns.taps * self.plane.channels
            return tuple(
                tuple((lane, row * self.step + first) for lane, row in enumerate(lanes))
                for first in range(0, run, LANES)
            )
        return tuple(
            tuple(
                (
                    (column + lane) % PIXELS,
                    (column + lane) * self.plane.channels + first if not column or lane == PIXELS - 1 else None,
                )
                for lane in lanes
            )
            for first in range(0, self.plane.channels, LANES)
            for column in range(self.plane.columns.taps)
        )

    @property
    def lead(self) -> int:
        """Bytes from the first pixel's run to the pointer: where loads would not reach the last ones otherwise."""
        farthest = max(place for lanes in self._places for _, place in lanes if place is not None)
        reach = _WORDS if self.in_words else _BYTES
        return max(-(-(farthest - reach) // 4) * 4, 0)

    @property
    def reaches(self) -> bool:
        """Whether loads reach all of a run."""
        return self.lead <= (_WORDS if self.in_words else _BYTES)

    @property
    def run(self) -> tuple[Tap, ...]:
        """The vectors of a window's row."""
        lead = self.lead
        return tuple(
            tuple(Lane(register, None if place is None else place - lead) for register, place in lanes)
            for lanes in self._places
        )

    @property
    def loops(self) -> bool:
        """Whether a window's rows are a loop."""
        return self.plane.rows.taps > 1 and self.plane.rows.taps * len(self._places) > _LONGEST

    @property
    def pointers(self) -> tuple[str, ...]:
        """Each row of a window has one where there are enough; else one walks through the rows."""
        rows = self.plane.rows.taps
        return _POINTERS[:rows] if rows <= len(_POINTERS) and not self.loops else _POINTERS[:1]

    @property
    def walks(self) -> bool:
        """Whether one pointer walks through several rows."""
        return len(self.pointers) < self.plane.rows.taps

    @property
    def weights(self) -> Array:
        """(filters, vectors, 16) int8, one for each byte, in the order of the taps."""
        plane = self.plane
        filters, rows, columns, channels = plane.weights.shape
        if self.shared:
            vectors = plane.weights.reshape(filters, rows, columns, channels // LANES, LANES)
            return np.asarray(vectors.swapaxes(2, 3)).reshape(filters, -1, LANES)
        run = columns * channels
        padded = np.zeros((filters, rows, -(-run // LANES) * LANES), np.int8)
        padded[:, :, :run] = plane.weights.reshape(filters, rows, run)
        return padded.reshape(filters, -1, LANES)

    @property
    def _first_rows(self) -> npt.NDArray[np.int64]:
        """(bands,): the image's row that is the first of each."""
        return np.arange(self.bands, dtype=np.int64) * self.results * self.plane.rows.stride - self.plane.rows.before

    @property
    def inside(self) -> int:
        """Rows that are copied, in all bands."""
        rows = self._first_rows[:, None] + np.arange(self.rows)
        return int(((rows >= 0) & (rows < self.plane.height)).sum())

    @property
    def outside(self) -> int:
        """Rows of zero points in place of those."""
        return self.bands * self.rows - self.inside

    @property
    def has_columns_outside(self) -> bool:
        """Whether windows reach over the left or right border."""
        return self.copied < self.pitch

    @property
    def order(self) -> Order:
        """A band is copied before the first of its results is written."""
        plane = self.plane
        row = plane.width * plane.channels
        written = self.results * plane.out_width * self.blocks.pitch
        band = np.arange(self.bands, dtype=np.int64)
        first = self._first_rows.clip(0, plane.height)
        last = (self._first_rows + self.rows).clip(0, plane.height)
        return Order(first * row, last * row, band * written, (band + 1) * written)


def divisors(count: int) -> Iterator[int]:
    """All, from one on."""
    return (each for each in range(1, count + 1) if count % each == 0)
