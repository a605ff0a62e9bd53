"""Rows of elements that are worked on eight or sixteen at a time: how often each part of such a loop runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.access import Spacing
from tinygen.kernel import Site
from tinygen.kernels.armv7em import operands
from tinygen.kernels.armv7em.operands import Operands

_UNROLL = {"speed": 4, "balanced": 4, "size": 1}
"""Vectors that a loop's body works on."""


@dataclass(frozen=True)
class VectorRow:
    """A row of `elements` bytes: blocks of `unroll` vectors of `lanes`, the vectors that are left, and the rest."""

    elements: int
    lanes: int
    unroll: int
    rows: int
    """How often there is such a row."""

    @staticmethod
    def of(elements: int, lanes: int, objective: str, rows: int = 1) -> VectorRow:
        """For an objective; a loop that would run once is not worth more than what it does."""
        return VectorRow(elements, lanes, max(min(_UNROLL[objective], elements // lanes), 1), rows)

    @property
    def blocks(self) -> int:
        """Runs of the unrolled body in one row."""
        return self.elements // (self.lanes * self.unroll)

    @property
    def vectors(self) -> int:
        """Whole ones that no block works on."""
        return self.elements // self.lanes % self.unroll

    @property
    def rest(self) -> int:
        """Elements that no whole vector has."""
        return self.elements % self.lanes

    @property
    def block_runs(self) -> int:
        """Of all rows."""
        return self.blocks * self.rows

    @property
    def vector_runs(self) -> int:
        """Of all rows."""
        return self.vectors * self.rows


def of_operands(found: Operands, lanes: int, objective: str) -> VectorRow:
    """The rows of two operands."""
    return VectorRow.of(found.row.elements, lanes, objective, found.row.rows)


def overlaps(site: Site, lanes: int) -> Mapping[int, Spacing]:
    """A vector is read of each operand before one is written; a value for a row before the row."""
    found = Operands.of(site)
    assert found is not None
    return operands.in_steps(site, steps(found.row.elements, lanes))


def steps(elements: int, lanes: int) -> Sequence[int]:
    """Elements of each vector."""
    rest = elements % lanes
    return [lanes] * (elements // lanes) + ([rest] if rest else [])
