"""The smallest height in which blocks can be packed that must be certain distances apart. Knows only numbers.

For two blocks that may not lie anyhow there is a least distance either way: ``apart[i, j]``, how far after block i
block j may begin, and ``apart[j, i]``; one of the two must hold. It is no more than the size of the block that comes
first, at which they are disjoint, and may be negative. Two blocks without distances do not concern each other. Some
may lie at one exact distance, too, although others as small are not allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Apart = Mapping[tuple[int, int], int]

Exact = Mapping[tuple[int, int], int]
"""``exact[i, j]``: block j may also begin exactly so far after block i, or before it; the negative is at (j, i)."""

_LARGEST_TOURNAMENT = 7  # blocks: orders are tried one by one
_STATES = 6_000  # that a search looks at, all in all


@dataclass(frozen=True)
class Packing:
    """Where each block begins; `lower_bound` is what was proved of every packing."""

    offsets: Sequence[int]
    height: int
    lower_bound: int


def least_height(sizes: Sequence[int], blocks: Sequence[int], apart: Apart) -> int:
    """What no packing of some blocks can go below.

    Of any two blocks, one is far enough after the other, so that there is an order in which each is far enough after
    the one before (every tournament has a Hamiltonian path). The least height over all orders is a bound. A block that
    is disjoint from all others comes on top: without it, those above it could move down by its size.
    """
    alone = [i for i in blocks if all(_disjoint(sizes, apart, i, j) for j in blocks if j != i)]
    others = sorted(set(blocks) - set(alone), key=lambda i: (-sizes[i], i))[:_LARGEST_TOURNAMENT]
    return sum(sizes[i] for i in alone) + _least_over_orders(sizes, others, apart)


def _disjoint(sizes: Sequence[int], apart: Apart, i: int, j: int) -> bool:
    return apart.get((i, j)) == sizes[i] and apart.get((j, i)) == sizes[j]


def _least_over_orders(sizes: Sequence[int], blocks: Sequence[int], apart: Apart) -> int:
    least = sum(sizes[i] for i in blocks)

    def extend(before: int, offset: int, height: int, rest: frozenset[int]) -> None:
        nonlocal least
        if height >= least:
            return
        if not rest:
            least = height
        for block in rest:
            start = max(0, offset + apart.get((before, block), 0))
            extend(block, start, max(height, start + sizes[block]), rest - {block})

    for first in blocks:
        extend(first, 0, sizes[first], frozenset(blocks) - {first})
    return least


def relaxed(apart: Apart, exact: Exact) -> Apart:
    """Distances of which one holds in every packing, exact ones included: what bounds are derived from."""
    return {pair: min(distance, exact.get(pair, distance)) for pair, distance in apart.items()}


def pack(sizes: Sequence[int], apart: Apart, exact: Exact, bound: int, unit: int) -> Packing:
    """A low packing at multiples of `unit`, which sizes and distances are, too; `bound`: what none can go below.

    Several greedy orders are tried, each block going to the lowest offset that is free. Where none reaches the bound,
    an exhaustive search looks for a packing at the bound itself, then by bisection above it. It ends after a number of
    states, so that the result depends on nothing but the blocks; what it has refuted until then raises the bound.
    """
    near: list[dict[int, Distances]] = [{} for _ in sizes]
    for (i, j), distance in apart.items():
        near[i][j] = Distances(distance, apart[j, i], exact.get((i, j)))
    best = min((_greedy(sizes, near, order) for order in _orders(sizes, near)), key=lambda at: _height(sizes, at))
    low, high = bound, _height(sizes, best)
    target, left = bound, _STATES
    while low < high and left > 0:
        search = _Search(sizes, near, target, min(left, _STATES // 3))
        found = search.run()
        left -= search.states
        if found is not None:
            best, high = found, _height(sizes, found)
        else:
            low = target + unit
            if search.is_complete and bound < low:
                bound = low
        target = (low + high) // 2 // unit * unit
    return Packing(best, high, min(bound, high))


def _height(sizes: Sequence[int], offsets: Sequence[int]) -> int:
    return max((offset + size for offset, size in zip(offsets, sizes, strict=True)), default=0)


class Distances(NamedTuple):
    """How far after a block another may begin, how far it after that, and the exact distance, if there is one."""

    after: int
    before: int
    exact: int | None

    def allow(self, distance: int) -> bool:
        """Whether the other may begin so far after it."""
        return distance >= self.after or -distance >= self.before or distance == self.exact


_Near = Sequence[Mapping[int, Distances]]
"""For each block those that it must keep away from."""


def _orders(sizes: Sequence[int], near: _Near) -> Iterator[list[int]]:
    """Blocks come in the order of time."""
    blocks = range(len(sizes))
    yield sorted(blocks, key=lambda i: (-sizes[i], i))
    yield sorted(blocks, key=lambda i: (-sizes[i] * len(near[i]), i))
    yield sorted(blocks, key=lambda i: (-len(near[i]), -sizes[i], i))
    yield list(blocks)


def _greedy(sizes: Sequence[int], near: _Near, order: Sequence[int]) -> list[int]:
    """Each block at the lowest offset that those before it allow."""
    offsets: dict[int, int] = {}
    for block in order:
        others = [(offsets[j], distances) for j, distances in near[block].items() if j in offsets]
        starts = {0, *(at + distances.before for at, distances in others)}
        starts.update(at - distances.exact for at, distances in others if distances.exact is not None)
        offsets[block] = next(
            start
            for start in sorted(starts)
            if start >= 0 and all(distances.allow(at - start) for at, distances in others)
        )
    return [offsets[block] for block in range(len(sizes))]


class _Search:
    """Whether blocks go into a height: of each two that are too near each other, one goes above the other, or just so.

    Of every block the lowest and the highest offset are known that the decisions so far leave it. Where but one way is
    left for two blocks, it is taken. When all blocks at their lowest offsets are far enough apart, that is it.
    """

    def __init__(self, sizes: Sequence[int], near: _Near, height: int, states: int) -> None:
        self._pairs = [(i, j, near[i][j]) for i in range(len(sizes)) for j in near[i] if i < j]
        self._of: list[list[int]] = [[] for _ in sizes]
        for index, (i, j, _) in enumerate(self._pairs):
            self._of[i].append(index)
            self._of[j].append(index)
        self._first = _State([0] * len(sizes), [height - size for size in sizes], bytearray(len(self._pairs)))
        self._limit = states
        self.states = 0
        self.is_complete = True
        """Whether nothing was left out for lack of states."""

    def run(self) -> list[int] | None:
        """Offsets, or None where there are none, or none were found."""
        if min(self._first.high, default=0) < 0:
            return None
        stack = [(self._first, [*range(len(self._of))])]
        while stack:
            if self.states == self._limit:
                self.is_complete = False
                return None
            self.states += 1
            state, changed = stack.pop()
            if not self._follow(state, changed):
                continue
            pair = self._tightest(state)
            if pair is None:
                return state.low
            i, j, distances = self._pairs[pair]
            # That which leaves more room is tried first, an exact distance before all: it is the last on the stack.
            for _, choice in sorted(state.ways(i, j, distances)):
                stack.append((state.deciding(pair, choice), [i, j]))
        return None

    def _follow(self, state: _State, changed: list[int]) -> bool:
        """Narrow offsets and take the decisions that follow from what has changed; False where nothing is left."""
        decided = state.decided
        while changed:
            for pair in self._of[changed.pop()]:
                i, j, distances = self._pairs[pair]
                if not decided[pair]:
                    ways = state.ways(i, j, distances)
                    if len(ways) > 1:
                        continue
                    if not ways:
                        return False
                    decided[pair] = ways[0][1]
                if decided[pair] == _ABOVE:
                    changed += state.raise_above(i, j, distances.after)
                elif decided[pair] == _BELOW:
                    changed += state.raise_above(j, i, distances.before)
                else:
                    assert distances.exact is not None
                    changed += state.raise_above(i, j, distances.exact)
                    changed += state.raise_above(j, i, -distances.exact)
                if state.low[j] > state.high[j] or state.low[i] > state.high[i]:
                    return False
        return True

    def _tightest(self, state: _State) -> int | None:
        """Of the pairs that are too near each other at their lowest offsets, that with the least room."""
        low, high, best, least = state.low, state.high, None, 0
        for pair, (i, j, distances) in enumerate(self._pairs):
            if not state.decided[pair] and not distances.allow(low[j] - low[i]):
                room = high[j] - low[i] - distances.after + high[i] - low[j] - distances.before
                if best is None or room < least:
                    best, least = pair, room
        return best


_ABOVE, _BELOW, _EXACT = 1, 2, 3  # decisions: where the second of a pair goes


@dataclass
class _State:
    low: list[int]
    high: list[int]
    decided: bytearray

    def ways(self, i: int, j: int, distances: Distances) -> list[tuple[float, int]]:
        """Room and decision of each way in which two blocks can still lie to each other."""
        rooms: list[tuple[float, int]] = [
            (self.high[j] - self.low[i] - distances.after, _ABOVE),
            (self.high[i] - self.low[j] - distances.before, _BELOW),
        ]
        found = [(room, choice) for room, choice in rooms if room >= 0]
        exact = distances.exact
        if exact is not None and max(self.low[j], self.low[i] + exact) <= min(self.high[j], self.high[i] + exact):
            found.append((float("inf"), _EXACT))
        return found

    def raise_above(self, lower: int, upper: int, distance: int) -> list[int]:
        """Let a block begin so far after another, or more; those whose offsets this narrows."""
        narrowed = []
        if self.low[upper] < self.low[lower] + distance:
            self.low[upper] = self.low[lower] + distance
            narrowed.append(upper)
        if self.high[lower] > self.high[upper] - distance:
            self.high[lower] = self.high[upper] - distance
            narrowed.append(lower)
        return narrowed

    def deciding(self, pair: int, choice: int) -> _State:
        decided = bytearray(self.decided)
        decided[pair] = choice
        return _State(list(self.low), list(self.high), decided)
