"""From sums in registers to int8 results in memory: what a kernel does at the end of a block of dot products.

The form is that of `tinygen.proofs.high_product`. Its constants follow the weights in the stream: for each filter the
multiplier, the addend, and in the form with a step the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray, RealRequant, Requant
from tinygen.kernel import Site
from tinygen.kernels.armv7em.dot import Block
from tinygen.ops.common import Clamp
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct, prove_high_product


def proved(site: Site, scale: int) -> HighProduct | None:
    """The form of a weighted layer whose kernel sums products times `scale`, if there is one for all its filters."""
    op: Weighted = site.op
    low, high = op.reach(site.inputs)
    return _proved(op.requant, op.output_zero_point, op.clamp, tuple(low.tolist()), tuple(high.tolist()), scale)


@lru_cache(maxsize=64)
def _proved(
    requant: Requant | RealRequant,
    zero_point: int,
    clamp: Clamp,
    low: tuple[int, ...],
    high: tuple[int, ...],
    scale: int,
) -> HighProduct | None:
    return prove_high_product(requant, zero_point, clamp, np.array(low), np.array(high), scale=scale)


def words(values: IntArray) -> npt.NDArray[np.uint32]:
    """Integers of 32 bits, signed or not, or their sums modulo 2**32, as words."""
    return np.asarray(np.asarray(values, np.int64) & 0xFFFFFFFF, np.uint32)


def constants(form: HighProduct) -> npt.NDArray[np.uint32]:
    """(filters, 2 or 3): multiplier, addend, and the step if there is one."""
    steps = [] if form.step is None else [form.step]
    return words(np.stack([form.multiplier, form.addend, *steps], axis=1))


class Filter(NamedTuple):
    """Where a filter's constants are while its sums are finished."""

    accumulators: tuple[str, ...]
    multiplier: str
    addend: str
    step: str


@dataclass(frozen=True)
class Finish:
    """Registers and literals of the end of a block."""

    block: Block
    shift: int
    stepped: bool
    low_clamp: int | None
    high_clamp: int | None
    out: str
    """Walks through the results."""
    end: str
    """Where it ends."""
    temporary: str
    """Free for the form with a step."""

    @staticmethod
    def of(block: Block, form: HighProduct) -> Finish:
        """For the block's free registers, the last of which gets the start of the activations again."""
        free = block.free
        return Finish(
            block, form.shift, form.step is not None, form.low_clamp, form.high_clamp, free[-3], free[-2], free[0]
        )

    @property
    def loads(self) -> tuple[tuple[tuple[str, ...], tuple[Filter, ...]], ...]:
        """Registers that constants of some filters are loaded into together, and what is then done with them."""
        each = 3 if self.stepped else 2
        free = self.block.free[1:] if self.stepped else self.block.free
        together = max(1, len(free) // each)
        rows = self.block.accumulators
        return tuple(self._load(free, rows[first : first + together], each) for first in range(0, len(rows), together))

    @staticmethod
    def _load(
        free: Sequence[str], rows: Sequence[tuple[str, ...]], each: int
    ) -> tuple[tuple[str, ...], tuple[Filter, ...]]:
        filters = tuple(
            Filter(row, free[index * each], free[index * each + 1], free[index * each + each - 1])
            for index, row in enumerate(rows)
        )
        return tuple(free[: each * len(rows)]), filters

    @property
    def stores(self) -> tuple[tuple[str, int, int], ...]:
        """(accumulator, lane, filter) in the order of the stores: the first result's comes last."""
        rows = self.block.accumulators
        return tuple(
            (rows[index][lane], lane, index)
            for lane in reversed(range(self.block.lanes))
            for index in reversed(range(self.block.filters))
        )
