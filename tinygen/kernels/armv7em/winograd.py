"""Exact Winograd convolution: 3x3 filters of stride 1 by fewer products than taps, in integers.

F(m x m, 3x3) computes a tile of m x m outputs from (m + 2) x (m + 2) inputs d and a filter g:

    Y = A' ((G g G') * (B' d B)) A        with * element by element, summed over the input channels

G is scaled to integers, so that Y is `scale` times the convolution, exactly: all of it is linear, and SMLAD adds modulo
2**32, so only the final value has to fit into int32. The scale disappears in the multiplier of the requantisation.
The matrices are those of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.common import INT8
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.window import Window
from tinygen.proofs.high_product import HighProduct, prove_high_product

INT16_MAX = 2**15 - 1

_LONGEST_STEP = 16
"""Groups of four channels whose products are written out in one piece."""


@dataclass(frozen=True)
class Shape:
    """The literals of F(2x2) that a template prints, for one layer."""

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
    def of(site: Site) -> Shape:
        """Of a CONV_2D with a window of stride 1."""
        _, height, width, depth = site.inputs[0].shape
        _, out_height, out_width, filters = site.outputs[0].shape
        window: Window = site.op.window
        return Shape(height, width, depth, out_height, out_width, filters, window.rows.before, window.columns.before)

    @property
    def tile_rows(self) -> int:
        """Rows of tiles."""
        return -(-self.out_height // 2)

    @property
    def pairs(self) -> int:
        """Pairs of neighbouring tiles in a row of tiles."""
        return -(-self.out_width // 4)

    @property
    def filter_pairs(self) -> int:
        """The last of an odd number of filters is computed together with the one before it."""
        return -(-self.filters // 2)

    @property
    def columns(self) -> int:
        """Input columns that the tiles of a row cover, padding included."""
        return 4 * self.pairs + 2

    @property
    def first_columns(self) -> int:
        """Those of the first pair of tiles."""
        return 6

    @property
    def column_bytes(self) -> int:
        """Of four channels of a transformed column."""
        return 32

    @property
    def outside_columns(self) -> int:
        """Those of them that are padding."""
        return self.columns - self.width

    @property
    def last_columns(self) -> int:
        """Output columns of the last pair of tiles in a row, if not all four; else 0."""
        return self.out_width % 4

    @property
    def last_row(self) -> bool:
        """Whether the last row of tiles has but one row of outputs."""
        return self.out_height % 2 == 1

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
        return next(count for count in (4, 3, 2, 1) if self.whole_groups % count == 0)

    @property
    def step_turns(self) -> int:
        """Turns of the loop over the channels of a product."""
        return -(-self.groups // _LONGEST_STEP)

    @property
    def step_groups(self) -> int:
        """Groups in one turn."""
        return -(-self.groups // self.step_turns)

    @property
    def product_groups(self) -> int:
        """Groups in all turns: those beyond `groups` have weights of zero."""
        return self.step_groups * self.step_turns


@dataclass(frozen=True)
class Scratch:
    """Byte offsets in the scratch memory."""

    point: int
    """Bytes of one transform point of two tiles: a word holds two channels."""
    block: int
    """Bytes of four points, with room for sums."""
    columns: int
    """Of the columns that were transformed: six slots."""
    slot: int
    """Bytes of one."""
    table: int
    """Of four pointers to input rows, and what to add to them for the next column."""
    zero_pixel: int
    """Of a pixel of zero points."""
    edge: int
    """Of outputs that do not exist, or go to their place later: two rows of four pixels."""
    size: int

    @staticmethod
    def of(shape: Shape) -> Scratch:
        """One after the other."""
        point = 16 * shape.product_groups
        block = 4 * point + 3 * 16
        columns = 4 * block
        slot = 32 * shape.groups
        table = columns + 6 * slot
        zero_pixel = table + 32
        edge = zero_pixel + 4 * shape.groups
        has_edge = shape.last_columns > 0 or shape.last_row
        size = edge + (8 * shape.filters if has_edge else 0)
        return Scratch(point, block, columns, slot, table, zero_pixel, edge, size)

    @property
    def rows(self) -> tuple[int, ...]:
        """From a block's begin to its points, in ORDER."""
        return 0, self.point, 2 * self.point + 16, 3 * self.point + 32

    @property
    def sums(self) -> int:
        """From a block's begin to the first of the two sums that it leaves; the other one follows a point later."""
        return 3 * self.point + 16


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
    out: int = 44
    """Where the next outputs go, of the upper row."""
    lower_out: int = 48
    steps_left: int = 52
    slot_end: int = 56
    size: int = 60


ORDER = (1, 2, 0, 3)
"""In this order a tile's rows (columns) of transform points follow each other: 1 and 2 are used together."""

_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
_SCALE = 4

_FINER = (16, 24, 8, 4, 2, 1)
"""What points of filters may be multiplied by to have the requantisation proved, the first choice first."""


def transformed(weights: Array) -> IntArray:
    """int8 (filters, 3, 3, depth) to (4, 4, filters, depth), columns of points first, rows and columns in ORDER."""
    points = np.einsum("ia,oabc,jb->jioc", _G, weights.astype(np.int64), _G)
    return np.asarray(points[np.ix_(ORDER, ORDER)], np.int64)


def paired(values: IntArray) -> npt.NDArray[np.uint32]:
    """(..., 4 n) values that are int16 to words (..., 2 n): of four, the first and third, the second and fourth."""
    halves = values.reshape(*values.shape[:-1], -1, 2, 2) & 0xFFFF
    return np.asarray(halves[..., 0, :] | halves[..., 1, :] << 16, np.uint32).reshape(*values.shape[:-1], -1)


def filter_pairs(filters: int) -> list[tuple[int, int]]:
    """Two by two; of an odd number the second filter comes twice."""
    return [(first, first + 1) for first in (range(0, filters, 2) if filters % 2 == 0 else (0, *range(1, filters, 2)))]


def _stream(shape: Shape, product: HighProduct, start: IntArray, points: IntArray) -> npt.NDArray[np.uint32]:
    """For each pair of filters: words of all points; of each filter start value, M, Z, S; bytes to the next pair."""
    rows, columns, filters, depth = points.shape
    padded = np.zeros((rows, columns, filters, 4 * shape.product_groups), np.int64)
    padded[..., :depth] = points
    words = paired(padded).reshape(rows * columns, filters, -1, 2)
    finish = [start, product.multiplier, product.addend, *([] if product.step is None else [product.step])]
    pairs = filter_pairs(filters)
    parts: list[IntArray] = []
    for index, pair in enumerate(pairs):
        parts.append(words[:, pair].transpose(0, 2, 1, 3).reshape(-1).astype(np.int64))
        parts.append(np.stack(finish, axis=1)[list(pair)].reshape(-1))
        if filters % 2:
            following = pairs[index + 1][0] if index + 1 < len(pairs) else filters
            parts.append(np.array([following - pair[0]]))
    return (np.concatenate(parts) & 0xFFFFFFFF).astype(np.uint32)


def _points(site: Site) -> IntArray:
    weights = site.inputs[1].data
    assert weights is not None
    return transformed(weights)


def _prove(site: Site, points: IntArray) -> HighProduct | None:
    """With the points of the filters multiplied by scale / 4."""
    op: Conv2D = site.op
    low, high = op.reach(site.inputs)
    most = INT16_MAX // max(int(np.abs(points).max()), 1)
    for finer in _FINER:
        if finer <= most:
            product = prove_high_product(op.requant, op.output_zero_point, op.clamp, low, high, scale=_SCALE * finer)
            if product is not None:
                return product
    return None


def _is_3x3(site: Site) -> bool:
    x, weights, _ = site.inputs
    window: Window = site.op.window
    return (
        x.dtype == site.outputs[0].dtype == INT8
        and weights.dtype == INT8
        and not weights.packed
        and site.op.weight_zero_point == 0
        and x.shape[0] == 1
        and x.shape[3] == weights.shape[3]
        and all((axis.taps, axis.stride, axis.dilation) == (3, 1, 1) for axis in (window.rows, window.columns))
    )


def _accepts(site: Site) -> bool:
    if not _is_3x3(site) or site.outputs[0].shape[3] < 2:
        return False
    shape = Shape.of(site)
    scratch = Scratch.of(shape)
    return (
        # What instructions can encode: LDR and STR with offsets up to 4095, LDRD and STRD up to 1020.
        2 * scratch.slot + 31 <= 4095
        and 2 * scratch.block <= 4095
        and scratch.point + 32 <= 1020
        and 3 * shape.filters + 1 <= 4095
        and _prove(site, _points(site)) is not None
    )


def _prepare(site: Site) -> Body:
    op: Conv2D = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    shape = Shape.of(site)
    points = _points(site)
    product = _prove(site, points)
    assert product is not None
    start = product.scale * op.folded_bias(weights.data, bias.data) + product.start
    data = _stream(shape, product, start, points * (product.scale // _SCALE))
    return Body(
        {
            "s": shape,
            "m": Scratch.of(shape),
            "frame": Frame(),
            "order": ORDER,
            "zero_word": (op.zero_point & 0xFF) * 0x01010101,
            "data_bytes": data.nbytes,
            "shift": product.shift,
            "stepped": product.step is not None,
            "low": product.low_clamp,
            "high": product.high_clamp,
        },
        {"data": data},
        variant=f"{shape.depth}x{shape.filters}_{shape.out_height}x{shape.out_width}",
    )


def _scratch(site: Site) -> int:
    return Scratch.of(Shape.of(site)).size


_REQUIRES = frozenset({"thumb2", "unaligned", "dsp", "saturate"})

KERNELS: Sequence[Kernel] = (
    Kernel(
        "conv_2d.winograd_2x2",
        Conv2D,
        _prepare,
        requires=_REQUIRES,
        accepts=_accepts,
        assembly=True,
        scratch=_scratch,
    ),
)
