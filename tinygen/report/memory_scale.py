"""The axes of the memory's picture: from layers and bytes to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from tinygen.memory_map import Block, MemoryMap

LETTER = 6.6
"""Pixels that a letter of the small text takes, about."""
MARGIN = 24
TOP = 128
HEIGHT = 420
"""Of the plot, in pixels; its top is at TOP."""

_WIDTH = 1120
_PITCH = (26.0, 200.0)
"""The least and the most pixels from one layer to the next."""
_SLANT = 0.72  # of a text's length goes to the left, and down, where it is turned by 45 degrees


class Rectangle(NamedTuple):
    """In pixels, from the picture's top left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Scale:
    """From moments and bytes to pixels. The arena lies above the states, which never change places."""

    layers: int
    state_bytes: int
    top_bytes: int
    left: float
    pitch: float

    def x(self, moment: int) -> float:
        """Where a moment begins. A layer takes half of the width, the wait before it the other half."""
        return round(self.left + moment * self.pitch / 2, 2)

    def y(self, bytes: int) -> float:
        """Where so many bytes of static memory end."""
        return round(TOP + HEIGHT * (1 - bytes / self.top_bytes), 2)

    @property
    def right(self) -> float:
        """Where the last moment ends."""
        return self.x(2 * self.layers + 1)

    def rectangle(self, first: int, last: int, start: int, end: int) -> Rectangle:
        """The arena's bytes from `start` to `end`, from the beginning of one moment to the end of another."""
        return self._rectangle(first, last, self.state_bytes + start, self.state_bytes + end)

    def area(self, block: Block) -> Rectangle:
        """All of a block."""
        of_memory = self._rectangle if block.role == "state" else self.rectangle
        return of_memory(block.alive.first, block.alive.last, block.offset, block.end)

    def _rectangle(self, first: int, last: int, start: int, end: int) -> Rectangle:
        x, y = self.x(first), self.y(end)
        return Rectangle(x, y, round(self.x(last + 1) - x, 2), round(self.y(start) - y, 2))

    @property
    def ticks(self) -> list[int]:
        """Round numbers of bytes, about eight."""
        round_numbers = (digit * 10**power for power in count() for digit in (1, 2, 5))
        step = next(number for number in round_numbers if number >= self.top_bytes / 9)
        return list(range(0, self.top_bytes + 1, step))


def scale_for(drawn: MemoryMap, titles: Sequence[str], room: int | None) -> Scale:
    """Axes on which all that is drawn finds place, with the layers' slanted titles and, if given, the board's room."""
    top = max(drawn.bytes, drawn.disjoint_bytes + drawn.state_bytes, room or 0, 1)
    pitch = min(max(_WIDTH / (len(titles) + 0.5), _PITCH[0]), _PITCH[1])
    overhang = max((slanted(title) - (index + 0.75) * pitch for index, title in enumerate(titles)), default=0.0)
    left = MARGIN + max(62.0, overhang)  # 62: bytes, and what they are
    return Scale(len(titles), drawn.state_bytes, round(top * 1.04) + 1, round(left, 1), pitch)


def slanted(title: str) -> float:
    """Pixels that a slanted title goes to the left, and down."""
    return _SLANT * LETTER * len(title)
