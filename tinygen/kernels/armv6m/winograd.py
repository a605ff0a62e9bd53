"""Exact Winograd convolution of 3x3 filters, F(2x2, 3x3): 16 products where a window has 36.

A tile of 2x2 outputs comes from 4x4 inputs d and a filter g: Y = A' ((G g G') * (B' d B)) A, with * element by element,
summed over channels; the matrices are those of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
(2015). G is doubled where it has halves, so that Y is four times the convolution, in integers modulo 2**32: what is
shifted out in the end is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.access import Order, Spacing, spacing
from tinygen.fixedpoint import INT32_MAX
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing
from tinygen.ops.common import INT8
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.window import Window

_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
_SCALE = 4
_TILE = 2
_POINTS = 16
_QUAD = 4
"""Filters that are computed together."""
_MOST_AT_ONCE = 16
"""Channels of a tile that are transformed at a time, and of which memory holds what is between the two transforms."""
_MOST_UNROLLED = 32
"""Channels whose products are written out."""
_MOST_IN_ONE = 128
"""The same of channels that have no such divisor."""
_ALL = 0xFFFFFFFF
_FIRST_FILTER = 15
"""Words of the layer's data."""


@dataclass(frozen=True)
class Shape:
    """A 3x3 layer of stride 1 in tiles, and what its kernel holds in memory; in bytes where not said otherwise."""

    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    filters: int
    above: int
    """Rows of padding, 0 or 1."""
    left: int

    @staticmethod
    def of(site: Site) -> Shape:
        """Of a CONV_2D."""
        _, height, width, channels = site.inputs[0].shape
        _, out_height, out_width, filters = site.outputs[0].shape
        window: Window = site.op.window
        return Shape(height, width, channels, out_height, out_width, filters, window.rows.before, window.columns.before)

    @property
    def is_covered(self) -> bool:
        """Whether of a tile no row but the first and the last two, of the first and the last tiles, is outside."""
        return (
            0 <= self.above <= 1
            and 0 <= self.left <= 1
            and self.height >= 2
            and self.width >= 2
            and all(
                padding + size >= 2 * (tiles - 1) + 2
                for padding, size, tiles in (
                    (self.above, self.height, self.tile_rows),
                    (self.left, self.width, self.tile_columns),
                )
            )
        )

    @property
    def tile_rows(self) -> int:
        """Rows of tiles."""
        return -(-self.out_height // _TILE)

    @property
    def tile_columns(self) -> int:
        """Tiles in a row."""
        return -(-self.out_width // _TILE)

    @property
    def at_once(self) -> int:
        """Channels whose tile is transformed at a time: all, or a divisor."""
        return _divisor(self.channels, _MOST_AT_ONCE)

    @property
    def blocks(self) -> int:
        """Of so many channels."""
        return self.channels // self.at_once

    @property
    def unrolled(self) -> int:
        """Channels of a point whose products are written out: all, or a divisor."""
        return _divisor(self.channels, _MOST_UNROLLED)

    @property
    def quads(self) -> list[int]:
        """The first filter of each four; the last four overlap with those before where the number is no multiple."""
        return [min(first, self.filters - _QUAD) for first in range(0, self.filters, _QUAD)]

    @property
    def border(self) -> int:
        """Of zero points that stand for what is outside."""
        return -(-self.at_once // 4) * 4

    @property
    def points(self) -> int:
        """Of a tile's points."""
        return 4 * _POINTS * self.channels

    @property
    def scratch(self) -> int:
        """Sums of products of four filters, the tile's points, what is between the transforms, zero points."""
        return 4 * _POINTS * _QUAD + self.points + 4 * _POINTS * self.at_once + self.border

    def order(self) -> Order:
        """A tile is read before its outputs are written."""
        row, column = (
            each.reshape(-1) for each in np.divmod(np.arange(self.tile_rows * self.tile_columns), self.tile_columns)
        )
        top = np.clip(_TILE * row - self.above, 0, self.height)
        bottom = np.clip(_TILE * row - self.above + 4, 0, self.height)
        left = np.clip(_TILE * column - self.left, 0, self.width)
        right = np.clip(_TILE * column - self.left + 4, 0, self.width)
        last_row = np.minimum(_TILE * row + 1, self.out_height - 1)
        last_column = np.minimum(_TILE * column + 1, self.out_width - 1)
        return Order(
            (top * self.width + left) * self.channels,
            ((bottom - 1) * self.width + right) * self.channels,
            (_TILE * row * self.out_width + _TILE * column) * self.filters,
            (last_row * self.out_width + last_column + 1) * self.filters,
        )

    def runs(self) -> Mapping[str, int]:
        """How often the blocks of the kernel run."""
        tiles = self.tile_rows * self.tile_columns
        first, last = self.left, max(_TILE * (self.tile_columns - 1) + 4 - self.left - self.width, 0)
        outside = self.tile_rows * (first + last) * self.blocks
        # What neighbours have in common is kept where all channels of it are.
        columns = self.tile_rows * (2 + 2 * self.tile_columns) if self.blocks == 1 else 4 * tiles * self.blocks
        return {
            "border_words": self.border // 4,
            "tile_rows": self.tile_rows,
            "tiles": tiles,
            "blocks": tiles * self.blocks,
            "columns": columns,
            "outside": outside,
            "inside": columns - outside,
            "column_channels": columns * self.at_once,
            "channels": tiles * self.channels,
            "quads": tiles * len(self.quads),
            "points": tiles * len(self.quads) * _POINTS,
            "filters": tiles * len(self.quads) * _QUAD,
        }

    def head(self, zero_point: int, filters: int) -> list[int]:
        """What the kernel reads of this layer before the `filters` bytes of the filters: see its template."""
        row, out_row = self.width * self.channels, self.out_width * self.filters
        rows_left = self.above + self.height - _TILE * (self.tile_rows - 1)  # in the last row of tiles
        return [
            row,
            out_row,
            self.width,
            -self.left * self.channels,
            -self.left,
            self.tile_columns,
            self.tile_rows,
            0 if self.above else _ALL,
            _ALL if rows_left > 2 else 0,
            _ALL if rows_left > 3 else 0,
            self.filters if self.out_width % _TILE == 0 else 0,
            out_row if self.out_height % _TILE == 0 else 0,
            (zero_point & 0xFF) * 0x01010101,
            filters,
            (1 - self.above) * row,
        ]


def _divisor(number: int, most: int) -> int:
    """The number, or its largest divisor within `most` unless that is small."""
    if number <= most:
        return number
    found = max(each for each in range(1, most + 1) if number % each == 0)
    return found if 2 * found > most else number


def _points(site: Site) -> npt.NDArray[np.uint32]:
    """(quads, 16 * channels * 4): of each four filters their points, row by row, for each channel."""
    weights = site.inputs[1].data
    assert weights is not None
    points = np.einsum("ia,oabc,jb->oijc", _G, weights.astype(np.int64), _G).reshape(len(weights), _POINTS, -1)
    return np.stack(
        [streams.words(points[first : first + _QUAD].transpose(1, 2, 0)).reshape(-1) for first in Shape.of(site).quads]
    )


def _accepts(site: Site) -> bool:
    op: Conv2D = site.op
    x, weights, _ = site.inputs
    if not (
        x.dtype == site.outputs[0].dtype == INT8
        and weights.dtype == INT8
        and not weights.packed
        and op.weight_zero_point == 0
        and x.shape[0] == 1
        and x.shape[3] == weights.shape[3]
        and all((axis.taps, axis.stride, axis.dilation) == (3, 1, 1) for axis in (op.window.rows, op.window.columns))
        and site.outputs[0].shape[3] >= _QUAD
    ):
        return False
    assert weights.data is not None
    largest = _SCALE * 128 * int(np.abs(weights.data.astype(np.int64)).sum(axis=(1, 2, 3)).max())
    shape = Shape.of(site)
    is_small = max(shape.at_once, shape.unrolled) <= _MOST_IN_ONE
    return shape.is_covered and is_small and largest <= INT32_MAX and finishing.proved(site) is not None


def _prepare(site: Site) -> Body:
    op: Conv2D = site.op
    shape, form = Shape.of(site), finishing.proved(site)
    weights, bias = site.inputs[1].data, site.inputs[2].data
    assert form is not None and weights is not None and bias is not None
    constants = finishing.constants(form, op.folded_bias(weights, bias))
    ends = np.append(shape.quads[1:], shape.filters)
    parts = []
    for points, first, end in zip(_points(site), shape.quads, ends, strict=True):
        parts += [points, constants[first : first + _QUAD].reshape(-1)]
        if shape.filters % _QUAD:
            parts.append(np.array([end - first], np.uint32))
    stream = np.concatenate(parts)
    head = shape.head(op.zero_point, stream.nbytes)
    assert len(head) == _FIRST_FILTER
    return Body(
        {
            "s": shape,
            "f": finishing.Finish(form, ("r2", "r3", "r4", "r6", "r7"), decided_in="r5"),
            "jumps": shape.filters % _QUAD != 0,
            "head_bytes": 4 * len(head),
        },
        {"data": np.concatenate([streams.words(np.array(head)), stream])},
        variant=f"{shape.channels}x{shape.filters}",
        proof=form.describe(),
        runs=shape.runs(),
        apart=form.near is not None,
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(Shape.of(site).order())}


KERNELS = (
    Kernel(
        "conv_2d.winograd_2x2_words",
        Conv2D,
        _prepare,
        requires=finishing.FEATURES,
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
        scratch=lambda site: Shape.of(site).scratch,
    ),
)
