"""All filters of a layer over one block of pixels: two filters at a time, with SMLAD, in assembly.

The pixels of a block, its lanes, lie expanded and interleaved in memory, as `dot` wants them. What is multiplied is one
run of groups, or several of equal length that begin at the addresses of a table on the stack. The weights come in the
order in which they are used, with everything else that differs from filter to filter, as one stream of words:

    the zero point, where filters are in float32
    for two filters, or for the last one alone:
        start values of the sums
        for each group of four values: the weights of each filter (wide ones: of each half of a group)
            after each chunk of groups, where there are several: what follows
        for each filter: multiplier, addend and, in the form with a step, step of the requantisation

`templates/armv7em/filters.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array
from tinygen.kernel import Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em import finishing, packing
from tinygen.kernels.armv7em.dot import Block, Step
from tinygen.kernels.armv7em.finishing import Counts, Finish, Floats
from tinygen.kernels.armv7em.frames import TABLE
from tinygen.kernels.armv7em.matrix_blocks import numbered
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.contracts import is_plain
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct

GROUP = 4
"""Values of a lane in one group."""

UNROLLED = 16
"""Groups that are written out at most: so many, of two filters times three lanes, take a kilobyte."""
COMPACT = 8

_SAME_RUN = 0xFFFFFFFF
"""In the stream, after a chunk: the run goes on. Zero: it was the last one. Else an offset from sp into the table."""


def group_bytes(lanes: int) -> int:
    """Bytes of one group: two words for each lane."""
    return 8 * lanes


@cache
def _products(lanes: int, groups: int, wide: bool = False) -> int:
    """What so many groups of two filters cost: instructions, and cycles, which a load takes one more of for each word.

    Both count, since long loads flatter the one and not the other.
    """
    steps = Block.of(2, lanes, not wide, wide).products(groups, first=False)
    return sum(2 + len(step.registers) for step in steps)


@dataclass(frozen=True)
class Sums:
    """How the groups of a filter are walked through."""

    runs: int
    groups: int
    """Of a run, those that fill up its last chunk among them: their weights are zero."""
    chunk: int
    """Groups that are written out."""
    straight: bool
    """Whether all are written out, without a loop."""

    @staticmethod
    def of(runs: int, groups: int, lanes: int, most: int) -> Sums:
        """All of them written out if they are few; else in chunks that cost least."""
        if runs * groups <= most:
            return Sums(runs, groups, groups, straight=True)

        def cost_of(chunk: int) -> int:
            return -(-groups // chunk) * (_products(lanes, chunk) + 12)

        chunk = min(range(min(most, groups), 0, -1), key=cost_of)
        return Sums(runs, -(-groups // chunk) * chunk, chunk, straight=False)

    @property
    def chunks(self) -> int:
        """Of a run."""
        return self.groups // self.chunk


@dataclass(frozen=True)
class Body:
    """Some filters over a block."""

    times: int
    """How often for a block."""
    block: Block
    finish: Finish
    sums: Sums
    results: tuple[tuple[int, tuple[str, ...], tuple[int, ...]], ...]
    """For each lane, the last one first: bytes from the first lane's result to its own, accumulators of its filters,
    and bytes to the result of each."""
    counts: tuple[Counts, ...]
    """Of each filter."""

    @staticmethod
    def of(first: int, filters: int, times: int, layer: Layer, sums: Sums, offsets: Sequence[int]) -> Body:
        """With lanes whose results lie so many bytes from the first one's."""
        block = Block.of(filters, len(offsets), layer.packed, layer.wide)
        results = tuple(
            (offset, tuple(row[lane] for row in block.accumulators), tuple(range(offset, offset + filters)))
            for lane, offset in enumerate(offsets)
        )
        # Here the constants of each filter are in the stream, even where all filters have the same.
        finish = replace(Finish.of(block, layer.form), uniform=False)
        counts = tuple(Counts.every(filters, first + index) for index in range(filters))
        return Body(times, block, finish, sums, results[::-1], counts)

    @property
    def marked(self) -> tuple[tuple[str, int], ...]:
        """(accumulator, bytes from the first lane's first result) of the results, filter by filter."""
        offsets = {
            register: offset
            for _, registers, lane in self.results
            for register, offset in zip(registers, lane, strict=True)
        }
        return tuple((register, offsets[register]) for row in self.block.accumulators for register in row)

    @property
    def first(self) -> list[Step]:
        """Without a loop: the products of the first run; they load the start values."""
        return self.block.products(self.sums.groups, first=True)

    @property
    def chunk(self) -> list[Step]:
        """The products of a chunk, or of a run without a loop."""
        return self.block.products(self.sums.chunk, first=False)

    @property
    def flow(self) -> str:
        """A register for what follows a chunk."""
        return self.block.free[0]


@dataclass(frozen=True)
class Filters:
    """What the template prints."""

    count: int
    sums: Sums
    blocks: int
    """How often all filters are computed in one call."""
    packed: bool
    stepped: bool
    bodies: tuple[Body, ...]
    """Of two filters, and of the last one alone if there is one."""

    @staticmethod
    def of(layer: Layer, sums: Sums, offsets: Sequence[int], blocks: int) -> Filters:
        """With the requantisation that was proved."""
        count = len(layer.form.start)
        bodies = tuple(
            Body.of(first, filters, times, layer, sums, offsets)
            for first, (filters, times) in numbered(((2, count // 2), (1, count % 2)))
            if times
        )
        return Filters(count, sums, blocks, layer.packed, layer.form.step is not None, bodies)

    @property
    def pairs(self) -> int:
        """Times that two filters are computed together."""
        return self.count // 2


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights in the order in which activations come, and the proved requantisation of their sums."""

    site: Site
    weights: Array
    """int8 (filters, runs, values of a run)."""
    form: HighProduct
    packed: bool
    """Whether the weights are packed; else they are bytes, unless they are wide."""
    wide: bool

    @staticmethod
    def of(site: Site, weights: Array, wide: bool = False) -> Layer | None:
        """None where no requantisation is proved."""
        form = finishing.proved_for_words(site)
        if form is None:
            return None
        packed = not wide and form.scale == packing.SCALE
        packed = packed and packing.packs(_whole_groups(weights).reshape(len(weights), -1))
        return Layer(site, weights, form, packed, wide)

    @property
    def scale(self) -> int:
        """Of the sums."""
        assert isinstance(self.form.scale, int)
        return self.form.scale

    @property
    def runs(self) -> dict[str, int]:
        """How many filters are in float32, and how many are not, by the names that bodies have for that."""
        if Floats.of(self.form) is None:
            return {}
        in_float = self.form.in_float
        even = len(in_float) // 2 * 2
        first, second = (Counts.every(2, index).among(in_float[index:even:2]) for index in range(2))
        return first | second | Counts.every(1, even).among(in_float[even:])

    def stream(self, sums: Sums) -> npt.NDArray[np.uint32]:
        """All constants."""
        op: Weighted = self.site.op
        _, weights, bias = self.site.inputs
        assert weights.data is not None and bias.data is not None
        filters, runs, depth = self.weights.shape
        padded = np.zeros((filters, runs, sums.groups * GROUP), np.int8)
        padded[:, :, :depth] = self.weights
        rows = padded.reshape(filters, -1)
        sums_of_nothing: IntArray = self.form.scale * op.folded_bias(weights.data, bias.data) + self.form.start
        starts = streams.words(sums_of_nothing - (packing.excess(rows) if self.packed else 0))
        words = self._words(rows).reshape(filters, runs * sums.chunks, -1)
        constants = finishing.constants(self.form)
        flow = _flow(sums)
        parts: list[Array] = []
        for first in range(0, filters, 2):
            pair = slice(first, first + 2)
            parts.append(starts[pair])
            for index, after in enumerate(flow):
                parts += [words[pair, index].T.reshape(-1), np.array(after, np.uint32)]
            parts.append(constants[pair].reshape(-1))
        return np.concatenate(parts)

    def after_zero_point(self, stream: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The stream as the function takes it: see `finishing.with_zero_point`."""
        return finishing.with_zero_point(self.form, stream)

    def _words(self, rows: Array) -> npt.NDArray[np.uint32]:
        if self.wide:
            return packing.wide_words(rows, self.scale)
        return packing.packed_words(rows) if self.packed else packing.plain_words(rows)


def _whole_groups(weights: Array) -> Array:
    """Runs of (filters, runs, values) filled up to whole groups with zeros."""
    return np.pad(weights, ((0, 0), (0, 0), (0, -weights.shape[2] % GROUP)))


def _flow(sums: Sums) -> list[list[int]]:
    """What follows each chunk."""
    if sums.straight:
        return [[]] * sums.runs
    after = [[_SAME_RUN]] * (sums.chunks - 1)
    return [word for run in range(1, sums.runs + 1) for word in (*after, [TABLE + 4 * run if run < sums.runs else 0])]


def cost(pixels: int, lanes: int, groups: int, wide: bool = False) -> int:
    """Of two filters over blocks that cover so many pixels, about: enough to choose the lanes by."""
    return -(-pixels // lanes) * (_products(lanes, 2, wide) * groups // 2 + 12 * lanes + 28)


def lane_counts(pixels: int, plane: Plane, wide: bool = False) -> range:
    """How many lanes can be, the most first; weights that may not be packed leave no registers for a fourth."""
    most = 4 if wide or (plane.packs and plane.weights.min(initial=0) > -128) else 3
    return range(min(most, pixels), 0, -1)


def plane_of(site: Site) -> Plane:
    """That of a CONV_2D, which knows whether sums of packed weights fit."""
    form = finishing.proved_for_words(site)
    return replace(Plane.of(site), packs=form is not None and form.scale == packing.SCALE)


def takes(site: Site) -> bool:
    """The contract of all kernels that compute their filters so: int8, one image, one group."""
    x, weights, _ = site.inputs
    return is_plain(site) and x.shape[0] == 1 and x.shape[3] == weights.shape[3]
