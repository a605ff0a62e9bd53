"""Tensors that share memory without a copy: parts and wholes, and the successive values of a state.

Kernels say which of their inputs are the same bytes as a part of their output (`Kernel.aliases`). Here it is decided
which of these wishes are granted: those that leave no two different values in one place at one time, and that do not
cost more memory than a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tinygen.ir import Graph
from tinygen.select import Step


class Life(NamedTuple):
    """Steps between which a tensor's bytes must stay: written in `first` (-1: before all), last read in `last`."""

    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Whether there is a step in which both live."""
        return self.first <= other.last and other.first <= self.last


def lives(graph: Graph, steps: Sequence[Step]) -> Mapping[str, Life]:
    """The life of every tensor that is no constant. What outlives the invocation is read in step ``len(steps)``."""
    first = dict.fromkeys((*graph.inputs, *(state.read for state in graph.states)), -1)
    last = dict(first)
    for index, step in enumerate(steps):
        last.update(dict.fromkeys((name for name in step.node.inputs if graph.tensors[name].data is None), index))
        first.update(dict.fromkeys(step.node.outputs, index))
        last.update(dict.fromkeys(step.node.outputs, index))
    last.update(dict.fromkeys((*graph.outputs, *(state.written for state in graph.states)), len(steps)))
    return {name: Life(first[name], last[name]) for name in first}


class Wish(NamedTuple):
    """An input of a step that could lie `distance` bytes after the beginning of the step's output."""

    step: int
    operand: int
    distance: int


@dataclass(frozen=True)
class Frame:
    """Tensors at fixed distances from each other: offset of each, from the lowest."""

    offsets: Mapping[str, int]
    bytes: int
    lives: Mapping[str, Life]
    """Of each tensor."""
    is_state: bool
    """Whether some of it goes from one invocation to the next."""
    outside: str = ""
    """The input or output that all of it lies in, in memory of the application."""

    @property
    def life(self) -> Life:
        """From the first write to the last read of any of them."""
        return Life(min(life.first for life in self.lives.values()), max(life.last for life in self.lives.values()))


class _Frames:
    """Tensors in frames, at offsets; those of one value show the same bytes wherever they overlap."""

    def __init__(self, graph: Graph, steps: Sequence[Step], life: Mapping[str, Life]) -> None:
        self._graph = graph
        self._steps = steps
        self._life = life
        self._offset = dict.fromkeys(life, 0)
        self._frame = {name: [name] for name in life}
        """The members of each tensor's frame; one list for all of them."""
        self._value = {name: [name] for name in life}
        """The tensors that show the same bytes as each tensor; one list for all of them."""
        self.granted: set[tuple[int, int]] = set()
        for state in graph.states:
            self._move(state.written, state.read, 0)

    def grant(self, wish: Wish) -> None:
        """Let an input lie where its step's output wants it, unless that puts two values in one place at one time."""
        node = self._steps[wish.step].node
        operand, output = node.inputs[wish.operand], node.outputs[0]
        by = self._offset[output] + wish.distance - self._offset[operand]
        if self._frame[operand] is self._frame[output]:
            possible = by == 0 and self._value[operand] is self._value[output]
        else:
            possible = (
                self._overlap_is_shared(operand, output, by)
                and not self._conflicts(operand, output, by)
                and self._keeps_outside(operand, output, by)
            )
        if not possible:
            return
        self.granted.add((wish.step, wish.operand))
        if self._frame[operand] is not self._frame[output]:
            self._move(operand, output, wish.distance)
        if self._value[operand] is not self._value[output]:
            self._value[output] += self._value[operand]
            for name in self._value[operand]:
                self._value[name] = self._value[output]

    def built(self) -> list[Frame]:
        """All frames, in the order of the tensors that were there first."""
        states = {id(self._frame[state.read]) for state in self._graph.states}
        return [self._built(members, id(members) in states) for members in self._distinct()]

    def holds_state(self, name: str) -> bool:
        """Whether something in a tensor's frame goes from one invocation to the next."""
        return any(self._frame[state.read] is self._frame[name] for state in self._graph.states)

    def life(self, name: str) -> Life:
        """From the first write to the last read of anything in a tensor's frame."""
        lives = [self._life[member] for member in self._frame[name]]
        return Life(min(life.first for life in lives), max(life.last for life in lives))

    def _distinct(self) -> list[list[str]]:
        return list({id(members): members for members in self._frame.values()}.values())

    def _built(self, members: Sequence[str], is_state: bool) -> Frame:
        spans = {name: self._span(name) for name in members}
        lowest = min(span.start for span in spans.values())
        return Frame(
            {name: span.start - lowest for name, span in spans.items()},
            max(span.stop for span in spans.values()) - lowest,
            {name: self._life[name] for name in members},
            is_state,
            next((name for name in members if name in self._graph.outside), ""),
        )

    def _move(self, moved: str, fixed: str, distance: int) -> None:
        by = self._offset[fixed] + distance - self._offset[moved]
        members, target = self._frame[moved], self._frame[fixed]
        for name in members:
            self._offset[name] += by
            self._frame[name] = target
        target += members

    def _span(self, name: str, by: int = 0) -> range:
        start = self._offset[name] + by
        return range(start, start + self._graph.tensors[name].bytes)

    def _extent(self, name: str, by: int = 0) -> range:
        spans = [self._span(member, by) for member in self._value[name]]
        return range(min(span.start for span in spans), max(span.stop for span in spans))

    def _overlap_is_shared(self, operand: str, output: str, by: int) -> bool:
        """Whether of the two values no more would overlap than what is the same in both."""
        shared = _common(self._span(operand, by), self._span(output))
        return _common(self._extent(operand, by), self._extent(output)) == shared

    def _conflicts(self, operand: str, output: str, by: int) -> bool:
        """Whether different values of the two frames would be in one place at one time."""
        same = {*self._value[operand], *self._value[output]}
        return any(
            not (moved in same and fixed in same)
            and self._life[moved].meets(self._life[fixed])
            and len(_common(self._span(moved, by), self._span(fixed))) > 0
            and not self._replaces(moved, fixed, self._offset[fixed] - self._offset[moved] - by)
            and not self._replaces(fixed, moved, self._offset[moved] + by - self._offset[fixed])
            for moved in self._frame[operand]
            for fixed in self._frame[output]
        )

    def _keeps_outside(self, operand: str, output: str, by: int) -> bool:
        """Whether, of two frames, an input or output of the application's is all of the memory that is taken.

        Nothing is written to an input, so that what lies there only shows a part of it.
        """
        moved, fixed = self._frame[operand], self._frame[output]
        outside = [name for name in (*moved, *fixed) if name in self._graph.outside]
        if not outside:
            return True
        if len(outside) > 1 or self.holds_state(operand) or self.holds_state(output):
            return False
        (host,) = outside
        if host in self._graph.inputs and (host in fixed or len(fixed) > 1):
            return False
        memory = self._span(host, by if host in moved else 0)
        spans = [*(self._span(name, by) for name in moved), *(self._span(name) for name in fixed)]
        return all(memory.start <= span.start and span.stop <= memory.stop for span in spans)

    def _replaces(self, old: str, new: str, distance: int) -> bool:
        """Whether the step that reads `old` last may write `new` over it, `distance` bytes further."""
        index = self._life[new].first
        if index < 0 or self._life[old].last != index or old not in self._steps[index].node.inputs:
            return False
        step = self._steps[index]
        written, read = step.node.outputs.index(new), step.node.inputs.index(old)
        if step.kernel.in_place.get(written) == read:
            return distance == 0
        return written == 0 and read == 0 and distance <= 0 and step.kernel.moves_down(step.site)


def _common(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))


def frames(graph: Graph, steps: Sequence[Step]) -> tuple[list[Frame], Mapping[int, frozenset[int]]]:
    """All tensors in frames, and for each step the inputs whose wish was granted."""
    life = lives(graph, steps)
    wishes = [
        Wish(index, operand, distance)
        for index, step in enumerate(steps)
        for operand, distance in step.kernel.aliases(step.site).items()
        if step.site.inputs[operand].data is None
    ]

    def granted(wanted: Iterable[Wish]) -> _Frames:
        found = _Frames(graph, steps, life)
        for wish in wanted:
            found.grant(wish)
        return found

    chosen = granted(wishes)
    cost = _live_bytes(chosen, len(steps))
    for step in _worth_a_copy(steps, chosen, cost):
        remaining = [wish for wish in wishes if wish.step != step]
        other = granted(remaining)
        if max(found := _live_bytes(other, len(steps))) < max(cost):
            chosen, cost, wishes = other, found, remaining
    built = chosen.built()
    aliased: dict[int, set[int]] = {index: set() for index in range(len(steps))}
    for step, operand in chosen.granted:
        aliased[step].add(operand)
    return built, {index: frozenset(operands) for index, operands in aliased.items()}


def _live_bytes(chosen: _Frames, count: int) -> list[int]:
    """Bytes of the library that are needed at each step, states included."""
    live = [0] * (count + 1)
    for frame in (frame for frame in chosen.built() if not frame.outside):
        first, last = (0, count) if frame.is_state else (max(frame.life.first, 0), max(frame.life.last, 0))
        for step in range(first, last + 1):
            live[step] += frame.bytes
    return live


_MOST_TRIALS = 64


def _worth_a_copy(steps: Sequence[Step], chosen: _Frames, live: Sequence[int]) -> list[int]:
    """Steps without which less could be alive at the peak: parts and wholes, which keep each other alive there."""
    peak = live.index(max(live))

    def is_worth_it(index: int) -> bool:
        site, output = steps[index].site, steps[index].node.outputs[0]
        sizes = {tensor.bytes for tensor in (*site.inputs, *site.outputs)}
        is_partial = len(site.inputs) > 1 or len(sizes) > 1
        return is_partial and chosen.life(output).meets(Life(peak, peak)) and not chosen.holds_state(output)

    return [index for index in sorted({index for index, _ in chosen.granted}) if is_worth_it(index)][:_MOST_TRIALS]
