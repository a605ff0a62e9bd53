"""The choice between two ways for each of some nodes, where what it costs depends on pairs: a minimum cut."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable

Vertex = Hashable
FIRST: Vertex = ("first",)
SECOND: Vertex = ("second",)
"""What is fixed to the first way, or to the second."""
_ENDLESS = 1 << 62
"""More than all costs together, which are bytes of memory."""


class Cut:
    """Vertices that each go the first way or the second, and what it costs where some do."""

    def __init__(self) -> None:
        self._room: dict[Vertex, dict[Vertex, int]] = defaultdict(lambda: defaultdict(int))
        self._joints = 0

    def costs(self, first: Vertex, seconds: Iterable[Vertex], cost: int) -> None:
        """`cost`, once, where `first` goes the first way and any of `seconds` the second."""
        self._spread(first, seconds, cost, forward=True)

    def costs_back(self, second: Vertex, firsts: Iterable[Vertex], cost: int) -> None:
        """`cost`, once, where `second` goes the second way and any of `firsts` the first."""
        self._spread(second, firsts, cost, forward=False)

    def _spread(self, one: Vertex, others: Iterable[Vertex], cost: int, *, forward: bool) -> None:
        joint = ("joint", self._joints)
        self._joints += 1
        self._connect(one, joint, cost, forward=forward)
        for other in others:
            self._connect(joint, other, _ENDLESS, forward=forward)

    def _connect(self, a: Vertex, b: Vertex, room: int, *, forward: bool) -> None:
        source, target = (a, b) if forward else (b, a)
        self._room[source][target] += room
        self._room[target][source] += 0

    def seconds(self) -> set[Vertex]:
        """The vertices that go the second way where all costs together are least; the fewest of them.

        Augmenting paths of the fewest edges (Edmonds and Karp).
        """
        room = {a: dict(to) for a, to in self._room.items()}
        while path := _path(room, FIRST, SECOND):
            flow = min(room[a][b] for a, b in path)
            for a, b in path:
                room[a][b] -= flow
                room[b][a] += flow
        found = {SECOND}
        queue = deque(found)
        while queue:
            b = queue.popleft()
            for a in room.get(b, ()):
                if a not in found and room[a][b] > 0:
                    found.add(a)
                    queue.append(a)
        return found


def _path(room: dict[Vertex, dict[Vertex, int]], start: Vertex, end: Vertex) -> list[tuple[Vertex, Vertex]]:
    """The edges of a shortest path with room, empty if there is none."""
    before: dict[Vertex, Vertex] = {start: start}
    queue = deque([start])
    while queue and end not in before:
        a = queue.popleft()
        for b, left in room.get(a, {}).items():
            if left > 0 and b not in before:
                before[b] = a
                queue.append(b)
    if end not in before:
        return []
    path = []
    while end != start:
        path.append((before[end], end))
        end = before[end]
    return path[::-1]
