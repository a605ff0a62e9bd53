"""Placing buffers with lifetimes in one arena. Knows no operator: only sizes and steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

ALIGNMENT = 4
"""Offsets are multiples of this: the widest element type that the arena holds."""


@dataclass(frozen=True)
class Buffer:
    """Bytes that must stay untouched from step `first` to step `last`, both included."""

    name: str
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Slot:
    """A buffer and its offset in the arena."""

    buffer: Buffer
    offset: int

    @property
    def end(self) -> int:
        """First byte after the buffer."""
        return self.offset + self.buffer.bytes


@dataclass(frozen=True)
class MemoryPlan:
    """Where each buffer lives; `lower_bound` is what no plan can go below where live buffers do not overlap."""

    slots: tuple[Slot, ...]
    bytes: int
    lower_bound: int
    peak_step: int
    """The step with the most live bytes."""


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Offsets such that buffers that are alive together do not overlap.

    Several greedy orders are tried, each buffer going to the lowest offset that is free over its lifetime. Where none
    reaches the lower bound, a depth-first search tries to: at the bound itself, then by bisection above it. The search
    is cut off after a fixed number of placements, so that the plan depends on nothing but the buffers.
    """
    live = _live_bytes(buffers)
    bound = max(live, default=0)
    best = min((_place(order) for order in _orders(buffers)), key=_height, default=())
    low, high = bound, _height(best)
    height = bound
    while low < high:
        found = _search(buffers, height)
        if found is None:
            low = height + ALIGNMENT
        else:
            best, high = found, _height(found)
        height = (low + high) // 2
    slots = tuple(sorted(best or (), key=lambda slot: (slot.buffer.first, slot.offset, slot.buffer.name)))
    return MemoryPlan(slots, aligned(_height(slots)), bound, live.index(bound) if live else 0)


def _live_bytes(buffers: Sequence[Buffer]) -> list[int]:
    """What no plan can go below, for each step: offsets are aligned, so all but the topmost buffer are rounded up."""
    steps = max((buffer.last for buffer in buffers), default=-1) + 1
    live = [[b.bytes for b in buffers if b.first <= step <= b.last] for step in range(steps)]
    return [sum(map(aligned, sizes)) - max((aligned(size) - size for size in sizes), default=0) for sizes in live]


def _orders(buffers: Sequence[Buffer]) -> Iterable[list[Buffer]]:
    keys: tuple[Callable[[Buffer], tuple[int, int, str]], ...] = (
        lambda b: (-b.bytes, b.first, b.name),
        lambda b: (-b.bytes * (b.last - b.first + 1), b.first, b.name),
        lambda b: (b.first - b.last, -b.bytes, b.name),
        lambda b: (b.first, -b.bytes, b.name),
    )
    return (sorted(buffers, key=key) for key in keys)


_PLACEMENTS = 4_000
_LARGEST_SEARCH = 400  # buffers: the search is as deep as there are


def _search(buffers: Sequence[Buffer], height: int) -> tuple[Slot, ...] | None:
    """A plan of at most `height`, or None when the search ends without one."""
    if len(buffers) > _LARGEST_SEARCH:
        return None
    by_time = sorted(buffers, key=lambda b: (b.first, -b.bytes, b.last, b.name))
    by_size = sorted(buffers, key=lambda b: (-b.bytes, b.first, b.last, b.name))
    for order in (by_time, by_size):
        placed: list[Slot] = []
        if _descend(order, height, placed, [_PLACEMENTS]):
            return tuple(placed)
    return None


def _descend(order: Sequence[Buffer], height: int, placed: list[Slot], budget: list[int]) -> bool:
    """Place the rest of `order` on top of what is placed, at either end of any free gap; False when it cannot be."""
    if len(placed) == len(order):
        return True
    buffer = order[len(placed)]
    for offset in _candidates(buffer, placed, height):
        if budget[0] == 0:
            return False
        budget[0] -= 1
        placed.append(Slot(buffer, offset))
        if _descend(order, height, placed, budget):
            return True
        placed.pop()
    return False


def _candidates(buffer: Buffer, placed: Iterable[Slot], height: int) -> list[int]:
    offsets: dict[int, None] = {}
    start = 0
    ends = sorted((slot.offset, slot.end) for slot in _overlapping(placed, buffer))
    for gap_end, next_start in [*ends, (height, height)]:
        highest = (gap_end - buffer.bytes) // ALIGNMENT * ALIGNMENT
        if start <= highest:
            offsets[start] = None
            offsets[highest] = None
        start = max(start, aligned(next_start))
    return list(offsets)


def aligned(offset: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _place(order: Sequence[Buffer]) -> tuple[Slot, ...]:
    placed: list[Slot] = []
    for buffer in order:
        offset = 0
        for other in sorted(_overlapping(placed, buffer), key=lambda slot: slot.offset):
            if offset + buffer.bytes <= other.offset:
                break
            offset = max(offset, aligned(other.end))
        placed.append(Slot(buffer, offset))
    return tuple(placed)


def _overlapping(placed: Iterable[Slot], buffer: Buffer) -> Iterable[Slot]:
    return (slot for slot in placed if slot.buffer.first <= buffer.last and buffer.first <= slot.buffer.last)


def _height(slots: Iterable[Slot]) -> int:
    return max((slot.end for slot in slots), default=0)
