"""Depthwise layers over bands: planes in strips of the rows under some rows of results, one band after the other.

The strips of a band are those of an image without rows of padding. What lies above and below the image is zero points
that are there before the image's rows are put into the planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from tinygen.access import Order, rows
from tinygen.ir import Shape
from tinygen.kernels.armv81m.strips import Strips, strips_of
from tinygen.ops.window import Window

_PER_BAND = 25
"""Instructions for each channel of a band, about, that it takes to begin with its weights."""


@dataclass(frozen=True)
class Bands:
    """Several bands of as many rows of results each."""

    strips: Strips
    """Of a band."""
    count: int
    results: int
    """Rows of a band."""
    stride: int
    """Rows of the image from the windows of a row of results to those of the next."""
    before: int
    """Rows above the image in the first band."""
    height: int
    """Of the image."""

    @property
    def step(self) -> int:
        """Rows of the image from a band to the next."""
        return self.results * self.stride

    @property
    def filled(self) -> tuple[int, ...]:
        """Of each band, the rows that are the image's."""
        firsts = (band * self.step - self.before for band in range(self.count))
        return tuple(min(first + self.strips.height, self.height) - max(first, 0) for first in firsts)

    @property
    def below(self) -> int:
        """How many bands reach below the image."""
        reached = (band * self.step - self.before + self.strips.height for band in range(self.count))
        return sum(end > self.height for end in reached)

    @property
    def instructions(self) -> int:
        """About, of a channel."""
        return self.count * (self.strips.instructions + _PER_BAND)

    def bytes(self, group: int, in_row: int) -> int:
        """Of the planes of so many channels, and of the image's rows that a band has, given those of a row."""
        return self.strips.bytes(group) + self.strips.height * in_row

    def order(self, in_row: int, out_row: int) -> Order:
        """Each band is read, then written, given the bytes of rows of whole pixels."""
        return rows(self.count, in_row, self.strips.height, self.step, self.before, self.height, self.results * out_row)


@lru_cache(maxsize=256)
def bands_of(x: Shape, y: Shape, window: Window, group: int, most_bytes: int) -> Bands | None:
    """Those of the fewest instructions, if there are any that take so many bytes at most.

    These are the planes of so many channels at a time, and the rows of the image that a band is read from: so much
    further the output begins than the input where they overlap.
    """
    bands = (each for each in _candidates(x, y, window) if each.bytes(group, x[2] * x[3]) <= most_bytes)
    return min(bands, key=lambda each: each.instructions, default=None)


def _candidates(x: Shape, y: Shape, window: Window) -> Iterator[Bands]:
    inside = Window(replace(window.rows, before=0, after=0), window.columns)
    for results in range(1, y[1]):
        if y[1] % results == 0:
            reached = (results - 1) * window.rows.stride + window.rows.extent
            for strips in strips_of((1, reached, *x[2:]), (1, results, *y[2:]), inside):
                bands = Bands(strips, y[1] // results, results, window.rows.stride, window.rows.before, x[1])
                if min(bands.filled) > 0:
                    yield bands
