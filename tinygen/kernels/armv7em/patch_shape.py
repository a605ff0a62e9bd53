"""The geometry of a convolution over patches: its bands, and the blocks of pixels whose windows are gathered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tinygen.access import Order
from tinygen.fixedpoint import IntArray
from tinygen.kernels.armv7em.filters import GROUP, Sums, group_bytes, lane_counts
from tinygen.kernels.armv7em.gathering import FARTHEST, Gather, Window, block_cost, takes_wide_weights
from tinygen.kernels.armv7em.plane import Plane

LARGE_BAND = 4096
"""Bytes of a band of more than the rows under one row of results, at most."""

_MOST_PIXELS = 256
"""In the table of blocks."""


@dataclass(frozen=True, eq=False)
class Patches:
    """All that the template and the stream need to know."""

    plane: Plane
    most: int
    """Groups that are written out."""
    largest_band: int = LARGE_BAND
    """Bytes of a band of more than the rows under one row of results, at most."""

    @cached_property
    def wide(self) -> bool:
        """Whether weights are wide."""
        return self.straight and takes_wide_weights(self.plane, self.window.groups, self.most)

    @property
    def run(self) -> int:
        """Bytes of a window's row."""
        return self.plane.columns.taps * self.plane.channels

    @property
    def within(self) -> bool:
        """Whether no window reaches over the border."""
        plane = self.plane
        rows, columns = plane.in_rows, plane.in_columns
        return bool(
            rows.min() >= 0 and rows.max() < plane.height and columns.min() >= 0 and columns.max() < plane.width
        )

    @property
    def _loose(self) -> Window:
        return Window(self.plane.rows.taps, self.run, exact=False)

    @cached_property
    def straight(self) -> bool:
        """Whether a window is gathered without a loop."""
        few = min(self._loose.exact_groups, self._loose.loose_groups) <= self.most
        return few and self.plane.rows.taps * max(self.copied_row, self.plane.width * self.plane.channels) <= FARTHEST

    @cached_property
    def direct(self) -> bool:
        """Whether windows are read where they are, in the image."""
        exact = self.run % GROUP == 0 or (self.straight and self._loose.exact_groups <= self._loose.loose_groups)
        return self.within and exact

    @cached_property
    def window(self) -> Window:
        """Its groups: exact where that takes fewer, or where what lies beyond may be none of the image's."""
        fewer = self._loose.exact_groups < self._loose.loose_groups
        return replace(self._loose, exact=self.straight and (fewer or self.direct))

    @property
    def gather(self) -> Gather:
        """Of a block."""
        return Gather(self.window, self.row_bytes, self.lanes, self.straight, self.wide)

    @property
    def lead(self) -> int:
        """Bytes before a row in the band, so that what is copied begins at a word."""
        return -self.plane.columns.before * self.plane.channels % 4

    @property
    def copied_row(self) -> int:
        """Bytes of a row in the band."""
        plane = self.plane
        pixels = (plane.out_width - 1) * plane.columns.stride + plane.columns.taps
        return -(-(self.lead + pixels * plane.channels) // 4) * 4

    @property
    def row_bytes(self) -> int:
        """From a row under a window to the next."""
        return self.plane.width * self.plane.channels if self.direct else self.copied_row

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Lanes, and rows of results over a band, that cost least, or hardly more with fewer rows."""
        plane = self.plane

        def cost(lanes: int, rows: int) -> float:
            blocks = -(-rows * plane.out_width // lanes)
            return plane.out_height // rows * blocks * block_cost(plane, lanes, self.window.groups, self.wide)

        choices = [
            (lanes, rows) for rows in self._bands for lanes in lane_counts(rows * plane.out_width, plane, self.wide)
        ]
        least = min(cost(*choice) for choice in choices)
        return min((choice for choice in choices if cost(*choice) <= 1.01 * least), key=lambda c: (c[1], cost(*c)))

    @property
    def _bands(self) -> Iterator[int]:
        """Rows of results over a band that can be."""
        plane = self.plane
        yield 1
        for rows in range(2, plane.out_height + 1):
            size = (self._rows_under(rows)) * self.row_bytes
            fits = size <= (0xFFFF if self.direct else self.largest_band) and rows * plane.out_width <= _MOST_PIXELS
            if fits and plane.out_height % rows == 0:
                yield rows

    def _rows_under(self, rows: int) -> int:
        return (rows - 1) * self.plane.rows.stride + self.plane.rows.taps

    @property
    def lanes(self) -> int:
        """Pixels of a block."""
        return self.shape[0]

    @property
    def band_results(self) -> int:
        """Rows of results over a band."""
        return self.shape[1]

    @property
    def band_rows(self) -> int:
        """Rows of a band."""
        return self._rows_under(self.band_results)

    @property
    def bands(self) -> int:
        """How many there are."""
        return self.plane.out_height // self.band_results

    @property
    def pixels(self) -> int:
        """Results over a band, of each filter."""
        return self.band_results * self.plane.out_width

    @property
    def blocks(self) -> int:
        """Of a band."""
        return -(-self.pixels // self.lanes)

    @property
    def overlap(self) -> int:
        """Pixels that a band's last block computes again."""
        return self.blocks * self.lanes - self.pixels

    @property
    def tabled(self) -> bool:
        """Whether blocks have entries in a table."""
        return self.band_results > 1

    @cached_property
    def sums(self) -> Sums:
        """Over the one run."""
        return Sums.of(1, self.window.groups, self.lanes, self.most)

    @property
    def window_bytes(self) -> int:
        """The expanded windows of a block, with what the last chunk is filled up with."""
        return self.sums.groups * group_bytes(self.lanes)

    @property
    def band_bytes(self) -> int:
        """The band, and what is read beyond its end; a multiple of what is filled at a time."""
        return 0 if self.direct else -(-(self.band_rows * self.row_bytes + GROUP) // 16) * 16

    @property
    def fills(self) -> int:
        """Times that four words fill the band."""
        return self.band_bytes // 16

    @property
    def step(self) -> int:
        """Bytes from a window to the next in its row."""
        return self.plane.columns.stride * self.plane.channels

    @property
    def table(self) -> npt.NDArray[np.uint32]:
        """Where the windows of each block begin, from the band's first one, two to a word."""
        if not self.tabled:
            return np.zeros(0, np.uint32)
        offsets = self._windows.reshape(-1)
        even = np.append(offsets, np.zeros(len(offsets) % 2, np.int64)).reshape(-1, 2)
        return np.asarray(even[:, 0] | even[:, 1] << 16).astype(np.uint32)

    @property
    def _first_pixels(self) -> IntArray:
        """(blocks,): of each block in a band; the last one may begin within the one before."""
        return np.asarray(np.minimum(np.arange(self.blocks) * self.lanes, self.pixels - self.lanes))

    @property
    def _windows(self) -> IntArray:
        """(blocks, lanes): bytes from the band's first window to those of its blocks."""
        y, x = np.divmod(self._first_pixels[:, None] + np.arange(self.lanes), self.plane.out_width)
        return np.asarray(y * self.plane.rows.stride * self.row_bytes + x * self.step)

    @property
    def order(self) -> Order:
        """Windows in the image are gathered block by block, before the block's first result is written."""
        if not self.direct:
            return self._order_of_bands
        plane = self.plane
        bands = np.arange(self.bands)[:, None]
        at = bands * self.band_results * plane.rows.stride * self.row_bytes
        window = (plane.rows.taps - 1) * self.row_bytes + self.run
        first = (at + self._windows.min(axis=1)).reshape(-1)
        last = (at + self._windows.max(axis=1) + window).reshape(-1)
        written = (bands * self.pixels + self._first_pixels).reshape(-1) * plane.filters
        return Order(first, last, written, written + self.lanes * plane.filters)

    @property
    def _order_of_bands(self) -> Order:
        """Bands are filled before the first of their results is written, and no row is copied twice."""
        plane = self.plane
        row = plane.width * plane.channels
        band = np.arange(self.bands)
        advance = self.band_results * plane.rows.stride
        ends = band * advance + self.band_rows - plane.rows.before
        first = np.where(band == 0, 0, ends - min(advance, self.band_rows)).clip(0, plane.height)
        written = self.pixels * plane.filters
        return Order(first * row, ends.clip(0, plane.height) * row, band * written, (band + 1) * written)
