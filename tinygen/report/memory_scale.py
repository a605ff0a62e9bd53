"""The axes of the memory's picture: from layers and bytes to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from typing import NamedTuple

from tinygen.memory_map import KEPT, Block, Inner, MemoryMap

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


class Title(NamedTuple):
    """What stands below a layer, or a part of a group of layers."""

    text: str
    layer: int
    part: int = 0


@dataclass(frozen=True)
class Scale:
    """From moments and bytes to pixels. The arena lies above what never changes places."""

    starts: tuple[float, ...]
    """Where each moment begins, and at last where the last one ends. Before each layer there is the wait for it."""
    parts: tuple[int, ...]
    """Of each layer, side by side: one, but of a group."""
    kept_bytes: int
    """Below the arena."""
    top_bytes: int

    def x(self, moment: int) -> float:
        """Where a moment begins."""
        return self.starts[moment]

    def y(self, bytes: int) -> float:
        """Where so many bytes of static memory end."""
        return round(TOP + HEIGHT * (1 - bytes / self.top_bytes), 2)

    @property
    def left(self) -> float:
        """Where the first moment begins."""
        return self.starts[0]

    @property
    def right(self) -> float:
        """Where the last moment ends."""
        return self.starts[-1]

    def rectangle(self, first: int, last: int, start: int, end: int) -> Rectangle:
        """The arena's bytes from `start` to `end`, from the beginning of one moment to the end of another."""
        return self._rectangle(self.x(first), self.x(last + 1), self.kept_bytes + start, self.kept_bytes + end)

    def area(self, block: Block) -> Rectangle:
        """All of a block."""
        below = 0 if block.role in KEPT else self.kept_bytes
        ends = self.x(block.alive.first), self.x(block.alive.last + 1)
        return self._rectangle(*ends, below + block.offset, below + block.end)

    def inner(self, inner: Inner) -> Rectangle:
        """All of what is in use for some parts of a group."""
        ends = self._part(inner.layer, inner.first), self._part(inner.layer, inner.last + 1)
        return self._rectangle(*ends, self.kept_bytes + inner.block.offset, self.kept_bytes + inner.block.end)

    def middle(self, title: Title) -> float:
        """Where a title's layer, or part, has its middle."""
        return round((self._part(title.layer, title.part) + self._part(title.layer, title.part + 1)) / 2, 2)

    def _part(self, layer: int, part: int) -> float:
        start, end = self.x(2 * layer + 1), self.x(2 * layer + 2)
        return round(start + (end - start) * part / self.parts[layer], 2)

    def _rectangle(self, left: float, right: float, start: int, end: int) -> Rectangle:
        y = self.y(end)
        return Rectangle(left, y, round(right - left, 2), round(self.y(start) - y, 2))

    @property
    def ticks(self) -> list[int]:
        """Round numbers of bytes, about eight."""
        round_numbers = (digit * 10**power for power in count() for digit in (1, 2, 5))
        step = next(number for number in round_numbers if number >= self.top_bytes / 9)
        return list(range(0, self.top_bytes + 1, step))


def scale_for(drawn: MemoryMap, titles: Sequence[Title], room: int | None) -> Scale:
    """Axes on which all that is drawn finds place, with the slanted titles and, if given, the board's room."""
    top = max(drawn.bytes, without_sharing(drawn), room or 0, 1)
    pitch = min(max(_WIDTH / (len(titles) + 0.5), _PITCH[0]), _PITCH[1])
    parts = tuple(max(len(layer.parts), 1) for layer in drawn.layers)
    widths = [pitch / 2]
    for count_of_parts in parts:
        widths += [pitch / 2 if count_of_parts == 1 else max(pitch / 2, _PITCH[0]) * count_of_parts, pitch / 2]
    starts = [0.0, *accumulate(widths)]
    alone = Scale(tuple(starts), parts, drawn.kept_bytes, round(top * 1.04) + 1)
    overhang = max((slanted(title.text) - alone.middle(title) for title in titles), default=0.0)
    left = MARGIN + max(62.0, overhang)  # 62: bytes, and what they are
    return replace(alone, starts=tuple(round(left + start, 2) for start in starts))


def without_sharing(drawn: MemoryMap) -> int:
    """All bytes, where no two blocks share any."""
    return drawn.disjoint_bytes + drawn.scratch_bytes + drawn.kept_bytes


def slanted(title: str) -> float:
    """Pixels that a slanted title goes to the left, and down."""
    return _SLANT * LETTER * len(title)
