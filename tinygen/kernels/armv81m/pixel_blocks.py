"""Rows of a matrix product in blocks of four, the lanes: pointwise convolutions, whose rows are pixels.

Where rows are no multiple of four, the last block begins within the one before, and where there are fewer than four,
the last one takes several lanes; or else what is left over is a block of fewer lanes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.access import Order

PIXELS = 4
"""Lanes of a block."""


class Section(NamedTuple):
    """So many blocks of so many lanes each."""

    lanes: int
    times: int


@dataclass(frozen=True)
class PixelBlocks:
    """`rows` of `depth` bytes each, times `filters`, to results of `size` bytes."""

    rows: int
    depth: int
    filters: int
    size: int = 1

    @property
    def pitch(self) -> int:
        """Bytes of a row's results."""
        return self.filters * self.size

    @property
    def count(self) -> int:
        """Of blocks."""
        return -(-self.rows // PIXELS)

    @property
    def overlap(self) -> int:
        """Rows that the last block computes again."""
        return self.count * PIXELS - self.rows if self.count > 1 else 0

    @property
    def lanes(self) -> tuple[int, ...]:
        """The row of each lane, from the block's first."""
        return tuple(min(lane, self.rows - 1) for lane in range(PIXELS))

    @property
    def sections(self) -> tuple[Section, ...]:
        """The rows in blocks that do not overlap."""
        parts = (Section(PIXELS, self.rows // PIXELS), Section(self.rows % PIXELS, 1))
        return tuple(part for part in parts if part.lanes and part.times)

    @property
    def pairs(self) -> int:
        """Of filters; the last one may be a filter twice."""
        return -(-self.filters // 2)

    @property
    def offsets(self) -> npt.NDArray[np.uint32]:
        """(4,): where results go, in results from the block's first: halfwords of both filters of each lane in turn."""
        second = min(self.filters - 1, 1)
        places = [lane * self.filters + index for lane in self.lanes for index in (0, second)]
        return np.array(places, "<u2").view("<u4").astype(np.uint32)

    @property
    def order(self) -> Order:
        """Each block of a section reads its rows again for each pair of filters."""
        first = np.arange(0, self.rows, PIXELS, dtype=np.int64)
        last = np.minimum(first + PIXELS, self.rows)
        return Order(first * self.depth, last * self.depth, first * self.pitch, last * self.pitch, buffered=False)

    def in_pairs(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Of what filters have, (filters, ...), that of both filters of each pair: (pairs, 2, ...)."""
        first = np.minimum(np.arange(self.pairs) * 2, max(self.filters - 2, 0))
        return np.asarray(values[np.stack([first, np.minimum(first + 1, self.filters - 1)], axis=1)])

    @property
    def steps(self) -> npt.NDArray[np.uint32]:
        """(pairs, 0 or 1): bytes from each pair's results to the next one's, where not all are the same."""
        if self.filters % 2 == 0 or self.pairs == 1:
            return np.zeros((self.pairs, 0), np.uint32)
        steps = np.full((self.pairs, 1), 2 * self.size, np.uint32)
        steps[-2] = self.size
        return steps

    @property
    def next_results(self) -> int:
        """Bytes from where results for more filters would follow those of a block, to the next block's."""
        return self.after(min(PIXELS, self.rows))

    def after(self, lanes: int) -> int:
        """The same for a block of so many lanes."""
        return lanes * self.pitch - max(self.filters, 2) * self.size
