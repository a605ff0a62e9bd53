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
    """Where each buffer lives; `lower_bound` is what no plan with disjoint live buffers can go below."""

    slots: tuple[Slot, ...]
    bytes: int
    lower_bound: int
    peak_step: int
    """The step with the most live bytes."""


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Offsets such that buffers that are alive together do not overlap.

    Several greedy orders are tried, each buffer going to the lowest offset that is free over its lifetime, and then
    improved by moving the buffers that end highest to the front of the order. It stops at the lower bound.
    """
    live = _live_bytes(buffers)
    bound = max(live, default=0)
    best: tuple[Slot, ...] | None = None
    for order in _orders(buffers):
        best = _better(best, _improve(order, bound))
        if _height(best) <= bound:
            break
    slots = tuple(sorted(best or (), key=lambda slot: (slot.buffer.first, slot.offset, slot.buffer.name)))
    height = -(-_height(slots) // ALIGNMENT) * ALIGNMENT
    return MemoryPlan(slots, height, bound, live.index(bound) if live else 0)


def _live_bytes(buffers: Sequence[Buffer]) -> list[int]:
    steps = max((buffer.last for buffer in buffers), default=-1) + 1
    return [sum(b.bytes for b in buffers if b.first <= step <= b.last) for step in range(steps)]


def _orders(buffers: Sequence[Buffer]) -> Iterable[list[Buffer]]:
    keys: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
        lambda b: (-b.bytes, b.first),
        lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
        lambda b: (b.first - b.last, -b.bytes),
        lambda b: (b.first, -b.bytes),
    )
    for key in keys:
        yield sorted(buffers, key=lambda b, key=key: (*key(b), b.name))  # type: ignore[misc]


_IMPROVEMENTS = 50


def _improve(order: list[Buffer], bound: int) -> tuple[Slot, ...]:
    best = _place(order)
    for _ in range(_IMPROVEMENTS):
        if _height(best) <= bound:
            break
        top = max(best, key=lambda slot: (slot.end, slot.buffer.name)).buffer
        if order[0] is top:
            break
        order = [top, *(buffer for buffer in order if buffer is not top)]
        best = _better(best, _place(order))
    return best


def _place(order: Sequence[Buffer]) -> tuple[Slot, ...]:
    placed: list[Slot] = []
    for buffer in order:
        offset = 0
        for other in sorted(_overlapping(placed, buffer), key=lambda slot: slot.offset):
            if offset + buffer.bytes <= other.offset:
                break
            offset = max(offset, -(-other.end // ALIGNMENT) * ALIGNMENT)
        placed.append(Slot(buffer, offset))
    return tuple(placed)


def _overlapping(placed: Iterable[Slot], buffer: Buffer) -> Iterable[Slot]:
    return (slot for slot in placed if slot.buffer.first <= buffer.last and buffer.first <= slot.buffer.last)


def _height(slots: Iterable[Slot]) -> int:
    return max((slot.end for slot in slots), default=0)


def _better(best: tuple[Slot, ...] | None, other: tuple[Slot, ...]) -> tuple[Slot, ...]:
    return other if best is None or _height(other) < _height(best) else best
