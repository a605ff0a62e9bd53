"""Filters two at a time: one multiplication of 32 bits is two products of a value, in the halves of a word.

A word of weights is w0 + 65536 * w1. Over a group of values (see `grouping`) the sum S of such words times the values
is s0 + 65536 * s1, both sums within int16. After each group

    T = T + S,  H = H + (S + 0x8000 >> 16)

so that in the end H is the second filter's sum, and T - 65536 * H the first one's. Two such pairs are computed at a
time, so that each value that is loaded meets four filters. Where there are fewer, filters have weights of zero; where
some are left over, some are computed twice. Where flash is short, four weights plus 128 are the bytes of a word

    b = w0 + 256 * w2 + 65536 * w1 + 16777216 * w3 + 0x80808080

of which a mask leaves both words of weights, plus 0x00800080. The stream, for each four filters:

    for each slot, two words of weights, or one of bytes
    the requantisation's constants of each (see `finishing`)
    bytes from where their results begin to those of the next four; zero after the last ones
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing
from tinygen.kernels.armv6m.finishing import Finish
from tinygen.kernels.armv6m.grouping import Groups
from tinygen.proofs.open_short_product import OpenShortProduct
from tinygen.proofs.short_product import ShortProduct

TOGETHER = 4
"""Filters."""
_VALUES = ("r2", "r3")
"""Registers of values; those that are read where they lie leave one for the window."""
_REACH = 32
"""Offsets of 16 bits that can be loaded without moving the pointer."""
_BYTES = 0x80808080
FREE = ("r1", "r2", "r3", "r4", "r5")
"""Registers, when the sums are complete."""
DECIDED_IN = "r2"
"""The register of a sum whose result is decided apart: sums are in two of them."""
NEAR, _FAR = 110, 1000
"""Instructions of a turn that a conditional branch reaches over, and what another one does."""
_FROM_LANDING = 60
"""Values from a landing of branches back to the next: an even number, within reach even where each is a group."""
_LANDING = 100
"""What its number adds to labels, times this."""
_OF_RESULT, _OF_OPEN, _OF_NEAR_TIES = 18, 13, 10
"""Instructions from a sum to its result, with those of sums that are beyond the clamp, and no exceptions; more of open
ones; and more of those whose near ties are decided apart."""


@dataclass(frozen=True)
class Step:
    """A "load" of values, or of one "in_place"; the "first" product of a group, or another "product", by a value.

    The "end" of a group; in a table of offsets, one to "advance" by some bytes; a "landing" of branches back.
    """

    kind: str
    registers: tuple[str, ...] = ()
    offset: int = 0
    """Of the value's offset in the table; or the bytes; or the landing's number."""


@dataclass(frozen=True)
class Pairs:
    """What the template prints for four filters."""

    groups: Groups
    finish: Finish
    filters: int
    in_place: bool
    """Whether values are read where they lie, for every four filters."""
    in_reach: bool
    """Of branches: whether they get from behind the four filters to before them at once."""

    @staticmethod
    def of(
        groups: Groups,
        form: ShortProduct,
        filters: int,
        around: int,
        in_place: bool = False,
        doubled_at: int | None = None,
    ) -> Pairs:
        """With the registers that are free when the sums are complete; `around` instructions are around the filters.

        `doubled_at`: see `Finish`.
        """
        in_reach = groups.turns > 1 or _is_in_reach(groups, form, around, in_place)
        finish = Finish(form, FREE, decided_in=DECIDED_IN, doubled_at=doubled_at)
        return Pairs(groups, finish, filters, in_place, in_reach)

    @property
    def turns(self) -> int:
        """Of the loop over groups; without one, sums need not be zero at first."""
        return self.groups.turns

    @property
    def runs(self) -> int:
        """How often four filters are computed for a row of values."""
        return -(-self.filters // TOGETHER)

    @property
    def results(self) -> int:
        """That are stored each time."""
        return min(self.filters, TOGETHER)

    @property
    def row_bytes(self) -> int:
        """Of the values, a word each; or of their offsets."""
        return (2 if self.in_place else 4) * self.groups.slots

    @property
    def steps(self) -> list[Step]:
        """Of a turn."""
        return list(self._steps())

    @property
    def is_near(self) -> bool:
        """Whether the loop over groups is short enough for a conditional branch."""
        sizes = self.groups.sizes
        return instructions(sum(sizes), len(sizes), self.in_place) < NEAR

    def label(self, label: int, landing: int | None = None) -> int:
        """Where a branch back to a label goes, from a landing or from behind all: by way of the one before."""
        number = self.landings if landing is None else landing
        return label + _LANDING * number

    @property
    def landings(self) -> int:
        """Their number."""
        return 0 if self.in_reach else (sum(self.groups.sizes) - 1) // _FROM_LANDING

    def _steps(self) -> Iterator[Step]:
        slots = sum(self.groups.sizes)
        values = _VALUES[:1] if self.in_place else _VALUES
        slot = 0
        for size in self.groups.sizes:
            for place in range(size):
                if slot and slot % _FROM_LANDING == 0 and not self.in_reach:
                    yield Step("landing", offset=slot // _FROM_LANDING)
                if self.in_place:
                    yield Step("in_place", values, 2 * (slot % _REACH))
                    if (slot + 1) % _REACH == 0 or slot + 1 == slots:
                        yield Step("advance", offset=2 * (slot % _REACH + 1))
                elif slot % len(values) == 0:
                    yield Step("load", values[: slots - slot])
                yield Step("product" if place else "first", (values[slot % len(values)],))
                slot += 1
            yield Step("end")


def _is_in_reach(groups: Groups, form: ShortProduct, around: int, in_place: bool) -> bool:
    """Whether a branch reaches over all groups written out, what follows them, and `around` instructions more."""
    values = sum(groups.sizes)
    products = -(-(15 if in_place else 11) * values // 2) + 6 * len(groups.sizes)
    result = _OF_RESULT + (_OF_OPEN if isinstance(form, OpenShortProduct) else 0)
    result += _OF_NEAR_TIES if form.near is not None else 0
    results = TOGETHER * (result + 3 * (len(form.parts) + len(form.exceptions) + (form.step is not None)))
    return products + results + around <= _FAR


def instructions(values: int, groups: int, in_place: bool = False) -> int:
    """So many at most, for groups of so many values in all."""
    return (8 if in_place else 6) * values + 9 * groups


def stream(
    groups: Groups, weights: Array, form: ShortProduct, bias: IntArray, in_bytes: bool, short: bool = False
) -> npt.NDArray[np.uint32]:
    """For weights (filters, values) in their own order, and what the sums of their products lack, (filters,).

    `short`: see `finishing.constants`.
    """
    begins = firsts(len(weights))
    parts: list[npt.NDArray[np.uint32]] = []
    for first, following in zip(begins, [*begins[1:], begins[-1]], strict=True):
        parts += four(groups, weights, form, bias, first, in_bytes, short)
        parts.append(np.array([following - first] if len(begins) > 1 else [], np.uint32))
    return np.concatenate(parts)


def four(
    groups: Groups,
    weights: Array,
    form: ShortProduct,
    bias: IntArray,
    first: int,
    in_bytes: bool,
    short: bool = False,
) -> list[npt.NDArray[np.uint32]]:
    """Of four filters from the first one on: words of weights, and constants."""
    chosen = slice(first, first + TOGETHER)
    taken = np.zeros((TOGETHER, groups.slots), np.int64)
    taken[: min(len(weights), TOGETHER)] = groups.weights(weights[chosen])
    words = taken[0::2] + (taken[1::2] << 16)
    if in_bytes:
        words = words[:1] + (words[1:] << 8) + _BYTES
    return [streams.words(words).T.reshape(-1), finishing.constants(form, bias, short)[chosen].reshape(-1)]


def firsts(filters: int) -> list[int]:
    """The first of each four filters; where that does not come out even, some are among the first and the second."""
    if filters <= TOGETHER:
        return [0]
    return [0, *range((filters - 1) % TOGETHER + 1, filters, TOGETHER)]
