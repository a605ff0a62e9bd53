"""Rows of elements that are worked on a word at a time: how often each part of such a loop runs."""

from __future__ import annotations

from dataclasses import dataclass

_UNROLL = {"speed": 8, "balanced": 4, "size": 1}
"""Words that a loop's body works on."""


@dataclass(frozen=True)
class Row:
    """A row of `elements` bytes: blocks of `unroll` words, the words that are left, and the bytes after them."""

    elements: int
    unroll: int
    rows: int
    """How often there is such a row."""

    @staticmethod
    def of(elements: int, objective: str, rows: int = 1) -> Row:
        """For an objective; a loop that would run once is not worth more than what it does."""
        words = elements // 4
        return Row(elements, max(min(_UNROLL[objective], words), 1), rows)

    @property
    def blocks(self) -> int:
        """Runs of the unrolled body in one row."""
        return self.elements // 4 // self.unroll

    @property
    def words(self) -> int:
        """Words that no block works on."""
        return self.elements // 4 % self.unroll

    @property
    def rest(self) -> int:
        """Bytes that no word works on."""
        return self.elements % 4

    @property
    def block_runs(self) -> int:
        """Of all rows."""
        return self.blocks * self.rows

    @property
    def word_runs(self) -> int:
        """Of all rows."""
        return self.words * self.rows

    @property
    def rest_runs(self) -> int:
        """Of all rows."""
        return self.rest * self.rows
