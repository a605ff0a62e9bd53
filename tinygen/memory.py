"""Placing buffers with lifetimes in one arena. Knows no operator: only sizes, steps, and distances between buffers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from tinygen.access import Spacing
from tinygen.packing import ANYWHERE, EFFORT, Apart, Ranges, least_height, pack

ALIGNMENT = 4
"""Offsets are multiples of this: the widest element type that the arena holds."""

Spacings = Mapping[tuple[str, str], Spacing]
"""By the names of two parts, the one that a step reads and the one that it writes: how they may lie to each other."""


@dataclass(frozen=True)
class Part:
    """Bytes of a buffer, from `offset` on, that must stay untouched from step `first` to step `last`, both included."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Buffer:
    """Bytes that must stay untouched from step `first` to step `last`, both included."""

    name: str
    bytes: int
    first: int
    last: int
    parts: tuple[Part, ...] = ()
    """What of it must stay when; empty: all of it, all the time. What is in no part may be overwritten."""

    @cached_property
    def pieces(self) -> tuple[Part, ...]:
        """The parts, or the one that is all of it."""
        return self.parts or (Part(self.name, 0, self.bytes, self.first, self.last),)

    def is_live(self, step: int) -> bool:
        """Whether something of it must stay untouched in a step."""
        return any(part.first <= step <= part.last for part in self.pieces)

    def during(self, step: int) -> list[Buffer]:
        """The runs of bytes that must stay untouched in a step, each as a buffer of its own."""
        runs: list[list[Part]] = []
        end = 0
        for part in sorted(self.pieces, key=lambda part: part.offset):
            if part.first <= step <= part.last:
                if not runs or part.offset >= end:
                    runs.append([])
                runs[-1].append(part)
                end = max(end, part.offset + part.bytes)
        return [_run(self.name, parts, step) for parts in runs]


def _run(name: str, parts: Sequence[Part], step: int) -> Buffer:
    start = parts[0].offset
    size = max(part.offset + part.bytes for part in parts) - start
    moved = tuple(dataclasses.replace(part, offset=part.offset - start) for part in parts)
    return Buffer(name, size, step, step, moved)


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
    """Where each buffer lives, and the size of it all: a multiple of ALIGNMENT."""

    slots: tuple[Slot, ...]
    bytes: int
    lower_bound: int
    """What no plan for these buffers can go below: where it is `bytes`, the plan is proved to be the smallest."""
    peak_step: int
    """A step that needs more for its live buffers alone than any other."""


def plan_memory(buffers: Sequence[Buffer], spacings: Spacings | None = None, effort: int = EFFORT) -> MemoryPlan:
    """Offsets such that what is alive together does not overlap, or no more than the spacings allow.

    The names of all parts must differ. The plan depends on nothing but the buffers, in whatever order they come.
    `effort`: of the search for a smaller one, as `pack` has it.
    """
    ordered = sorted(buffers, key=lambda buffer: (buffer.first, -buffer.bytes, buffer.last, buffer.name))
    sizes = [aligned(buffer.bytes) for buffer in ordered]
    apart = _apart(ordered, spacings or {})
    bound, peak = _most_needed(ordered, sizes, apart)
    if not spacings:
        bound = max(bound, _most_live(buffers))
    packed = pack(sizes, apart, bound, ALIGNMENT, effort)
    slots = (Slot(buffer, offset) for buffer, offset in zip(ordered, packed.offsets, strict=True))
    in_order = tuple(sorted(slots, key=lambda slot: (slot.buffer.first, slot.offset, slot.buffer.name)))
    return MemoryPlan(in_order, packed.height, packed.lower_bound, peak)


def step_bytes(buffers: Sequence[Buffer], spacings: Spacings) -> int:
    """What no plan can go below for buffers that all live in one step: exact for up to three of them."""
    apart = _apart(buffers, spacings)
    return least_height([aligned(buffer.bytes) for buffer in buffers], range(len(buffers)), apart)


def aligned(offset: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _most_needed(buffers: Sequence[Buffer], sizes: Sequence[int], apart: Apart) -> tuple[int, int]:
    """What no plan can go below, and the step that needs it."""
    live: dict[int, list[int]] = {}
    for index, buffer in enumerate(buffers):
        for step in range(buffer.first, buffer.last + 1):
            if buffer.is_live(step):
                live.setdefault(step, []).append(index)
    most, peak = 0, 0
    total = {step: sum(sizes[index] for index in indices) for step, indices in live.items()}
    for step in sorted(live, key=lambda step: (-total[step], step)):
        if total[step] <= most:
            break
        needed = least_height(sizes, live[step], apart)
        if needed > most:
            most, peak = needed, step
    return most, peak


def _most_live(buffers: Sequence[Buffer]) -> int:
    """Of what is in use in any step."""
    live: Counter[int] = Counter()
    for buffer in buffers:
        for part in buffer.pieces:
            for step in range(part.first, part.last + 1):
                live[step] += part.bytes
    return aligned(max(live.values(), default=0))


def _apart(buffers: Sequence[Buffer], spacings: Spacings) -> Apart:
    """For each two buffers that may not lie anyhow, how far the later one of the sequence may begin after the other."""
    found: dict[tuple[int, int], Ranges] = {}
    active: list[int] = []
    for index in sorted(range(len(buffers)), key=lambda index: buffers[index].first):
        buffer = buffers[index]
        active = [other for other in active if buffers[other].last >= buffer.first]
        for other in active:
            i, j = min(other, index), max(other, index)
            taken = _taken(buffers[i], buffers[j], spacings)
            if taken:
                found[i, j] = _beside(taken)
        active.append(index)
    return found


Interval = tuple[int, int]
"""Of two distances: all between them."""


def _taken(a: Buffer, b: Buffer, spacings: Spacings) -> list[Interval]:
    """Distances of `b` from the beginning of `a` at which live parts would lie too near each other."""
    found = []
    for p in a.pieces:
        for q in b.pieces:
            if p.first <= q.last and q.first <= p.last:
                by = p.offset - q.offset
                for low, high in _too_near(p, q, spacings):
                    outside = -aligned(-low - by), aligned(high + by)
                    if outside[1] - outside[0] > ALIGNMENT:
                        found.append(outside)
    return found


def _too_near(p: Part, q: Part, spacings: Spacings) -> list[Interval]:
    """Distances of `q` from the beginning of `p`: no more than where they are not disjoint."""
    up, down, in_place = p.bytes, q.bytes, False
    if (p.name, q.name) in spacings:
        down, up, in_place = spacings[p.name, q.name]
    elif (q.name, p.name) in spacings:
        up, down, in_place = spacings[q.name, p.name]
    low, high = -min(down, q.bytes), min(up, p.bytes)
    if in_place and low < 0 < high:
        return [(low, 0), (0, high)]
    return [(low, high)] if low < high else []


def _beside(taken: Sequence[Interval]) -> Ranges:
    ranges = []
    start = -ANYWHERE
    for low, high in sorted(taken):
        if low >= start:
            ranges.append((start, low))
        start = max(start, high)
    return (*ranges, (start, ANYWHERE))


def overlapping(slots: Sequence[Slot]) -> Iterator[tuple[Slot, Slot]]:
    """Slots that share bytes and steps."""
    for a, b in combinations(slots, 2):
        if (
            a.offset < b.end
            and b.offset < a.end
            and a.buffer.first <= b.buffer.last
            and b.buffer.first <= a.buffer.last
        ):
            yield a, b
