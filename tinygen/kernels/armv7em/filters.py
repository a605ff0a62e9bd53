"""All filters of a layer over one block of pixels: two filters at a time, with SMLAD, in assembly.

The pixels of a block, its lanes, lie expanded and interleaved in memory: for four consecutive values of every lane
first the words X1 of all lanes, then the words Y (see `packing`). What is multiplied is one run of such groups, or
several of equal length that begin at the addresses of a table on the stack. The weights come in the order in which
they are used, with everything else that differs from filter to filter, as one stream of words:

    for two filters, or for the last one alone:
        start values of the sums
        for each group of four values: the packed weights of each filter
            after each chunk of groups, where there are several: what follows
        for each filter: multiplier, addend and, in the form with a step, step of the requantisation

`templates/armv7em/filters.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array
from tinygen.kernel import Site
from tinygen.kernels.armv7em import packing
from tinygen.ops.common import INT8
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct, prove_high_product

GROUP = 4
"""Values of a lane in one group."""

TABLE = 48
"""Offset from sp of the table."""

MOST_LANES = 4

_LONGEST_BODY = {"speed": 16, "balanced": 12, "size": 6}
"""Groups that are written out: of twelve, two filters times four lanes still fit into a kilobyte of cache."""

_SAME_RUN = 0xFFFFFFFF
"""In the stream, after a chunk: the run goes on. Zero: it was the last one. Else an offset from sp into the table."""


def group_bytes(lanes: int) -> int:
    """Bytes of one group: two words for each lane."""
    return 8 * lanes


class Product(NamedTuple):
    """Operands of the products of one lane: the accumulator of each filter, and the activations."""

    accumulators: tuple[str, ...]
    x: str


class Half(NamedTuple):
    """Words X1 of a group, or its words Y: registers that an instruction loads, and the products with them."""

    loads: tuple[tuple[tuple[str, ...], tuple[Product, ...]], ...]


@dataclass(frozen=True)
class Registers:
    """Which register holds what while filters are computed; lr walks through the stream."""

    accumulators: tuple[tuple[str, ...], ...]
    """Of each filter, of each lane."""
    weights: tuple[str, ...]
    """Of each filter."""
    x: tuple[str, ...]
    pointer: str
    """Walks through the activations; free at the end of a filter."""
    constants: tuple[str, ...]
    """Free at the end of a filter, for multiplier, addend, step, and something computed."""
    keeps_out: bool
    """Whether r12 holds the address of the next result all the time."""

    @property
    def halves(self) -> tuple[Half, ...]:
        """The two halves of a group."""
        lanes = len(self.accumulators[0])
        per_load = min(len(self.x), lanes)
        halves = []
        for half in range(2):
            loads = []
            for first in range(0, lanes, per_load):
                # Where there are registers for both halves, the first one loads them all.
                together = len(self.x) == 2 * lanes
                x = self.x[half * lanes : (half + 1) * lanes] if together else self.x
                loaded = (self.x if half == 0 else ()) if together else self.x
                products = (
                    Product(tuple(filters[lane] for filters in self.accumulators), x[lane - first])
                    for lane in range(first, first + per_load)
                )
                loads.append((loaded, tuple(products)))
            halves.append(Half(tuple(loads)))
        return tuple(halves)


def _names(first: int, count: int) -> tuple[str, ...]:
    return tuple(f"r{first + index}" for index in range(count))


def registers(filters: int, lanes: int) -> Registers:
    """The plan for one or two filters over one to four lanes."""
    accumulators = (_names(0, lanes), _names(lanes, lanes))[:filters]
    if lanes < MOST_LANES:
        free = 2 * lanes
        wide = {3: 3, 2: 4, 1: 2}[lanes]
        x = _names(free + 2, wide)
        return Registers(accumulators, _names(free, filters), x, "r11", _names(free, 4), keeps_out=True)
    x = _names(10, 2) if filters == 2 else _names(4, 4)
    return Registers(accumulators, _names(8, filters), x, "r12", _names(8, 4), keeps_out=False)


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
    def of(runs: int, groups: int, objective: str) -> Sums:
        """All of them written out if they are few; else the chunk that needs the fewest instructions."""
        most = _LONGEST_BODY[objective]
        if runs * groups <= most:
            return Sums(runs, groups, groups, straight=True)
        chunk = min(range(min(most, groups), 0, -1), key=lambda size: -(-groups // size) * (23 * size + 4))
        return Sums(runs, -(-groups // chunk) * chunk, chunk, straight=False)

    @property
    def chunks(self) -> int:
        """Of a run."""
        return self.groups // self.chunk


@dataclass(frozen=True)
class Frame:
    """Words on the stack, as offsets from sp, that every kernel has; further ones lie between them and the table."""

    addresses: int
    """In the table."""
    out: int = 0
    """Where the next result of the first lane goes."""
    end: int = 4
    """Where that of the first filter after all pairs will go."""
    data: int = 8
    """The stream."""

    @property
    def table(self) -> tuple[int, ...]:
        """Where runs begin."""
        return tuple(range(TABLE, TABLE + 4 * self.addresses, 4))


@dataclass(frozen=True)
class Filters:
    """What the template prints."""

    count: int
    sums: Sums
    offsets: tuple[int, ...]
    """Bytes from the first lane's result to each lane's."""
    blocks: int
    """How often all filters are computed in one call."""
    shift: int
    stepped: bool
    low: int | None
    high: int | None

    @staticmethod
    def of(product: HighProduct, sums: Sums, offsets: Sequence[int], blocks: int) -> Filters:
        """With the requantisation that was proved."""
        return Filters(
            len(product.start),
            sums,
            tuple(offsets),
            blocks,
            product.shift,
            product.step is not None,
            product.low_clamp,
            product.high_clamp,
        )

    @property
    def pairs(self) -> int:
        """Times that two filters are computed together."""
        return self.count // 2

    @property
    def bodies(self) -> tuple[tuple[int, int, Registers], ...]:
        """Filters at a time, how often for a block, and the registers: two, and the last one alone if there is one."""
        parts = ((2, self.count // 2), (1, self.count % 2))
        return tuple((width, times, registers(width, len(self.offsets))) for width, times in parts if times)

    @property
    def results(self) -> tuple[tuple[int, int], ...]:
        """For each lane, bytes from the first lane's result of a filter to its own, and to that of the next filter."""
        return tuple((offset, offset + 1) for offset in self.offsets)


def prove(site: Site) -> HighProduct | None:
    """The requantisation of sums that are SCALE times the products."""
    op: Weighted = site.op
    low, high = op.reach(site.inputs)
    return prove_high_product(op.requant, op.output_zero_point, op.clamp, low, high, scale=packing.SCALE)


def starts(site: Site, product: HighProduct, rows: Array) -> IntArray:
    """Start values of the sums, for packed weights (filters, depth) as they lie in the stream."""
    op: Weighted = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    folded = op.folded_bias(weights.data, bias.data)
    return np.asarray(packing.SCALE * folded + product.start - packing.excess(rows), np.int64)


def stream(site: Site, product: HighProduct, weights: Array, sums: Sums) -> npt.NDArray[np.uint32]:
    """All constants of a layer; int8 weights (filters, runs, groups * GROUP) in the order of the activations."""
    filters = len(weights)
    padded = np.zeros((filters, sums.runs, sums.groups * GROUP), np.int8)
    padded[:, :, : weights.shape[2]] = weights
    rows = padded.reshape(filters, -1)
    words = packing.packed_words(rows).reshape(filters, sums.runs * sums.chunks, sums.chunk)
    finish = [product.multiplier, product.addend, *([] if product.step is None else [product.step])]
    start = starts(site, product, rows)
    flow = _flow(sums)
    parts: list[IntArray] = []
    for first in range(0, filters, 2):
        pair = slice(first, first + 2)
        parts.append(start[pair])
        for index, after in enumerate(flow):
            parts.append(words[pair, index].T.reshape(-1).astype(np.int64))
            parts.append(np.array(after, np.int64))
        parts.append(np.stack(finish, axis=1)[pair].reshape(-1))
    return (np.concatenate(parts) & 0xFFFFFFFF).astype(np.uint32)


def _flow(sums: Sums) -> list[list[int]]:
    """What follows each chunk."""
    if sums.straight:
        return [[]] * sums.runs
    after = [[_SAME_RUN]] * (sums.chunks - 1)
    return [word for run in range(1, sums.runs + 1) for word in (*after, [TABLE + 4 * run if run < sums.runs else 0])]


_PRODUCTS = {1: 8, 2: 12, 3: 17, 4: 23}
"""Instructions for a group of two filters, by lanes."""


def instructions(pixels: int, lanes: int, groups: int) -> int:
    """About as many for two filters over blocks that cover so many pixels: enough to choose the lanes by."""
    return -(-pixels // lanes) * (_PRODUCTS[lanes] * groups + 8 * lanes + 8)


def best_lanes(pixels: int, groups: int) -> int:
    """How many lanes cover so many pixels with the fewest instructions."""
    return min(range(min(MOST_LANES, pixels), 0, -1), key=lambda lanes: instructions(pixels, lanes, groups))


def takes(site: Site) -> bool:
    """The contract that all kernels over packed weights share: int8, one image, one group, no dilation."""
    op: Weighted = site.op
    x, weights, _ = site.inputs
    window = site.op.window
    return (
        x.dtype == INT8
        and site.outputs[0].dtype == INT8
        and weights.data is not None
        and not weights.packed
        and op.weight_zero_point == 0
        and x.shape[0] == 1
        and x.shape[3] == weights.shape[3]
        and all(axis.dilation == 1 or axis.taps == 1 for axis in (window.rows, window.columns))
    )
