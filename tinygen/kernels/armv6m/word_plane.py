"""A channel of an image as a plane of words, which windows slide over: its places in memory, and how it is walked.

Around the image lies the zero point, so that windows at the border are as any other. Where the whole image would take
much memory it comes in bands of output rows: what two bands have in common is moved to the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tinygen.access import Order
from tinygen.ir import Shape
from tinygen.ops.window import Axis, Window

_QUAD = 4
"""Words that are stored at a time."""
_HEAD = 8
"""Words of the layer's data that every layer has, after those that are read once."""


@dataclass(frozen=True)
class Band:
    """Output rows from `first` to `stop`, and the rows of the plane, counted from its top, that are new to it."""

    first: int
    stop: int
    top: int
    """The first row of the plane that comes from the image."""
    bottom: int
    """The row after the last one that does."""
    image: int
    """The row of the image after the last one that has been read."""


@dataclass(frozen=True)
class WordPlane:
    """All that follows from shapes. A row of words is as long as windows reach."""

    height: int
    width: int
    channels: int
    filters: int
    """Of each channel."""
    out_height: int
    out_width: int
    rows: Axis
    columns: Axis
    band: int
    """Output rows of every band but the last, which may have fewer."""

    @staticmethod
    def of(x: Shape, y: Shape, window: Window, most_words: int) -> WordPlane | None:
        """With bands as large as `most_words` allow, at least of one row; None where windows do not meet a plane so."""
        rows, columns = window.rows, window.columns
        (_, height, width, channels), (_, out_height, out_width, out_channels) = x, y
        if width == out_width == columns.taps == 1 and not columns.before and rows.dilation == 1:
            # One column is taken for one row: the taps of a window then lie side by side.
            rows, columns = replace(columns, stride=1), rows
            height, width, out_height, out_width = width, height, out_width, out_height
        if columns.dilation > 1 and columns.taps > 1:
            return None
        plane = WordPlane(
            height, width, channels, out_channels // channels, out_height, out_width, rows, columns, out_height
        )
        if plane.used_rows < 1:
            return None
        return plane.banded(most_words)

    def banded(self, most_words: int) -> WordPlane | None:
        """The same with bands as large as so many words allow, at least of one row."""
        return next(self._banded(most_words), None)

    def _banded(self, most_words: int) -> Iterator[WordPlane]:
        """The whole, if it fits; else what fits and what hardly does, the largest bands first."""
        if self.words <= most_words or self.kept < 0:
            yield self
            return
        for band in range(self.out_height - 1, 0, -1):
            found = replace(self, band=band)
            if (found.words <= most_words or band == 1) and all(each.bottom > each.top for each in found.bands):
                yield found
        yield self

    @property
    def pitch(self) -> int:
        """Words of a row: as far as windows reach, and the image."""
        reached = (self.out_width - 1) * self.columns.stride + self.columns.taps
        return max(reached, self.columns.before + self.width)

    @property
    def used_rows(self) -> int:
        """Of the image, that windows reach."""
        return min(self.height, (self.out_height - 1) * self.rows.stride + self.rows.extent - self.rows.before)

    @property
    def kept(self) -> int:
        """Rows that a band has in common with the next; negative: there are rows in between."""
        return self.rows.extent - self.rows.stride

    @property
    def words(self) -> int:
        """Of the plane, in whole quads; three more than its rows have, as quads that begin there may end after them."""
        rows = (self.band - 1) * self.rows.stride + self.rows.extent
        return quads(rows * self.pitch + _QUAD - 1) * _QUAD

    @property
    def is_banded(self) -> bool:
        """Whether there are several bands."""
        return self.band < self.out_height

    @property
    def bands(self) -> tuple[Band, ...]:
        """From the top of the image on."""
        found = []
        read = 0
        for first in range(0, self.out_height, self.band):
            stop = min(first + self.band, self.out_height)
            above = first * self.rows.stride - self.rows.before  # the row of the image that the plane's top would be
            last = min(above + (stop - first - 1) * self.rows.stride + self.rows.extent, self.used_rows)
            found.append(Band(first, stop, read - above, last - above, last))
            read = last
        return tuple(found)

    @property
    def fills_above(self) -> int:
        """Words above the image that every filter's first band begins with, where bands have moved others there."""
        return self.rows.before * self.pitch if self.is_banded else 0

    @property
    def fills_below(self) -> int:
        """Words of the last band below the image, likewise."""
        last = self.bands[-1]
        rows = (last.stop - last.first - 1) * self.rows.stride + self.rows.extent
        words = (rows - last.bottom) * self.pitch - self.columns.before
        return max(words, 0) if self.is_banded else 0

    @property
    def moved(self) -> int:
        """Words from one band to the next, in whole quads."""
        return quads(self.kept * self.pitch) * _QUAD if self.is_banded else 0

    def order(self) -> Order:
        """For one channel, in bytes of whole pixels: each band is read, then written."""
        return self.order_of(self.width * self.channels, self.out_width * self.channels)

    def order_of(self, x_row: int, y_row: int) -> Order:
        """The same where rows of the input and of the output have so many bytes."""
        read = np.array([0, *(band.image for band in self.bands)]) * x_row
        written = np.array([0, *(band.stop for band in self.bands)]) * y_row
        return Order(read[:-1], read[1:], written[:-1], written[1:])

    def runs(self) -> Mapping[str, int]:
        """How often the blocks of the kernel run."""
        total, bands = self.channels * self.filters, len(self.bands)
        return {
            "plane_quads": self.words // _QUAD,
            "filters": total,
            "channels": self.channels,
            "bands": total * bands,
            "next_bands": total * (bands - 1),
            "quads_above": total * quads(self.fills_above),
            "quads_below": total * quads(self.fills_below),
            "quads_moved": total * (bands - 1) * (self.moved // _QUAD),
            "rows": total * self.used_rows,
            "pixel_quads": total * self.used_rows * (self.width // _QUAD),
            "out_rows": total * self.out_height,
            "outputs": total * self.out_height * self.out_width,
        }

    @property
    def head_moved(self) -> int:
        """Where in the layer's data, in bytes, it says how much is moved."""
        return 4 * (_HEAD + bool(self.fills_above))

    @property
    def head_of_bands(self) -> int:
        """Where the bands begin."""
        return self.head_moved + 4 * bool(self.moved)

    def head(self, zero_point: int) -> list[int]:
        """What the kernel reads of this layer before the filters, in the order that its template says."""
        filters, pitch, stride = self.channels * self.filters, 4 * self.pitch, 4 * self.columns.stride
        down, across, row = pitch * self.rows.dilation, 4 * self.columns.taps, self.out_width * stride
        once = [4 * self.words, filters, zero_point, pitch * self.rows.stride - row, pitch * self.rows.stride]
        layer = [
            self.channels,
            16 * (self.width // _QUAD),
            pitch - 4 * self.width,
            pitch,
            filters,
            down - across,
            stride - across - (self.rows.taps - 1) * down,
            row,
            *self.head_end,
        ]
        return [4 * (1 + len(once) + len(layer)), *once, *layer]

    @property
    def head_end(self) -> list[int]:
        """What follows in the layer's data: what is above the image, what bands have in common, and the bands."""
        return [
            *([4 * self.fills_above] if self.fills_above else []),
            *([4 * self.moved] if self.moved else []),
            *(place for band in self.bands for place in self._places(band)),
        ]

    def _places(self, band: Band) -> list[int]:
        """Of the first new pixel, of that after the last row, of what is filled, and of the row after the last windows.

        All in the plane, in bytes.
        """
        pitch, rows = 4 * self.pitch, band.stop - band.first
        left = 4 * self.columns.before
        below = pitch * ((rows - 1) * self.rows.stride + self.rows.extent)
        filled = [below if band.stop == self.out_height else 0] if self.fills_below else []
        return [pitch * band.top + left, pitch * band.bottom + left, *filled, pitch * rows * self.rows.stride]


def quads(words: int) -> int:
    """Stores of four words that take so many."""
    return -(-words // _QUAD)


@lru_cache(maxsize=256)
def word_plane(x: Shape, y: Shape, window: Window, most_words: int) -> WordPlane | None:
    """As `WordPlane.of`, found once."""
    return WordPlane.of(x, y, window, most_words)
