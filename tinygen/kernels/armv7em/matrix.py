"""Rows of activations times filters: 1x1 convolutions, whose rows are pixels, and fully connected layers.

Blocks of two or three rows are expanded into the scratch memory (see `expansion`), and multiplied with all filters,
two at a time (see `dot`), or four at a time with a single row: each loaded word is used by as many products as
registers allow. The weights come as one stream of words, in the order in which they are used. Blocks come in the order
of rows, or, so that results may lie above the rows that they replace, in the reverse order. The stream:

    for each two filters (four with a single row, one where code is to be small), and for those left over:
        start values of the sums
        for each group of four values of a row: the packed weights of each filter
        multiplier, addend and, in the form with a step, step of each filter's requantisation; where all filters have
        the same, these are the first words of the stream instead

`templates/armv7em/matrix.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.access import Order, Spacing, spacing
from tinygen.fixedpoint import IntArray
from tinygen.kernel import Body, Kernel, ScratchOverlaps, Site
from tinygen.kernels.armv7em import finishing, packing
from tinygen.kernels.armv7em.dot import Block, Step, Sums
from tinygen.kernels.armv7em.expansion import Expansion
from tinygen.kernels.armv7em.finishing import Finish
from tinygen.ops.common import INT8
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct

_FARTHEST = 4095
"""Bytes that a load or store reaches from its base register."""

_MOST_COPIES = 4
_MOST_TOGETHER = 4 * _MOST_COPIES
"""Results of a row that are stored before the pointer moves on."""

FEATURES = frozenset({"thumb2", "unaligned", "dsp"})


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
        if self.most == 1 or self.rows == 1 or 2 * self.filters + _MOST_TOGETHER > _FARTHEST:
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


@dataclass(frozen=True)
class Walk:
    """How a dot product's groups are walked through: some written out first, then turns of a loop."""

    straight: int
    turn: int
    turns: int

    @staticmethod
    def of(groups: int, longest: int, moves: int) -> Walk:
        """The fewest instructions with so many groups written out; `moves` are needed before a loop that starts."""
        if groups <= longest:
            return Walk(groups, 0, 0)
        walks = (Walk(groups % turn, turn, groups // turn) for turn in range(1, longest + 1))
        return min(
            (walk for walk in walks if walk.straight + walk.turn <= longest),
            key=lambda walk: (3 * walk.turns + (0 if walk.straight else moves), walk.straight + walk.turn),
        )


@dataclass(frozen=True)
class FilterGroup:
    """The instructions for some filters and the lanes of a block."""

    count: int
    """How often they run for a block."""
    copies: int
    """How often they are written out one after the other, each time for the next filters."""
    block: Sums
    walk: Walk
    finish: Finish
    row: int
    """Bytes of a row's results."""

    @staticmethod
    def of(count: int, block: Sums, walk: Walk, requantisation: HighProduct, row: int, groups: int) -> FilterGroup:
        """Written out several times where that makes at most `groups` groups, and `count` is a multiple of it."""
        most = 1 if walk.turns else min(_MOST_COPIES, groups // walk.straight)
        copies = next(copies for copies in range(max(most, 1), 0, -1) if count % copies == 0)
        return FilterGroup(count // copies, copies, block, walk, Finish.of(block, requantisation), row)

    @property
    def filters(self) -> int:
        """That each run computes, and so many results of a row."""
        return self.copies * self.block.filters

    @property
    def stores(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        """(register, offset) of the stores of each copy.

        The last store of the first copy moves the pointer behind the results of all copies.
        """

        def offset(copy: int, lane: int, index: int) -> int:
            return lane * self.row + copy * self.block.filters + index - (self.filters if copy else 0)

        return tuple(
            tuple((register, offset(copy, lane, index)) for register, lane, index in self.finish.stores)
            for copy in range(self.copies)
        )

    @property
    def straight(self) -> list[Step]:
        """The groups that are written out first."""
        return self.block.products(self.walk.straight, first=True)

    @property
    def turn(self) -> list[Step]:
        """A turn of the loop."""
        return self.block.products(self.walk.turn, first=False)


@dataclass(frozen=True)
class Section:
    """So many blocks of so many lanes each."""

    lanes: int
    count: int
    expansion: Expansion
    path: Path
    groups: tuple[FilterGroup, ...]

    @property
    def activations(self) -> int:
        """Bytes of the activations that products walk through."""
        return 8 * self.lanes * self.expansion.groups

    @property
    def loops(self) -> bool:
        """Whether some group of filters has a loop."""
        return any(group.walk.turns for group in self.groups)


@dataclass(frozen=True)
class Frame:
    """Offsets from sp of what does not stay in registers. What the end of a block loads together comes first."""

    constants: int
    """How many there are of the requantisation; zero if the stream has them for each filter."""
    steps: bool = False
    alone: bool = False
    """Whether there is but one row."""

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Of the words, with what they hold."""
        constants = (("multiplier", "factor"), ("addend", "zero point"), ("step", "step of negative sums"))
        return (
            ("out", "next result"),
            ("end", "where the filters' results end"),
            *constants[: self.constants],
            ("rows", "expanded rows"),
            ("data", "stream"),
            ("rows_end", "where the expanded rows end"),
            *(() if self.alone else (("x", "next row"), ("last", "where results end"))),
            *((("columns", "rows left in this line of the image"),) if self.steps else ()),
        )

    @property
    def offsets(self) -> dict[str, int]:
        """By name."""
        return {name: 4 * index for index, (name, _) in enumerate(self.names)}

    @property
    def bytes(self) -> int:
        """With nine registers that are saved, a multiple of eight."""
        return 4 * (len(self.names) | 1)


@dataclass(frozen=True)
class Unrolling:
    """How many groups of a dot product are written out at most: where most of the work is, and elsewhere."""

    often: int
    seldom: int
    copies: int
    """How many groups of a dot product there may be when all of them are written out for several filters in turn."""
    most: int = 3
    """Rows of a block at most."""
    alone: bool = False
    """Whether filters are taken one by one."""
    backwards: bool = False
    """Whether the last rows come first."""

    def geometry(self, site: Site) -> Geometry | None:
        """The layer's, cut accordingly."""
        found = geometry(site)
        if found is None:
            return None
        return replace(found, most=self.most, alone=self.alone, backwards=self.backwards)


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
    if window.taps > 1 or any(padding) or depth != channels or (strides != (1, 1) and batch > 1):
        return None
    _, out_height, out_width, _ = site.outputs[0].shape
    rows = batch * out_height * out_width
    if strides == (1, 1) or rows == 1:
        return Geometry(rows, depth, filters, None)
    step = strides[1] * depth
    return Geometry(rows, depth, filters, Steps(out_width, step, strides[0] * width * depth - out_width * step))


def form(site: Site) -> HighProduct | None:
    """The proved requantisation."""
    return finishing.proved(site, packing.SCALE)


def is_plain(site: Site) -> bool:
    """Whether all is int8: weights of a byte each, without a zero point."""
    op: Weighted = site.op
    x, weights, _ = site.inputs
    return x.dtype == INT8 and not weights.packed and not op.weight_zero_point


def accepts(site: Site) -> bool:
    """int8, a matrix product, and a proved requantisation."""
    if not is_plain(site):
        return False
    sizes = geometry(site)
    if sizes is None or (sizes.steps and sizes.steps.columns > 0xFFFF):
        return False
    return form(site) is not None


def _accepts_several(site: Site) -> bool:
    """Also: so many rows that smaller blocks take less memory."""
    sizes = geometry(site) if accepts(site) else None
    return sizes is not None and sizes.rows > 2


def _accepts_backwards(site: Site) -> bool:
    """Also: rows that follow one after the other."""
    sizes = geometry(site) if _accepts_several(site) else None
    return sizes is not None and sizes.steps is None


def scratch(unrolling: Unrolling, site: Site) -> int:
    """Bytes for the expanded activations of a block."""
    sizes = unrolling.geometry(site)
    assert sizes is not None
    return sizes.scratch


def overlaps(unrolling: Unrolling, site: Site) -> Mapping[int, Spacing]:
    """Blocks follow each other in input and output."""
    sizes = unrolling.geometry(site)
    assert sizes is not None
    return {0: spacing(sizes.order)}


def scratch_overlaps(unrolling: Unrolling, site: Site) -> ScratchOverlaps:
    """Where there is only one block, its rows may lie at the end of what they are expanded to."""
    sizes = unrolling.geometry(site)
    assert sizes is not None
    (lanes, count), *others = sizes.blocks
    if count > 1 or others or sizes.steps:
        return ScratchOverlaps()
    return ScratchOverlaps({0: spacing(Expansion(lanes, sizes.depth, _packed(site)).order)})


def prepare(unrolling: Unrolling, site: Site) -> Body:
    """The plan of all blocks, and the stream."""
    sizes, requantisation = unrolling.geometry(site), form(site)
    assert sizes is not None and requantisation is not None
    packed = _packed(site)
    sections = tuple(
        Section(
            lanes,
            count,
            Expansion(lanes, sizes.depth, packed),
            sizes.path(i),
            tuple(
                _filter_group(filters, repeats, lanes, sizes, requantisation, packed, unrolling, often=not (i or j))
                for j, (filters, repeats) in enumerate(sizes.filter_groups)
            ),
        )
        for i, (lanes, count) in enumerate(sizes.blocks)
    )
    uniform = finishing.uniform(requantisation)
    values = {
        "sizes": sizes,
        "sections": sections,
        "packed": packed,
        "scale": requantisation.scale,
        "stepped": requantisation.step is not None,
        "frame": Frame((2 if requantisation.step is None else 3) if uniform else 0, sizes.steps is not None),
    }
    variant = f"{sizes.depth}x{sizes.filters}_{sizes.rows}"
    return Body(
        values, {"data": _stream(site, sizes, requantisation)}, variant=variant, proof=requantisation.describe()
    )


def _packed(site: Site) -> bool:
    return packing.packs(_rows(site))


def _rows(site: Site) -> npt.NDArray[np.int8]:
    """(filters, groups * 4)."""
    weights = site.inputs[1].data
    assert weights is not None
    return np.asarray(packing.ending_together(weights.reshape(weights.shape[0], -1)))


def _filter_group(
    filters: int,
    count: int,
    lanes: int,
    sizes: Geometry,
    requantisation: HighProduct,
    packed: bool,
    unrolling: Unrolling,
    *,
    often: bool,
) -> FilterGroup:
    longest, copies = (unrolling.often, unrolling.copies) if often else (unrolling.seldom, 0)
    walk = Walk.of(-(-sizes.depth // 4), longest, 1 + filters * (lanes - 1))
    return FilterGroup.of(count, Block.of(filters, lanes, packed), walk, requantisation, sizes.filters, copies)


def _stream(site: Site, sizes: Geometry, requantisation: HighProduct) -> npt.NDArray[np.uint32]:
    op: Weighted = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    rows = _rows(site)
    packed = _packed(site)
    start = requantisation.scale * op.folded_bias(weights.data, bias.data) + requantisation.start
    if packed:
        start = start - packing.excess(rows)
    words = packing.packed_words(rows) if packed else packing.plain_words(rows)
    return stream(finishing.words(start), words, requantisation, sizes.filter_groups)


def stream(
    starts: npt.NDArray[np.uint32],
    words: npt.NDArray[np.uint32],
    requantisation: HighProduct,
    filter_groups: Iterable[tuple[int, int]],
) -> npt.NDArray[np.uint32]:
    """The stream, given start values (filters,), words of weights (filters, groups), and (filters, count) in turn."""
    constants = finishing.constants(requantisation)
    uniform = finishing.uniform(requantisation)
    parts = [constants[0]] if uniform else []
    first = 0
    for filters, count in filter_groups:
        for _ in range(count):
            these = slice(first, first + filters)
            parts += [starts[these], words[these].T.reshape(-1)]
            parts += [] if uniform else [constants[these].reshape(-1)]
            first += filters
    return np.concatenate(parts)


_UNROLLED = Unrolling(often=32, seldom=8, copies=16)
_COMPACT = Unrolling(often=8, seldom=2, copies=0)
_BACKWARDS = Unrolling(often=32, seldom=8, copies=16, backwards=True)
_SMALL = Unrolling(often=4, seldom=4, copies=0, most=1, alone=True)
_ONE_BY_ONE = Unrolling(often=16, seldom=4, copies=0, most=1)
_IN_TWOS = Unrolling(often=16, seldom=4, copies=0, most=2)


def _kernel(name: str, op: type[Weighted], unrolling: Unrolling, accepts: Callable[[Site], bool] = accepts) -> Kernel:
    body: Callable[[Site], Body] = partial(prepare, unrolling)
    memory: Callable[[Site], int] = partial(scratch, unrolling)
    return Kernel(
        name,
        op,
        body,
        requires=FEATURES,
        accepts=accepts,
        overlaps=partial(overlaps, unrolling),
        assembly=True,
        scratch=memory,
        scratch_overlaps=partial(scratch_overlaps, unrolling),
    )


KERNELS = (
    _kernel("conv_2d.pointwise_2x3", Conv2D, _UNROLLED),
    _kernel("conv_2d.pointwise_2x3_compact", Conv2D, _COMPACT),
    _kernel("conv_2d.pointwise_2x3_backwards", Conv2D, _BACKWARDS, _accepts_backwards),
    _kernel("conv_2d.pointwise_2x2_compact", Conv2D, _IN_TWOS, _accepts_several),
    _kernel("conv_2d.pointwise_4x1_compact", Conv2D, _ONE_BY_ONE, _accepts_several),
    _kernel("conv_2d.pointwise_1x1_small", Conv2D, _SMALL),
    _kernel("fully_connected.4x1", FullyConnected, _UNROLLED),
    _kernel("fully_connected.4x1_compact", FullyConnected, _COMPACT),
    _kernel("fully_connected.1x1_small", FullyConnected, _SMALL),
)
