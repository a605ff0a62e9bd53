"""From sums in registers to int8 results in memory: what a kernel does at the end of a block of dot products.

The form is that of `tinygen.proofs.high_product`. Its constants follow the weights in the stream: for each filter the
multiplier, the addend, and in the form with a step the step. If all filters have the same, they come once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import INT32_MAX
from tinygen.kernel import Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em import packing
from tinygen.kernels.armv7em.dot import Sums
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct, prove_high_product
from tinygen.proofs.line import BoolArray
from tinygen.proofs.mixed_product import MixedProduct, mixed_product
from tinygen.proofs.open_product import OpenProduct, open_product
from tinygen.rescaling import OpenLine


def proved(site: Site, scale: int) -> HighProduct | None:
    """The form of a weighted layer whose kernel sums products times `scale`, if there is one for all its filters."""
    op: Weighted = site.op
    low, high = op.reach(site.inputs)
    if isinstance(op.requant, OpenLine):
        return open_product(op.requant, op.output_zero_point, op.clamp, low, high, scale=scale)
    return prove_high_product(op.requant, op.output_zero_point, op.clamp, low, high, scale=scale)


def proved_or_float(site: Site, scale: int) -> HighProduct | None:
    """The same; or else, on cores that compute in float32, one with ONNX Runtime's own operations for some filters."""
    found = None if site.mixed else proved(site, scale)
    if found is not None or "fpu" not in site.features:
        return found
    op: Weighted = site.op
    return mixed_product(op.requant, op.output_zero_point, op.clamp, *op.reach(site.inputs), scale=scale)


def proved_for_words(site: Site) -> HighProduct | None:
    """The same for words (see `packing`): with packing.SCALE; with one of DEEP_SCALES, if such sums do not fit."""
    found = proved_or_float(site, packing.SCALE)
    if found is not None:
        return found
    low, high = site.op.reach(site.inputs)
    largest = max(-int(low.min()), int(high.max()))
    if packing.SCALE * largest <= INT32_MAX:
        return None
    return next(filter(None, (proved_or_float(site, scale) for scale in packing.DEEP_SCALES)), None)


HELD_ZERO_POINT = "s12"


class Floats(NamedTuple):
    """What is in the code for filters in float32."""

    zero_point: int
    """As the sums are before they are shifted to int8."""
    inverse: int | None
    """What sums are to be multiplied by first."""
    held: str | None = None
    """The register of the FPU that has the zero point; None: it is in the code."""

    @staticmethod
    def of(form: HighProduct) -> Floats | None:
        """None if there is no such filter."""
        if not isinstance(form, MixedProduct):
            return None
        return Floats(form.zero_point << form.shift, form.inverse)

    @staticmethod
    def holding(form: HighProduct) -> Floats | None:
        """The same for functions whose stream has the zero point (see `with_zero_point`), whatever it is."""
        found = Floats.of(form)
        return None if found is None else found._replace(held=HELD_ZERO_POINT)


class Marking(NamedTuple):
    """How results are found that are not sure (`tinygen.proofs.open_product`), and marked."""

    shift: int
    low: int
    results: int
    """From `low` on, how many may be open: the others are clamped to the same, if they are one more."""

    @staticmethod
    def of(form: HighProduct) -> Marking | None:
        """None if all are sure."""
        if not isinstance(form, OpenProduct):
            return None
        low = -128 if form.low_clamp is None else form.low_clamp
        high = 127 if form.high_clamp is None else form.high_clamp
        return Marking(form.shift, low, high - low)


class Counts(NamedTuple):
    """Names of how many of some filters are in float32, and how many are not, in the comments of the text."""

    floats: str
    lines: str

    @staticmethod
    def every(step: int, first: int) -> Counts:
        """Of every so many filters, from the first on."""
        return Counts(f"floats_{first}_of_{step}", f"lines_{first}_of_{step}")

    def among(self, in_float: BoolArray) -> dict[str, int]:
        """The numbers for these filters."""
        count = int(in_float.sum())
        return {self.floats: count, self.lines: len(in_float) - count}


def channel_runs(form: HighProduct) -> dict[str, int]:
    """The numbers for the names "floats" and "lines" of all channels together, if some are in float32."""
    return {} if Floats.of(form) is None else Counts("floats", "lines").among(form.in_float)


def constants(form: HighProduct) -> npt.NDArray[np.uint32]:
    """(filters, 2 or 3): multiplier, addend, and the step, or the limit of what is sure, if there is one."""
    thirds = [] if form.step is None else [form.step]
    thirds += [form.limit] if isinstance(form, OpenProduct) else []
    return streams.words(np.stack([form.multiplier, form.addend, *thirds], axis=1))


def with_zero_point(form: HighProduct, stream: streams.Words) -> streams.Words:
    """The stream, which begins with the zero point if filters are in float32."""
    floats = Floats.of(form)
    return stream if floats is None else np.concatenate([streams.words(np.array([floats.zero_point])), stream])


def uniform(form: HighProduct) -> bool:
    """Whether all filters have the same constants but for the start value: as a rule, those of one scale do."""
    return (
        not form.in_float.any()
        and not isinstance(form, OpenProduct)
        and all(
            len(set(values.tolist())) == 1 for values in (form.multiplier, form.addend, form.step) if values is not None
        )
    )


class Filter(NamedTuple):
    """Where a filter's constants are while its sums are finished."""

    accumulators: tuple[str, ...]
    multiplier: str
    addend: str
    step: str
    """Or the limit of what is sure."""


class Load(NamedTuple):
    """Registers that constants from the stream are loaded into, if any, and the filters that have them."""

    registers: tuple[str, ...]
    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Finish:
    """Registers and literals of the end of a block."""

    block: Sums
    shift: int
    stepped: bool
    uniform: bool
    """Whether all filters have the same constants, which come from the frame with all else."""
    low_clamp: int | None
    high_clamp: int | None
    floats: Floats | None
    marking: Marking | None

    @staticmethod
    def of(block: Sums, form: HighProduct) -> Finish:
        """For the registers that the block leaves."""
        clamps = form.low_clamp, form.high_clamp
        return Finish(
            block, form.shift, form.step is not None, uniform(form), *clamps, Floats.holding(form), Marking.of(form)
        )

    @property
    def _each(self) -> int:
        """Constants of a filter."""
        return 3 if self.stepped or self.marking else 2

    @property
    def frame(self) -> tuple[str, ...]:
        """The registers for what the frame begins with.

        Where the next result goes; where the results of such filters end; the constants, if all filters have the same;
        where the activations begin.
        """
        count = 2 + (self._each if self.uniform else 0)
        return (*self.block.free[-1 - count : -1], self.block.free[-1])

    @property
    def out(self) -> str:
        """Walks through the results."""
        return self.frame[0]

    @property
    def end(self) -> str:
        """Where they end."""
        return self.frame[1]

    @property
    def temporary(self) -> str:
        """Free for the form with a step."""
        return self.block.free[0]

    @property
    def loads(self) -> tuple[Load, ...]:
        """As many filters at a time as there are registers for."""
        rows = self.block.accumulators
        if self.uniform:
            constants = self.frame[2:-1]
            return (Load((), tuple(self._filter(row, constants) for row in rows)),)
        free = self.block.free[1:] if self.stepped else self.block.free
        together = len(free) // self._each
        return tuple(self._load(free, rows[first : first + together]) for first in range(0, len(rows), together))

    def _load(self, free: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Load:
        constants = [free[index * self._each : (index + 1) * self._each] for index in range(len(rows))]
        filters = tuple(self._filter(row, names) for row, names in zip(rows, constants, strict=True))
        return Load(tuple(free[: self._each * len(rows)]), filters)

    @staticmethod
    def _filter(row: tuple[str, ...], constants: Sequence[str]) -> Filter:
        return Filter(row, constants[0], constants[1], constants[-1])

    def number(self, sum: str) -> int:
        """That of a result, by its accumulator: filter by filter."""
        return [each for row in self.block.accumulators for each in row].index(sum)

    @property
    def stores(self) -> tuple[tuple[str, int, int], ...]:
        """(accumulator, lane, filter) in the order of the stores: the first result's comes last."""
        rows = self.block.accumulators
        return tuple(
            (rows[index][lane], lane, index)
            for lane in reversed(range(self.block.lanes))
            for index in reversed(range(self.block.filters))
        )
