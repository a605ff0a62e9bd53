"""The literals of Winograd kernels: how tiles cover a layer, and what lies where in scratch memory and on the stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.access import Order
from tinygen.fixedpoint import IntArray
from tinygen.kernel import Site
from tinygen.ops.window import Window

Range = tuple[IntArray, IntArray]

LONGEST_STEP = 16
"""Groups of four channels whose products are written out in one piece."""


@dataclass(frozen=True)
class Shape:
    """A 3x3 layer, and the tiles of tile x tile outputs that cover it; two side by side are computed together."""

    tile: int
    stride: int
    height: int
    width: int
    depth: int
    out_height: int
    out_width: int
    filters: int
    before_rows: int
    """Rows of padding above the image."""
    before_columns: int

    @staticmethod
    def of(site: Site, tile: int) -> Shape:
        """Of a CONV_2D whose strides are equal."""
        _, height, width, depth = site.inputs[0].shape
        _, out_height, out_width, filters = site.outputs[0].shape
        window: Window = site.op.window
        before = window.rows.before, window.columns.before
        return Shape(tile, window.rows.stride, height, width, depth, out_height, out_width, filters, *before)

    @property
    def tile_rows(self) -> int:
        """Rows of tiles."""
        return -(-self.out_height // self.tile)

    @property
    def pairs(self) -> int:
        """Pairs of neighbouring tiles in a row of tiles."""
        return -(-self.out_width // (2 * self.tile))

    @property
    def filter_pairs(self) -> int:
        """The last of an odd number of filters is computed together with the one before it."""
        return -(-self.filters // 2)

    @property
    def size(self) -> int:
        """Input rows and columns of a tile."""
        return self.stride * (self.tile - 1) + 3

    @property
    def kept_columns(self) -> int:
        """Input columns that neighbouring tiles have in common."""
        return 3 - self.stride

    @property
    def first_columns(self) -> int:
        """Input columns that a pair of tiles covers, padding included."""
        return 2 * self.tile * self.stride + self.kept_columns

    @property
    def columns(self) -> int:
        """Input columns that the tiles of a row cover, padding included."""
        return 2 * self.tile * self.stride * self.pairs + self.kept_columns

    @property
    def inside_columns(self) -> int:
        """Those of them that are in the image."""
        return min(self.width, self.columns - self.before_columns)

    @property
    def outside_columns(self) -> int:
        """Those of them that are padding."""
        return self.columns - self.inside_columns

    @property
    def column_bytes(self) -> int:
        """Of four channels of a transformed column."""
        return 8 * self.size

    @property
    def moved_words(self) -> int:
        """Words at a time that are moved of columns."""
        return 8 if self.stride == 1 else 2 * self.size

    @property
    def last_columns(self) -> int:
        """Output columns of the last pair of tiles in a row, if not all; else 0."""
        return self.out_width % (2 * self.tile)

    @property
    def last_rows(self) -> int:
        """Output rows of the last row of tiles, if not all; else 0."""
        return self.out_height % self.tile

    @property
    def edge_row(self) -> int:
        """Bytes of one row of outputs of a pair of tiles."""
        return 2 * self.tile * self.filters

    @property
    def edge_bytes(self) -> int:
        """Room for outputs that do not exist, or go to their place later."""
        return self.edge_row * (self.tile if self.last_columns else 1 if self.last_rows else 0)

    @property
    def groups(self) -> int:
        """Groups of four channels, the last one perhaps incomplete."""
        return -(-self.depth // 4)

    @property
    def whole_groups(self) -> int:
        """Complete ones."""
        return self.depth // 4

    @property
    def columns_unrolled(self) -> int:
        """Complete groups that one turn of the loop over a column takes."""
        most = (4, 3, 2, 1) if self.size == 4 else (2, 1)
        return next(count for count in most if self.whole_groups % count == 0)

    @property
    def step_turns(self) -> int:
        """Turns of the loop over the channels of a product."""
        return -(-self.groups // LONGEST_STEP)

    @property
    def step_groups(self) -> int:
        """Groups in one turn."""
        return -(-self.groups // self.step_turns)

    @property
    def product_groups(self) -> int:
        """Groups in all turns: those beyond `groups` have weights of zero."""
        return self.step_groups * self.step_turns

    @property
    def order_of_pairs(self) -> Order:
        """All of a pair of tiles is read before its first output is written, columns once in a row of tiles."""
        row, pair = (each.reshape(-1) for each in np.divmod(np.arange(self.tile_rows * self.pairs), self.pairs))
        fresh = self.first_columns - self.kept_columns
        last = (pair + 1) * fresh + self.kept_columns - self.before_columns
        first = np.where(pair == 0, 0, last - fresh)
        return self._order(row, 1, (first, last), (pair * 2 * self.tile, (pair + 1) * 2 * self.tile))

    def order_of_rows(self, rows: int) -> Order:
        """So many rows of tiles are read before the first of their outputs is written."""
        first = np.arange(0, self.tile_rows, rows)
        zeros = np.zeros_like(first)
        return self._order(first, rows, (zeros, zeros + self.width), (zeros, zeros + self.out_width))

    def _order(self, row: IntArray, rows: int, read: Range, written: Range) -> Order:
        """Of steps of some rows of tiles, by the columns that they read and write, which may lie outside."""
        step = self.tile * self.stride
        top = (row * step - self.before_rows).clip(0, self.height)
        bottom = ((row + rows - 1) * step - self.before_rows + self.size).clip(0, self.height)
        left, right = (columns.clip(0, self.width) for columns in read)
        empty = (top == bottom) | (left == right)
        out_bottom = ((row + rows) * self.tile).clip(0, self.out_height)
        return Order(
            np.where(empty, 0, (top * self.width + left) * self.depth),
            np.where(empty, 0, ((bottom - 1) * self.width + right) * self.depth),
            (row * self.tile * self.out_width + written[0]) * self.filters,
            ((out_bottom - 1) * self.out_width + written[1].clip(0, self.out_width)) * self.filters,
        )


@dataclass(frozen=True)
class Scratch:
    """Byte offsets in the scratch memory.

    It begins with the points of tiles: for each column of points a block, of the points in the order of the transform
    with room for sums between them. A word of a point is two channels of one tile.
    """

    point: int
    """Bytes of one point of two tiles."""
    rows: tuple[int, ...]
    """From a block's begin to its points."""
    sums: tuple[int, ...]
    """From a block's begin to the sums that it leaves: of four products, for each row of outputs."""
    block: int
    """Bytes of a block."""
    columns: int
    """Of the columns of the input that were transformed, in slots; later of the points of filters, if any."""
    slot: int
    """Bytes of one."""
    table: int
    """Of pointers to input rows, and what to add to them for the next column."""
    zero_pixel: int
    """Of a pixel of zero points."""
    edge: int
    """Of outputs that do not exist, or go to their place later."""
    size: int

    @staticmethod
    def of(shape: Shape, pairs: int = 1, filters: int = 0) -> Scratch:
        """One after the other: points of so many pairs of tiles; columns and table, or points of so many filters.

        Filters are transformed when no column is left that has not gone into points of tiles.
        """
        point = 16 * shape.product_groups
        layout = _block_4x4 if shape.tile == 4 else _block_2x2 if shape.stride == 1 else _block_2x2_stride_2
        rows, sums, block = layout(point)
        size = shape.size
        columns = pairs * size * block
        slot = shape.column_bytes * shape.groups
        table = columns + shape.first_columns * slot
        zero_pixel = max(table + 8 * size, columns + filters // 2 * size * size * point)
        edge = zero_pixel + 4 * shape.groups
        return Scratch(
            point, rows, sums, block, columns, slot, table, zero_pixel, edge, edge + -(-shape.edge_bytes // 4) * 4
        )

    @property
    def results(self) -> tuple[int, ...]:
        """From the sums for the first row of outputs to those for each row."""
        return tuple(place - self.sums[0] for place in self.sums)


def _block_2x2(point: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Rows 1, 2, m1 - m2, row 0, t0, row 3, t1."""
    rows = 0, point, 2 * point + 16, 3 * point + 32
    return rows, (3 * point + 16, 4 * point + 32), 4 * point + 48


def _block_2x2_stride_2(point: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Row 1, m1, rows 0, 3, t0, rows 2, 4, t1."""
    rows = 0, point + 16, 2 * point + 16, 3 * point + 32, 4 * point + 32
    return rows, (3 * point + 16, 5 * point + 32), 5 * point + 48


def _block_4x4(point: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Rows 1, 2, m1 - m2, m1 + m2, row 0, m0 + m1 + m2, rows 3, 4, t0, t2, t1, row 5, t3."""
    rows = 0, point, 2 * point + 32, 3 * point + 48, 4 * point + 48, 5 * point + 96
    after = 5 * point + 48
    return rows, (after, after + 32, after + 16, 6 * point + 96), 6 * point + 112


@dataclass(frozen=True)
class Frame:
    """Offsets from sp of what does not fit into registers."""

    data: int = 0
    scratch: int = 4
    x: int = 8
    """The first input row of the tiles, where it is (or would be) in the image."""
    row: int = 12
    """Its number."""
    y: int = 16
    """The first output of the pair of tiles."""
    rows_left: int = 20
    column: int = 24
    """Number of the next input column."""
    column_end: int = 28
    pairs_left: int = 32
    blocks_end: int = 36
    data_end: int = 40
    steps_left: int = 44
    slot_end: int = 48
    blocks: int = 52
    """The points of the next pair of tiles."""
    row_count: int = 56
    stream: int = 60
    """The next of the data."""
    first_out: int = 64
    """Where the next filters' first outputs go."""
    tile_out: int = 68
    """Where those of the next pair of tiles go."""
    out: int = 72
    """Where the next outputs go, for each row of a tile."""
    size: int = 88
