"""What runs for a block of rows: groups of filters, how they walk through a row, and the stack frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tinygen.kernels.armv7em.dot import Step, Sums
from tinygen.kernels.armv7em.expansion import Expansion
from tinygen.kernels.armv7em.finishing import Counts, Finish, Floats
from tinygen.kernels.armv7em.matrix_shape import MOST_COPIES, Path
from tinygen.proofs.high_product import HighProduct


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
    first: int
    """Of the filters."""

    @staticmethod
    def of(
        count: int, block: Sums, walk: Walk, requantisation: HighProduct, first: int, row: int, groups: int
    ) -> FilterGroup:
        """Of filters from the `first` on.

        Written out several times where that makes at most `groups` groups, and `count` is a multiple of it.
        """
        most = 1 if walk.turns else min(MOST_COPIES, groups // walk.straight)
        copies = next(copies for copies in range(max(most, 1), 0, -1) if count % copies == 0)
        return FilterGroup(count // copies, copies, block, walk, Finish.of(block, requantisation), row, first)

    @property
    def counts(self) -> tuple[tuple[Counts, ...], ...]:
        """For each copy and each of its filters."""
        filters = self.block.filters
        return tuple(
            tuple(Counts.every(self.filters, self.first + copy * filters + index) for index in range(filters))
            for copy in range(self.copies)
        )

    def runs(self, form: HighProduct) -> dict[str, int]:
        """The numbers for these."""
        end = self.first + self.count * self.filters
        counted = enumerate(counts for copy in self.counts for counts in copy)
        runs: dict[str, int] = {}
        for index, counts in counted:
            runs |= counts.among(form.in_float[self.first + index : end : self.filters])
        return runs

    @property
    def filters(self) -> int:
        """That each run computes, and so many results of a row."""
        return self.copies * self.block.filters

    @property
    def stores(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        """(register, offset) of the stores of each copy.

        The last store of the first copy moves the pointer behind the results of all copies.
        """
        return tuple(
            tuple((register, self._offset(copy, lane, index)) for register, lane, index in self.finish.stores)
            for copy in range(self.copies)
        )

    @property
    def marked(self) -> tuple[tuple[str, int], ...]:
        """(accumulator, offset) of the results, filter by filter, of all copies."""
        return tuple(
            (register, self._offset(copy, lane, index))
            for copy in range(self.copies)
            for index, row in enumerate(self.block.accumulators)
            for lane, register in enumerate(row)
        )

    def _offset(self, copy: int, lane: int, index: int) -> int:
        return lane * self.row + copy * self.block.filters + index - (self.filters if copy else 0)

    @property
    def straight(self) -> list[Step]:
        """The groups that are written out first."""
        return self.block.products(self.walk.straight, first=True)

    @property
    def turn(self) -> list[Step]:
        """A turn of the loop."""
        return self.block.products(self.walk.turn, first=False)


def numbered(groups: Iterable[tuple[int, int]]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Groups of (filters, how often), each with the number of its first filter."""
    first = 0
    for filters, count in groups:
        yield first, (filters, count)
        first += filters * count


def runs_of(groups: Iterable[FilterGroup], form: HighProduct) -> dict[str, int]:
    """How many filters of all groups are in float32, and how many are not, by name; none where none are."""
    return {name: number for group in groups for name, number in group.runs(form).items()} if Floats.of(form) else {}


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
