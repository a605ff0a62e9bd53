"""The geometry of a convolution over patches at the border only: its blocks, and which reach over the border."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygen.access import Order
from tinygen.fixedpoint import IntArray
from tinygen.interval import BoolArray
from tinygen.kernels.armv7em.filters import GROUP, Sums, group_bytes, lane_counts
from tinygen.kernels.armv7em.gathering import FARTHEST, Gather, Window, block_cost, takes_wide_weights
from tinygen.kernels.armv7em.lanes import EIGHT
from tinygen.kernels.armv7em.plane import Plane


@dataclass(frozen=True)
class Patch:
    """The rows under a block's windows, where they are patched together."""

    rows: int
    row: int
    """Bytes of each."""

    @property
    def bytes(self) -> int:
        """Whole words."""
        return -(-self.rows * self.row // 4) * 4

    @property
    def fills(self) -> int:
        """Times that eight words fill it."""
        return self.bytes // 32

    @property
    def filled(self) -> int:
        """Bytes of these."""
        return self.bytes // 32 * 32

    @property
    def rest(self) -> tuple[str, ...]:
        """Registers for further words."""
        return EIGHT[: self.bytes % 32 // 4]


@dataclass(frozen=True, eq=False)
class BorderPatches:
    """All that the template and the stream need to know."""

    plane: Plane
    most: int
    """Groups that are written out."""
    most_lanes: int = 4
    """Pixels of a block; the fewer, the less scratch."""

    @cached_property
    def window(self) -> Window:
        """Nothing beyond a window's row is read: it may be none of the image's."""
        return Window(self.plane.rows.taps, self.plane.columns.taps * self.plane.channels, exact=True)

    @property
    def pitch(self) -> int:
        """Bytes of a row of the image."""
        return self.plane.width * self.plane.channels

    @property
    def straight(self) -> bool:
        """Whether a window is gathered without a loop."""
        return self.window.groups <= self.most and self.window.rows * self.pitch <= FARTHEST

    @property
    def wide(self) -> bool:
        """Whether weights are wide."""
        return self.straight and takes_wide_weights(self.plane, self.window.groups, self.most)

    @cached_property
    def lanes(self) -> int:
        """Pixels of a block."""
        plane, width = self.plane, self.plane.out_width

        def cost(lanes: int) -> float:
            return -(-width // lanes) * block_cost(plane, lanes, self.window.groups, self.wide)

        counts = lane_counts(width, plane, self.wide)
        return min((lanes for lanes in counts if lanes <= self.most_lanes), key=cost)

    @property
    def blocks(self) -> int:
        """Of a row of results."""
        return -(-self.plane.out_width // self.lanes)

    @property
    def count(self) -> int:
        """Of all rows."""
        return self.blocks * self.plane.out_height

    @property
    def overlap(self) -> int:
        """Pixels that a row's last block computes again."""
        return self.blocks * self.lanes - self.plane.out_width

    @property
    def step(self) -> int:
        """Bytes from a window to the next in its row."""
        return self.plane.columns.stride * self.plane.channels

    @property
    def patch(self) -> Patch:
        """Of a block."""
        return Patch(self.window.rows, (self.lanes - 1) * self.step + self.window.run)

    @cached_property
    def sums(self) -> Sums:
        """Over the one run."""
        return Sums.of(1, self.window.groups, self.lanes, self.most)

    @property
    def window_bytes(self) -> int:
        """The expanded windows of a block, with what the last chunk is filled up with."""
        return self.sums.groups * group_bytes(self.lanes)

    def gather(self, pitch: int) -> Gather:
        """From rows that lie so many bytes apart."""
        return Gather(self.window, pitch, self.lanes, self.straight, self.wide)

    # --- where windows lie --------------------------------------------------------------------------------------------

    @property
    def first_pixels(self) -> IntArray:
        """(blocks,): of each block in its row of results."""
        return np.asarray(np.minimum(np.arange(self.blocks) * self.lanes, self.plane.out_width - self.lanes))

    @property
    def first_bytes(self) -> IntArray:
        """(blocks,): where in the rows of the image the windows begin; before them, too."""
        return np.asarray(self.first_pixels * self.step - self.plane.columns.before * self.plane.channels)

    @property
    def inside_bytes(self) -> IntArray:
        """(blocks, 2): the first byte of the image under the windows, in its row, and the first one beyond."""
        ends = np.stack([self.first_bytes, self.first_bytes + self.patch.row], axis=1)
        return np.asarray(ends.clip(0, self.pitch))

    @property
    def inside_rows(self) -> IntArray:
        """(rows of results, 2): the same for rows of the image."""
        first = self.plane.in_rows[:, 0]
        return np.asarray(np.stack([first, first + self.window.rows], axis=1).clip(0, self.plane.height))

    @property
    def whole_columns(self) -> BoolArray:
        """(blocks,): where no window reaches over the border to the left or right; neighbours."""
        return np.asarray(np.diff(self.inside_bytes)[:, 0] == self.patch.row)

    @property
    def whole_rows(self) -> BoolArray:
        """(rows of results,): the same above and below; neighbours, too."""
        return np.asarray(np.diff(self.inside_rows)[:, 0] == self.window.rows)

    @property
    def order(self) -> Order:
        """The windows of a block are read before its first result is written."""
        (top, bottom), (first, last) = self.inside_rows.T, self.inside_bytes.T
        results = np.arange(self.plane.out_height)[:, None] * self.plane.out_width + self.first_pixels
        written = results.reshape(-1) * self.plane.filters
        return Order(
            (top[:, None] * self.pitch + first).reshape(-1),
            ((bottom - 1)[:, None] * self.pitch + last).reshape(-1),
            written,
            written + self.lanes * self.plane.filters,
        )


@dataclass(frozen=True)
class Border:
    """How often windows are patched together, and of what."""

    inside: int
    """Blocks of which no window reaches over the border."""
    in_whole_rows: int
    """Blocks without those in rows of results whose windows reach over it above or below."""
    whole_rows: int
    """Rows of the image at which the windows of such a block may begin."""
    whole_columns: int
    """Blocks of a row that do not reach over it to the left or right."""
    columns_after: int
    """Blocks of a row after these."""
    blocks: int
    """That do reach over it."""
    rows: int
    """Rows that are patched into these,"""
    words: int
    bytes: int
    """and of what."""

    @staticmethod
    def of(patches: BorderPatches) -> Border:
        """Of all blocks."""
        rows, columns = patches.whole_rows, patches.whole_columns
        at_border = ~(rows[:, None] & columns)
        copied = at_border * np.diff(patches.inside_rows)
        sizes = np.diff(patches.inside_bytes)[:, 0]
        return Border(
            inside=int((~at_border).sum()),
            in_whole_rows=int(rows.sum()) * patches.blocks,
            whole_rows=patches.plane.height - patches.window.rows + 1,
            whole_columns=int(columns.sum()),
            columns_after=patches.blocks - 1 - int(np.flatnonzero(columns).max()),
            blocks=int(at_border.sum()),
            rows=int(copied.sum()),
            words=int((copied * (sizes // GROUP)).sum()),
            bytes=int((copied * (sizes % GROUP)).sum()),
        )
