"""The smallest height in which blocks can be packed that may not lie anyhow to each other. Knows only numbers.

For two blocks there are ranges of distances, how far after the first one the second may begin: some below (negative),
some above, maybe some between. Where they are disjoint, they may always lie so. Two blocks without ranges do not
concern each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

ANYWHERE = 2**60
"""The end of a range that has none."""

Ranges = tuple[tuple[int, int], ...]
"""Ascending; both ends are included."""

Apart = Mapping[tuple[int, int], Ranges]
"""For blocks i and j, i < j: how far after i block j may begin."""

_LARGEST_TOURNAMENT = 7  # blocks: orders are tried one by one
EFFORT = 2_000_000
"""Of all searches: for each state that they look at, a hundred, and one for each pair of blocks."""


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
    alone = [i for i in blocks if all(_are_disjoint(sizes, apart, i, j) for j in blocks if j != i)]
    others = sorted(set(blocks) - set(alone), key=lambda i: (-sizes[i], i))[:_LARGEST_TOURNAMENT]
    after = {pair: distance for i, j in combinations(sorted(others), 2) for pair, distance in _after(apart, i, j)}
    distances = tuple(tuple(after.get((i, j), 0) for j in others) for i in others)
    return sum(sizes[i] for i in alone) + _least_over_orders(tuple(sizes[i] for i in others), distances)


def _are_disjoint(sizes: Sequence[int], apart: Apart, i: int, j: int) -> bool:
    first, second = min(i, j), max(i, j)
    ranges = apart.get((first, second), ())
    return ranges == ((-ANYWHERE, -sizes[second]), (sizes[first], ANYWHERE))


def _after(apart: Apart, i: int, j: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Two distances of which one holds: that of j after i, or that of i after j. At the widest gap they are largest."""
    up = down = 0
    if (i, j) in apart:
        (_, low), (high, _) = max(pairwise(apart[i, j]), key=lambda ranges: ranges[1][0] - ranges[0][1])
        up, down = high, -low
    yield (i, j), up
    yield (j, i), down


@lru_cache(maxsize=1 << 14)
def _least_over_orders(sizes: tuple[int, ...], after: tuple[tuple[int, ...], ...]) -> int:
    """Of a few blocks, each `after[i][j]` or more after the one before: the same ones come again and again.

    What begins as low and is as low as another beginning with the same blocks, the same one last, stands for that.
    """
    least = sum(sizes)
    seen: dict[tuple[int, frozenset[int]], list[tuple[int, int]]] = {}

    def extend(before: int, offset: int, height: int, rest: frozenset[int]) -> None:
        nonlocal least
        if height >= least:
            return
        if not rest:
            least = height
            return
        others = seen.setdefault((before, rest), [])
        if any(low <= offset and top <= height for low, top in others):
            return
        others.append((offset, height))
        for block in rest:
            start = max(0, offset + after[before][block])
            extend(block, start, max(height, start + sizes[block]), rest - {block})

    for first, size in enumerate(sizes):
        extend(first, 0, size, frozenset(range(len(sizes))) - {first})
    return least


def pack(sizes: Sequence[int], apart: Apart, bound: int, unit: int, effort: int = EFFORT) -> Packing:
    """A low packing at multiples of `unit`, which sizes and distances are, too; `bound`: what none can go below.

    Several greedy orders are tried, each block going to the lowest offset that is free. Where none reaches the bound,
    an exhaustive search looks for a packing at the bound itself, then by bisection above it. It ends after a certain
    effort, of which `share` can be had, so that the result depends on nothing but the blocks; what it has refuted until
    then raises the bound.
    """
    gaps = _gaps(len(sizes), apart)
    best = min((_greedy(gaps, order) for order in _orders(sizes, gaps)), key=lambda at: _height(sizes, at))
    low, high = bound, _height(sizes, best)
    states = left = effort // (100 + len(apart))
    target = bound
    while low < high and left > 0:
        search = _Search(sizes, apart, target, min(left, states // 3))
        found = search.run()
        left -= search.states
        if found is not None:
            best, high = found, _height(sizes, found)
        else:
            low = target + unit
            if search.is_complete:
                bound = max(bound, low)
        target = (low + high) // 2 // unit * unit
    return Packing(best, high, min(bound, high))


def _height(sizes: Sequence[int], offsets: Sequence[int]) -> int:
    return max((offset + size for offset, size in zip(offsets, sizes, strict=True)), default=0)


_Gaps = Sequence[Mapping[int, Sequence[tuple[int, int]]]]
"""For each block those that concern it: the distances between which it must not begin after their beginning."""


def _gaps(count: int, apart: Apart) -> _Gaps:
    found: list[dict[int, Sequence[tuple[int, int]]]] = [{} for _ in range(count)]
    for (i, j), ranges in apart.items():
        between = [(below, above) for (_, below), (above, _) in pairwise(ranges)]
        found[j][i] = between
        found[i][j] = [(-above, -below) for below, above in between]
    return found


def _orders(sizes: Sequence[int], gaps: _Gaps) -> Iterator[list[int]]:
    """Blocks come in the order of time."""
    blocks = range(len(sizes))
    yield sorted(blocks, key=lambda i: (-sizes[i], i))
    yield sorted(blocks, key=lambda i: (-sizes[i] * len(gaps[i]), i))
    yield sorted(blocks, key=lambda i: (-len(gaps[i]), -sizes[i], i))
    yield list(blocks)


def _greedy(gaps: _Gaps, order: Sequence[int]) -> list[int]:
    offsets: dict[int, int] = {}
    for block in order:
        offset = 0
        taken = (
            (offsets[j] + low, offsets[j] + high) for j in gaps[block] if j in offsets for low, high in gaps[block][j]
        )
        for below, above in sorted(taken):
            if below < offset < above:
                offset = above
        offsets[block] = offset
    return [offsets[block] for block in range(len(order))]


class _Search:
    """Whether blocks go into a height: for each two that are too near each other, it tries one range after the other.

    Of every block the lowest and the highest offset are known that the decisions so far leave it. Where they leave one
    range to two blocks, it is theirs. When all blocks at their lowest offsets are as they may be, that is it.
    """

    def __init__(self, sizes: Sequence[int], apart: Apart, height: int, states: int) -> None:
        self._pairs = [(i, j, ranges) for (i, j), ranges in apart.items()]
        self._taken = [sum(b[0] - a[1] for a, b in pairwise(ranges)) for ranges in apart.values()]
        self._failed = [0] * len(self._pairs)
        """How often it was found that there is no range for each pair."""
        self._of: list[list[int]] = [[] for _ in sizes]
        for index, (i, j, _) in enumerate(self._pairs):
            self._of[i].append(index)
            self._of[j].append(index)
        self._first = _State([0] * len(sizes), [height - size for size in sizes], [None] * len(self._pairs))
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
            i, j, ranges = self._pairs[pair]
            # That which leaves more room is tried first: it is the last on the stack.
            nearest, farthest = state.low[j] - state.high[i], state.high[j] - state.low[i]
            for chosen in sorted(ranges, key=lambda r: min(r[1], farthest) - max(r[0], nearest)):
                stack.append((state.deciding(pair, chosen), [i, j]))
        return None

    def _follow(self, state: _State, changed: list[int]) -> bool:
        """Narrow offsets and take the decisions that follow from what has changed; False where nothing is left."""
        low, high, decided = state.low, state.high, state.decided
        while changed:
            for pair in self._of[changed.pop()]:
                i, j, ranges = self._pairs[pair]
                chosen = decided[pair]
                if chosen is None:
                    nearest, farthest = low[j] - high[i], high[j] - low[i]
                    possible = [each for each in ranges if each[0] <= farthest and each[1] >= nearest]
                    if len(possible) > 1:
                        continue
                    decided[pair] = chosen = possible[0] if possible else ranges[0]
                least, most = chosen
                for block, lowest, highest in (
                    (j, low[i] + least, high[i] + most),
                    (i, low[j] - most, high[j] - least),
                ):
                    if low[block] < lowest or high[block] > highest:
                        low[block], high[block] = max(low[block], lowest), min(high[block], highest)
                        changed.append(block)
                        if low[block] > high[block]:
                            self._failed[pair] += 1
                            return False
        return True

    def _tightest(self, state: _State) -> int | None:
        """A pair that is too near each other at their lowest offsets: with little room, and often in the way so far."""
        low, high, best, least = state.low, state.high, None, 0.0
        for pair, (i, j, ranges) in enumerate(self._pairs):
            distance = low[j] - low[i]
            if state.decided[pair] is None and ranges[0][1] < distance < ranges[-1][0]:
                if any(first <= distance <= last for first, last in ranges):
                    continue
                room = (high[j] - low[j] + high[i] - low[i] - self._taken[pair] + 1) / (1 + self._failed[pair])
                if best is None or room < least:
                    best, least = pair, room
        return best


@dataclass
class _State:
    low: list[int]
    high: list[int]
    decided: list[tuple[int, int] | None]

    def deciding(self, pair: int, chosen: tuple[int, int]) -> _State:
        decided = list(self.decided)
        decided[pair] = chosen
        return _State(list(self.low), list(self.high), decided)
