"""What only moves bytes: copies and fills in loops, a word at a time, with all distances worked out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

_LONG = 64
"""Bytes from which on a run is worth a loop of its own."""
_BLOCK = 32
"""Bytes that such a loop moves at a time: eight registers."""
_REGISTERS = 8
_PIECES = {"speed": 16, "balanced": 8, "size": 1}
"""How many loads and stores of short runs the body of a loop is to have, about."""
_FARTHEST = 4095
"""What LDR takes as an offset."""


@dataclass(frozen=True)
class Piece:
    """A load and a store of 4, 2 or 1 bytes, so far from the pointers."""

    bytes: int
    source: int
    target: int

    @property
    def suffix(self) -> str:
        """Of LDR and STR."""
        return {4: "", 2: "h", 1: "b"}[self.bytes]


@dataclass(frozen=True)
class Copy:
    """Pieces, after which both pointers move; loads of a group come before its stores."""

    kind: ClassVar[str] = "copy"
    source: str
    """The register that points to the source."""
    pieces: tuple[Piece, ...]
    source_step: int
    target_step: int

    @property
    def groups(self) -> Sequence[tuple[Piece, ...]]:
        """As many pieces as there are registers."""
        return [self.pieces[first : first + _REGISTERS] for first in range(0, len(self.pieces), _REGISTERS)]


@dataclass(frozen=True)
class Fill:
    """Pieces of a value that is in a register, after which the pointer moves."""

    kind: ClassVar[str] = "fill"
    pieces: tuple[Piece, ...]
    target_step: int


@dataclass(frozen=True)
class Blocks:
    """A loop of `count` times eight words, or two vectors, copied from `source` or, without one, filled."""

    kind: ClassVar[str] = "blocks"
    source: str | None
    count: int


@dataclass(frozen=True)
class Loop:
    """Statements that are repeated; after each time, the pointer to the source moves."""

    kind: ClassVar[str] = "loop"
    trips: int
    body: tuple[Statement, ...]
    source: str = ""
    source_step: int = 0

    @property
    def is_innermost(self) -> bool:
        """Whether no statement of the body counts in a register."""
        return all(statement.kind in ("copy", "fill") for statement in self.body)

    @property
    def depth(self) -> int:
        """Of loops that count on the stack."""
        inner = max((statement.depth for statement in self.body if isinstance(statement, Loop)), default=0)
        return inner + (not self.is_innermost)


Statement = Copy | Fill | Blocks | Loop


def pieces(count: int, source: int = 0, target: int = 0) -> tuple[Piece, ...]:
    """The fewest for a run of `count` bytes."""
    found = []
    done = 0
    for size in (4, 2, 1):
        while count - done >= size:
            found.append(Piece(size, source + done, target + done))
            done += size
    return tuple(found)


def run(source: str | None, count: int, step: int | None = None) -> tuple[Statement, ...]:
    """A run of `count` bytes, copied from `source` or filled, after which the source has moved by `step` in all."""
    blocks = count // _BLOCK if count >= _LONG else 0
    rest = count - blocks * _BLOCK
    found: list[Statement] = [Blocks(source, blocks)] if blocks else []
    source_step = (count if step is None else step) - blocks * _BLOCK
    if source is None:
        return (*found, Fill(pieces(rest), rest)) if rest else tuple(found)
    if rest or source_step:
        found.append(Copy(source, pieces(rest), source_step, rest))
    return tuple(found)


def runs(source: str, count: int, trips: int, step: int, objective: str) -> tuple[Statement, ...]:
    """So many runs of `count` bytes, each `step` bytes after the one before, to where the target points.

    The source has moved by trips * step afterwards.
    """
    if trips == 1:
        return run(source, count, step)
    if count >= _LONG:
        return (Loop(trips, run(source, count, step)),)
    short = len(pieces(count))
    unroll = min(max(_PIECES[objective] // short, 1), trips)
    while unroll > 1 and not -255 <= (unroll - 1) * step <= _FARTHEST - count:
        unroll -= 1
    body = _several(source, count, unroll, step)
    found: list[Statement] = [Loop(trips // unroll, (body,)) if trips // unroll > 1 else body]
    if trips % unroll:
        found.append(_several(source, count, trips % unroll, step))
    return tuple(found)


def _several(source: str, count: int, times: int, step: int) -> Copy:
    parts = [piece for time in range(times) for piece in pieces(count, time * step, time * count)]
    return Copy(source, tuple(parts), times * step, times * count)


@dataclass(frozen=True)
class Program:
    """Statements for one function. Printed, every loop has a label, and what follows it another."""

    statements: tuple[Statement, ...]
    target: str
    """The register that points to the output."""
    value: int | None = None
    """What fills write, in a word."""

    @property
    def has_blocks(self) -> bool:
        """Whether any run is long."""
        return any(_has_blocks(statement) for statement in self.statements)

    @property
    def slots(self) -> int:
        """Words of the stack that loops count in."""
        return max((statement.depth for statement in self.statements if isinstance(statement, Loop)), default=0)


def _has_blocks(statement: Statement) -> bool:
    return isinstance(statement, Blocks) or (isinstance(statement, Loop) and any(map(_has_blocks, statement.body)))
