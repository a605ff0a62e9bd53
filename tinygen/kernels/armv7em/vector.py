"""A single row of activations times filters, in little memory: crossed words, which take as much as the row does.

The row becomes words in the scratch memory (see `packing`), which may lie where the row does. With one word for each
four values, five filters at a time make another one of it in a register (see `crossed`).

Where there are more results than values, most of them can be had for less: both words are there at first, in memory
that ends beyond the results, and four filters at a time find them. Before the last results are written where it
begins, the words that are kept move together to its end. The stream:

    the zero point, where filters are in float32
    multiplier, addend and, in the form with a step, step of the requantisation, where all filters have the same
    for the filters that are taken together, and for those left over:
        start values of the sums
        for each group of four values: the crossed weights of each filter
        where they differ, multiplier, addend, step of each filter's requantisation

`templates/armv7em/vector.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from tinygen.access import Order, Spacing, spacing
from tinygen.kernel import Body, Kernel, ScratchOverlaps, Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em import finishing, matrix, packing
from tinygen.kernels.armv7em.crossed import Crossed
from tinygen.kernels.armv7em.matrix_blocks import FilterGroup, Frame, Walk, numbered, runs_of
from tinygen.kernels.armv7em.matrix_shape import geometry
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct

_REGISTERS = tuple(f"r{index}" for index in range(4, 12))
"""Hold words while they are made, or moved together."""

_SELDOM = 8
"""Groups that are written out at most for filters that are left over."""


@dataclass(frozen=True)
class Phase:
    """Results that are computed from words that stay where they are."""

    both: bool
    """Whether both words of each four values are in memory."""
    together: int
    """Filters that are taken together."""
    longest: int
    """Groups that are written out at most for them."""
    results: int

    @property
    def filter_groups(self) -> tuple[tuple[int, int], ...]:
        """(filters, count): as many as are taken together, then those left over."""
        parts = ((self.together, self.results // self.together), (self.results % self.together, 1))
        return tuple((filters, count) for filters, count in parts if filters and count)


_BOTH, _ONE, _LAST = partial(Phase, True, 4, 32), partial(Phase, False, 5, 16), partial(Phase, False, 5, 8)


@dataclass(frozen=True)
class Vector:
    """A row of `depth` values times `filters`."""

    depth: int
    filters: int
    both: bool
    """Whether both words are there at first."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """In their order: the last results take the last of the words' memory alone, which is what the row takes."""
        if not self.both:
            return (_ONE(self.filters),)
        fours = range((self.filters - self.depth) // 4 * 4, 0, -4)
        # The last ones are few; what is left over of them would be as much code.
        first = next((four for four in fours if (self.filters - four) % 5 == 0), max(fours, default=0))
        return (_BOTH(first), _LAST(self.filters - first))

    @property
    def filter_groups(self) -> Iterator[tuple[int, int]]:
        """Of all phases."""
        for phase in self.phases:
            yield from phase.filter_groups

    @property
    def groups(self) -> int:
        """Of four values."""
        return self.depth // 4

    @property
    def words(self) -> int:
        """Registers that the words of a group take."""
        return 2 if self.both else 1

    @property
    def scratch(self) -> int:
        """Bytes of the words."""
        return self.words * self.depth

    @property
    def at_once(self) -> int:
        """Groups of which words are made, or moved, at once."""
        return len(_REGISTERS) // self.words

    @property
    def turns(self) -> int:
        """Of the loops that make and move words."""
        return self.groups // self.at_once

    @property
    def turn_bytes(self) -> int:
        """Of the row of which they make words."""
        return 4 * self.turns * self.at_once

    @property
    def rest(self) -> int:
        """Groups left over."""
        return self.groups % self.at_once

    def registers(self, groups: int) -> tuple[tuple[str, ...], ...]:
        """Of the words of so many groups: one each, or the first and the second."""
        return tuple(_REGISTERS[self.words * group : self.words * (group + 1)] for group in range(groups))

    @property
    def made(self) -> Order:
        """How the row becomes words."""
        first = np.arange(0, self.depth, 4 * self.at_once, dtype=np.int64)
        last = np.minimum(first + 4 * self.at_once, self.depth)
        return Order(first, last, self.words * first, self.words * last)

    @property
    def used(self) -> Order:
        """Which words are read before which results are written; or moved, before the last phase."""
        steps = [
            (0 if phase.both or not self.both else self.depth, filters)
            for phase in self.phases
            for filters, count in phase.filter_groups
            for _ in range(count)
        ]
        if self.both:
            moved = sum(count for _, count in self.phases[0].filter_groups)
            steps.insert(moved, (0, 0))
        first, filters = np.array(steps, np.int64).T
        ends = filters.cumsum()
        return Order(first, np.full_like(first, self.scratch), ends - filters, ends)


def _vector(both: bool, site: Site) -> Vector:
    sizes = geometry(site)
    assert sizes is not None
    return Vector(sizes.depth, sizes.filters, both)


def _accepts(site: Site) -> bool:
    """int8, a single row of whole words, crossed weights, and a proved requantisation."""
    if not matrix.accepts(site) or not matrix.in_scale(site) or not packing.crosses(_weights(site)):
        return False
    sizes = geometry(site)
    return sizes is not None and sizes.rows == 1 and sizes.depth % 4 == 0


def _accepts_both(site: Site) -> bool:
    """Also: more results than values."""
    return _accepts(site) and _vector(True, site).phases[0].results > 0


def scratch(both: bool, site: Site) -> int:
    """Bytes of the words."""
    return _vector(both, site).scratch


def overlaps(site: Site) -> Mapping[int, Spacing]:
    """All of the row is read before the first result is written."""
    x, y = site.inputs[0].bytes, site.outputs[0].bytes
    return {0: Spacing(-x, -y)}


def scratch_overlaps(both: bool, site: Site) -> ScratchOverlaps:
    """Words replace the row from its beginning to its end; the last results lie where none is needed any more."""
    sizes = _vector(both, site)
    return ScratchOverlaps({0: spacing(sizes.made)}, spacing(sizes.used))


def prepare(both: bool, site: Site) -> Body:
    """The plan of all phases, and the stream."""
    sizes, requantisation = _vector(both, site), matrix.form(site)
    assert requantisation is not None
    uniform = finishing.uniform(requantisation)
    firsts = iter(first for first, _ in numbered(sizes.filter_groups))
    phases = [
        (
            phase,
            tuple(
                _filter_group(phase, next(firsts), filters, count, sizes, requantisation)
                for filters, count in phase.filter_groups
            ),
        )
        for phase in sizes.phases
    ]
    values = {
        "sizes": sizes,
        "phases": phases,
        "floats": finishing.Floats.holding(requantisation),
        "scale": requantisation.scale,
        "stepped": requantisation.step is not None,
        "loops": any(group.walk.turns for _, groups in phases for group in groups),
        "frame": Frame((2 if requantisation.step is None else 3) if uniform else 0, alone=True),
    }
    return Body(
        values,
        {"data": _stream(site, sizes, requantisation)},
        variant=f"{sizes.depth}x{sizes.filters}",
        proof=requantisation.describe(),
        runs=runs_of((group for _, groups in phases for group in groups), requantisation),
    )


_COPIES = 16
"""Groups that are written out at most, for several times as many filters as are taken together."""


def _filter_group(
    phase: Phase, first: int, filters: int, count: int, sizes: Vector, requantisation: HighProduct
) -> FilterGroup:
    is_often = filters == phase.together
    walk = Walk.of(sizes.groups, phase.longest if is_often else _SELDOM, 1)
    block = Crossed.of(filters, phase.both)
    return FilterGroup.of(count, block, walk, requantisation, first, sizes.filters, _COPIES if is_often else 0)


def _weights(site: Site) -> npt.NDArray[np.int8]:
    data = site.inputs[1].data
    assert data is not None
    return np.asarray(data.reshape(data.shape[0], -1), np.int8)


def _stream(site: Site, sizes: Vector, requantisation: HighProduct) -> npt.NDArray[np.uint32]:
    op: Weighted = site.op
    bias = site.inputs[2].data
    assert bias is not None
    weights = _weights(site)
    start = requantisation.scale * op.folded_bias(weights, bias) + requantisation.start
    starts = streams.words(start - packing.crossed_excess(weights))
    return matrix.stream(starts, packing.crossed_words(weights), requantisation, sizes.filter_groups)


KERNELS = tuple(
    Kernel(
        name,
        FullyConnected,
        partial(prepare, both),
        requires=matrix.FEATURES,
        accepts=accepts,
        overlaps=overlaps,
        assembly=True,
        scratch=partial(scratch, both),
        scratch_overlaps=partial(scratch_overlaps, both),
    )
    for name, both, accepts in (
        ("fully_connected.5x1_crossed", False, _accepts),
        ("fully_connected.4x1_crossed", True, _accepts_both),
    )
)
