"""Dot products of a few filters with a few lanes of activations, in registers: which instruction comes when.

A lane is one pixel (or one row of a matrix). The activations of all lanes lie in memory expanded and interleaved: for
each four consecutive values, a group, first one word of every lane, then a second word of every lane (see `packing`).
The weights are a stream: for each group one word of every filter. So both are read by long loads from walking pointers
that end anywhere: a load of activations may bring what belongs to two groups.

Registers: the accumulators from r0 on, filter by filter; then the weights; then the activations; r12 walks through the
activations, lr through the stream. `templates/armv7em/dot.j2` prints the steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

ACTIVATIONS = "r12"
"""Walks through the expanded activations."""
STREAM = "lr"
"""Walks through the weights, and all else that differs from filter to filter."""

REGISTERS = 12
"""r0 to r11."""


class Step(NamedTuple):
    """One instruction.

    "load": `registers` from the pointer `source`, which moves on; "even": SXTB16 of `source` into `target`, which
    leaves the weights 0 and 2 of four; "odd": of 1 and 3; "low": UXTB16; "multiply": both products of the halfwords
    of `source` and `weights`, plus `addend`, into `target`; "cross": of the low halfword of `source` and the high one
    of `weights`, less that of the other two.
    """

    kind: str
    target: str = ""
    source: str = ""
    weights: str = ""
    addend: str = ""
    registers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sums(ABC):
    """`filters` times `lanes` accumulators, which products are added to."""

    filters: int
    lanes: int

    @abstractmethod
    def products(self, groups: int, first: bool) -> list[Step]:
        """The steps for so many groups; the `first` ones of a filter load its start values, and begin with them."""

    @property
    def accumulators(self) -> tuple[tuple[str, ...], ...]:
        """Of each filter, of each lane."""
        return tuple(
            tuple(f"r{index * self.lanes + lane}" for lane in range(self.lanes)) for index in range(self.filters)
        )

    @property
    def starts(self) -> tuple[str, ...]:
        """The accumulators that start values are loaded into, one of each filter: the last lane's."""
        return tuple(row[-1] for row in self.accumulators)

    @property
    def free(self) -> tuple[str, ...]:
        """The registers that hold no accumulator when the sums are complete, but for the stream's."""
        return (*(f"r{index}" for index in range(self.filters * self.lanes, REGISTERS)), ACTIVATIONS)

    @property
    def spread(self) -> Iterator[tuple[str, str]]:
        """(to, from) of the moves that give a filter's start value to its other lanes, too."""
        for row in self.accumulators:
            for register in row[:-1]:
                yield register, row[-1]


@dataclass(frozen=True)
class Block(Sums):
    """Sums, and the registers that are left for weights and activations."""

    packed: bool
    """Whether the weights are words of halfwords 256 * b1 + b0, or plain bytes, which take two SXTB16 each."""
    ahead: int
    """Groups of weights that one load brings; half groups of wide ones."""
    loaded: int
    """Words of activations that one load brings, if there are so many left."""
    wide: bool = False
    """Whether each weight has a halfword of its own, and a group two words: no SXTB16 for twice the memory."""

    @staticmethod
    def of(filters: int, lanes: int, packed: bool, wide: bool = False) -> Block:
        """The longest loads that there are registers for."""
        ready = packed or wide
        spare = REGISTERS - filters * lanes - (0 if ready else 1)
        most = 4 if wide else 2
        ahead = 1 if not ready or filters * lanes >= 6 else min(4 // filters, most) or 1
        left = spare - ahead * filters
        # Plain weights take the words of all lanes at a time.
        return Block(filters, lanes, packed, ahead, min(left, 6) if ready else left // lanes * lanes, wide)

    def products(self, groups: int, first: bool) -> list[Step]:
        """See `Sums`."""
        weights = self.weights
        steps: list[Step] = []
        pending: list[str] = []
        words = 2 * self.lanes * groups
        begun = not first
        parts = 2 if self.wide else 1
        for group in range(groups):
            for half in range(2):
                part = parts * group + half
                if half < parts:
                    if part % self.ahead == 0:
                        count = min(self.ahead, parts * groups - part) * self.filters
                        starts = () if begun else self.starts
                        steps.append(Step("load", source=STREAM, registers=(*starts, *weights[:count])))
                    current = weights[part % self.ahead * self.filters :][: self.filters]
                elif self.packed:
                    steps += [Step("even", target=register, source=register) for register in current]
                if self.packed or self.wide:
                    for lane in range(self.lanes):
                        words -= self._refill(steps, pending, words)
                        x = pending.pop(0)
                        steps += [self._multiply(f, lane, x, w, begun) for f, w in enumerate(current)]
                else:
                    words -= self._refill(steps, pending, words)
                    xs = [pending.pop(0) for _ in range(self.lanes)]
                    for f, w in enumerate(current):
                        pair = w if half else self._spare
                        steps.append(Step("odd" if half else "even", target=pair, source=w))
                        steps += [self._multiply(f, p, x, pair, begun) for p, x in enumerate(xs)]
                begun = True
        return steps

    @property
    def weights(self) -> tuple[str, ...]:
        """The registers of weights."""
        first = self.filters * self.lanes
        return tuple(f"r{first + index}" for index in range(self.ahead * self.filters))

    @property
    def activations(self) -> tuple[str, ...]:
        """The registers of activations."""
        first = self.filters * self.lanes + self.ahead * self.filters
        return tuple(f"r{first + index}" for index in range(self.loaded))

    @property
    def _spare(self) -> str:
        return f"r{REGISTERS - 1}"

    def _refill(self, steps: list[Step], pending: list[str], words: int) -> int:
        """Load activations when none are left; how many."""
        if pending:
            return 0
        count = min(self.loaded, words)
        pending += self.activations[:count]
        steps.append(Step("load", source=ACTIVATIONS, registers=tuple(pending)))
        return count

    def _multiply(self, index: int, lane: int, x: str, weights: str, begun: bool) -> Step:
        accumulator = self.accumulators[index][lane]
        addend = accumulator if begun else self.starts[index]
        return Step("multiply", target=accumulator, source=x, weights=weights, addend=addend)
