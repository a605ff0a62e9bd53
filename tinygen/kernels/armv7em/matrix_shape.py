"""The sizes of a matrix product, how its rows are cut into blocks, and in which order they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.access import Order
from tinygen.fixedpoint import IntArray
from tinygen.ir import Shape
from tinygen.kernel import Site
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted
from tinygen.ops.window import Window

FARTHEST = 4095
"""Bytes that a load or store reaches from its base register."""

MOST_COPIES = 4
_MOST_TOGETHER = 4 * MOST_COPIES
"""Results of a row that are stored before the pointer moves on."""


@dataclass(frozen=True)
class Steps:
    """Where rows lie that are no neighbours: pixels of an image that a stride leaves out some of."""

    columns: int
    """Rows (pixels) until the next line of the image."""
    step: int
    """Bytes from one to the next."""
    line: int
    """Bytes more, modulo 2**32, from the last one of a line to the next line's first."""


class Path(NamedTuple):
    """What pointers move by, in bytes, on the way through blocks of equal size."""

    x_first: int
    """To the first block, from where the block after the last one of another size would be, or from the first row."""
    out_first: int
    """The same in the results."""
    x_next: int
    """To the next block, from where the expansion of the last lane leaves off."""
    out_next: int
    """The same in the results, from the second row's of the block."""
    out_all: int
    """From the first block's first result to where that of the block after the last one would be."""


@dataclass(frozen=True)
class Geometry:
    """A matrix product, by its sizes: `rows` of `depth` values each, times `filters`."""

    rows: int
    depth: int
    filters: int
    steps: Steps | None
    """None: the rows follow one after the other."""
    most: int = 3
    """Rows of a block at most."""
    alone: bool = False
    """Whether filters are taken one by one, which is the least code."""
    backwards: bool = False
    """Whether the last rows come first."""

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """(lanes, count): blocks of three rows, then of two; single rows where there is no other way."""
        if self.most == 1 or self.rows == 1 or 2 * self.filters + _MOST_TOGETHER > FARTHEST:
            return ((1, self.rows),)
        twos = self.rows // 2 if self.most == 2 else -self.rows % 3
        threes = 0 if self.most == 2 else (self.rows - 2 * twos) // 3
        ones = self.rows - 3 * threes - 2 * twos
        return tuple((lanes, count) for lanes, count in ((3, threes), (2, twos), (1, ones)) if count)

    @property
    def filter_groups(self) -> tuple[tuple[int, int], ...]:
        """(filters, count): as many at a time as all blocks take, then those left over."""
        together = 1 if self.alone else 4 if self.blocks[0][0] == 1 else 2
        parts = ((together, self.filters // together), (self.filters % together, 1))
        return tuple((filters, count) for filters, count in parts if filters and count)

    @property
    def scratch(self) -> int:
        """Bytes of the largest expanded block."""
        return max(4 * 2 * lanes for lanes, _ in self.blocks) * -(-self.depth // 4)

    @property
    def order(self) -> Order:
        """Each block is expanded before its first result is written."""
        lanes = np.repeat([lanes for lanes, _ in self.blocks], [count for _, count in self.blocks]).astype(np.int64)
        ends = self.rows - lanes.cumsum() + lanes if self.backwards else lanes.cumsum()
        first = ends - lanes
        return Order(
            self._row_begins(first), self._row_begins(ends - 1) + self.depth, first * self.filters, ends * self.filters
        )

    def path(self, index: int) -> Path:
        """The way through the blocks of that index in `blocks`."""
        lanes, count = self.blocks[index]
        if not self.backwards:
            return Path(0, 0, self.depth % 4, (lanes - 1) * self.filters, count * lanes * self.filters)
        before = self.blocks[index - 1][0] if index else self.rows
        return Path(
            (before - lanes) * self.depth,
            (before - lanes) * self.filters,
            self.depth % 4 - 2 * lanes * self.depth,
            -(lanes + 1) * self.filters,
            -count * lanes * self.filters,
        )

    def _row_begins(self, rows: IntArray) -> IntArray:
        """Bytes from the first row to others."""
        if self.steps is None:
            return rows * self.depth
        lines, columns = np.divmod(rows, self.steps.columns)
        return np.asarray(lines * (self.steps.columns * self.steps.step + self.steps.line) + columns * self.steps.step)


def geometry(site: Site) -> Geometry | None:
    """The matrix product that a layer is, if it is one."""
    op: Weighted = site.op
    x, weights, _ = site.inputs
    if isinstance(op, FullyConnected):
        filters, depth = weights.shape
        return Geometry(x.elements // depth, depth, filters, None)
    assert isinstance(op, Conv2D)
    window = op.window
    batch, _, width, channels = x.shape
    filters, *_, depth = weights.shape
    padding = (window.rows.before, window.rows.after, window.columns.before, window.columns.after)
    strides = (window.rows.stride, window.columns.stride)
    if any(padding) or depth != channels:
        return None
    _, out_height, out_width, _ = site.outputs[0].shape
    rows = batch * out_height * out_width
    if _are_rows(window, site.inputs[0].shape, (out_height, out_width)):
        return Geometry(rows, window.taps * depth, filters, None)
    if window.taps > 1 or batch > 1:
        return None
    step = strides[1] * depth
    return Geometry(rows, depth, filters, Steps(out_width, step, strides[0] * width * depth - out_width * step))


def _are_rows(window: Window, shape: Shape, out: tuple[int, int]) -> bool:
    """Whether each window, inside of the image, is one run of bytes, and these follow one after the other."""
    batch, height, width, _ = shape
    rows, columns = window.rows, window.columns
    is_run = columns.extent == columns.taps and (rows.taps == 1 or (columns.taps == width and rows.extent == rows.taps))
    follow = (
        (out[1] == 1 or columns.stride == columns.taps)
        and (out[0] == 1 or rows.stride * width == out[1] * window.taps)
        and (batch == 1 or height * width == out[0] * out[1] * window.taps)
    )
    return is_run and follow
