"""How a dot product is walked through, a vector of 16 bytes at a time, and how weights are laid out for it.

Activations lie at any byte, and loads of bytes reach 127 bytes either way: pointers to rows start inside of them, and
move on and back as they load. No byte beyond a row is read: where its length is no multiple of 16, the last vector
begins earlier, and its first weights are zero; rows shorter than a vector are loaded under a predicate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tinygen.ir import Array
from tinygen.kernels.armv81m.values import LANES

_REACH = 112
"""Bytes that loads reach from a pointer, either way, in whole vectors."""
_CHUNK = 8
"""Vectors of a turn where rows are so long that there is a loop."""
_LONGEST = 16
"""Vectors that are written out, at most."""


class Load(NamedTuple):
    """A vector of a row: `[pointer, #offset]`, with "!" if the pointer moves, or `[pointer], #16`."""

    offset: int
    moves: str = ""

    def at(self, pointer: str) -> str:
        """As an operand."""
        if self.moves == "after":
            return f"[{pointer}], #{LANES}"
        place = f"[{pointer}, #{self.offset}]" if self.offset or self.moves else f"[{pointer}]"
        return place + ("!" if self.moves else "")


@dataclass(frozen=True)
class Walk:
    """Through rows of `depth` bytes."""

    depth: int

    @cached_property
    def begins(self) -> tuple[int, ...]:
        """Where each vector begins, in bytes from the row's beginning, in the order in which they are loaded."""
        whole = list(range(0, self.depth - LANES + 1, LANES))
        if self.depth % LANES or not whole:
            whole.append(max(self.depth - LANES, 0))
        if len(whole) <= _REACH // LANES + 1 or self.turns:
            return tuple(whole)
        middle = _REACH // LANES  # loaded last, on the way back
        return tuple(whole[:middle] + whole[middle + 1 :] + whole[middle : middle + 1])

    @property
    def vectors(self) -> int:
        """Of a row."""
        return -(-self.depth // LANES)

    @property
    def predicated(self) -> bool:
        """Whether a row is shorter than a vector."""
        return self.depth < LANES

    @property
    def turns(self) -> int:
        """Of the loop; zero: all is written out."""
        return self.depth // LANES // _CHUNK - 1 if self.vectors > _LONGEST else 0

    @property
    def lead(self) -> int:
        """Bytes from a row's beginning to where its pointer is between walks."""
        return _REACH if not self.turns and self.vectors > _REACH // LANES + 1 else 0

    @cached_property
    def straight(self) -> tuple[Load, ...]:
        """What is written out first: all without a loop."""
        if self.turns:
            return (Load(0, "after"),) * (self.vectors_before - _CHUNK * self.turns)
        if not self.lead:
            return tuple(Load(begin) for begin in self.begins)
        # Vectors up to twice the reach from the lead; then those beyond, from a vector after it; and back.
        there = self.begins[_REACH // LANES] - self.lead
        far = [Load(begin - self.lead - there) for begin in self.begins[_REACH // LANES + 1 : -1]]
        near = [Load(begin - self.lead) for begin in self.begins[: _REACH // LANES]]
        return (*near, Load(there, "before"), *far, Load(-there, "before"))

    @property
    def vectors_before(self) -> int:
        """Those up to the last one that begins at a multiple of 16."""
        return self.depth // LANES

    @property
    def turn(self) -> tuple[Load, ...]:
        """A turn of the loop."""
        return (Load(0, "after"),) * _CHUNK

    @property
    def rest(self) -> tuple[Load, ...]:
        """What is written out after the loop."""
        return (Load(self.depth % LANES - LANES),) if self.turns and self.depth % LANES else ()

    @property
    def back(self) -> int:
        """Bytes from where the pointer is after a walk to where it was before."""
        return self.vectors_before * LANES if self.turns else 0

    def weights(self, rows: Array) -> Array:
        """(filters, vectors, 16) int8 of rows (filters, depth), a weight for each byte.

        In the order of the loads, zero where they overlap.
        """
        found = np.zeros((len(rows), self.vectors, LANES), np.int8)
        counted = 0
        for index, begin in sorted(enumerate(self.begins), key=lambda each: each[1]):
            end = min(begin + LANES, self.depth)
            found[:, index, counted - begin : end - begin] = rows[:, counted:end]
            counted = end
        return found
