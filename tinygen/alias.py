"""Tensors that share memory without a copy: parts and wholes, and the successive values of a state.

Kernels say which of their inputs are the same bytes as a part of their output (`Kernel.aliases`). Here it is decided
which of these wishes are granted: those that leave no two different values in one place at one time, and that do not
cost more memory than a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    life: Life
    is_state: bool
    """Whether some of it goes from one invocation to the next."""


@dataclass
class _Frames:
    """Tensors at (frame, offset). Those of one value show the same bytes wherever they overlap."""

    places: dict[str, tuple[str, int]]
    values: dict[str, str]
    granted: set[tuple[int, int]] = field(default_factory=set)

    def copy(self) -> _Frames:
        return _Frames(dict(self.places), dict(self.values), set(self.granted))

    def members(self, frame: str) -> list[str]:
        return [name for name, (held, _) in self.places.items() if held == frame]

    def join(self, moved: str, fixed: str, distance: int) -> bool:
        """Put `moved` that many bytes after `fixed`; False if they already lie otherwise."""
        (old, here), (frame, there) = self.places[moved], self.places[fixed]
        by = there + distance - here
        if old == frame:
            return by == 0
        for name in self.members(old):
            self.places[name] = (frame, self.places[name][1] + by)
        return True


def frames(graph: Graph, steps: Sequence[Step]) -> tuple[list[Frame], Mapping[int, frozenset[int]]]:
    """All tensors in frames, and for each step the inputs whose wish was granted."""
    life = lives(graph, steps)
    wishes = [
        Wish(index, operand, distance)
        for index, step in enumerate(steps)
        for operand, distance in step.kernel.aliases(step.site).items()
        if step.site.inputs[operand].data is None
    ]
    chosen = _decide(graph, steps, life, wishes)
    cost = _cost(graph, chosen, life, len(steps))
    for step in _worth_a_copy(graph, steps, chosen):
        remaining = [wish for wish in wishes if wish.step != step]
        other = _decide(graph, steps, life, remaining)
        if (found := _cost(graph, other, life, len(steps))) < cost:
            chosen, cost, wishes = other, found, remaining
    granted = {
        index: frozenset(operand for step, operand in chosen.granted if step == index) for index in range(len(steps))
    }
    return _built(graph, chosen, life), granted


_MOST_TRIALS = 64


def _worth_a_copy(graph: Graph, steps: Sequence[Step], chosen: _Frames) -> list[int]:
    """Steps whose aliasing keeps bytes alive that nobody reads, so that a copy could take less memory."""

    def is_partial(step: Step) -> bool:
        sizes = {tensor.bytes for tensor in (*step.site.inputs, *step.site.outputs)}
        return len(step.site.inputs) > 1 or len(sizes) > 1

    states = {chosen.places[state.read][0] for state in graph.states}
    found = sorted({index for index, _ in chosen.granted if is_partial(steps[index])})
    return [index for index in found if chosen.places[steps[index].node.outputs[0]][0] not in states][:_MOST_TRIALS]


def _decide(graph: Graph, steps: Sequence[Step], life: Mapping[str, Life], wishes: Sequence[Wish]) -> _Frames:
    """Grant the wishes in order, each unless it puts two values in one place."""
    current = _Frames({name: (name, 0) for name in life}, {name: name for name in life})
    for state in graph.states:
        current.join(state.written, state.read, 0)
    for wish in wishes:
        node = steps[wish.step].node
        trial = current.copy()
        operand, output = node.inputs[wish.operand], node.outputs[0]
        if not trial.join(operand, output, wish.distance):
            continue
        if not _unite(graph, trial, operand, output) or _conflicts(graph, steps, life, trial, trial.places[output][0]):
            continue
        trial.granted.add((wish.step, wish.operand))
        current = trial
    return current


def _unite(graph: Graph, current: _Frames, operand: str, output: str) -> bool:
    """Note that both show the same bytes; False if anything else of their values would overlap by that."""
    ours, theirs = current.values[operand], current.values[output]
    if ours == theirs:
        return True
    first, second = _extent(graph, current, ours), _extent(graph, current, theirs)
    shared = _common(_span(graph, current, operand), _span(graph, current, output))
    if _common(first, second) != shared:
        return False
    current.values.update((name, theirs) for name, value in current.values.items() if value == ours)
    return True


def _span(graph: Graph, current: _Frames, name: str) -> range:
    offset = current.places[name][1]
    return range(offset, offset + graph.tensors[name].bytes)


def _extent(graph: Graph, current: _Frames, value: str) -> range:
    spans = [_span(graph, current, name) for name, held in current.values.items() if held == value]
    return range(min(span.start for span in spans), max(span.stop for span in spans))


def _common(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))


def _conflicts(graph: Graph, steps: Sequence[Step], life: Mapping[str, Life], current: _Frames, frame: str) -> bool:
    """Whether two values of a frame are in one place at one time."""
    members = current.members(frame)
    return any(
        current.values[a] != current.values[b]
        and life[a].meets(life[b])
        and len(_common(_span(graph, current, a), _span(graph, current, b))) > 0
        and not _replaces(steps, life, current, a, b)
        and not _replaces(steps, life, current, b, a)
        for index, a in enumerate(members)
        for b in members[:index]
    )


def _replaces(steps: Sequence[Step], life: Mapping[str, Life], current: _Frames, old: str, new: str) -> bool:
    """Whether the step that reads `old` last may write `new` over it."""
    index = life[new].first
    if index < 0 or life[old].last != index or old not in steps[index].node.inputs:
        return False
    step, offset = steps[index], current.places[new][1] - current.places[old][1]
    written, read = step.node.outputs.index(new), step.node.inputs.index(old)
    if step.kernel.in_place.get(written) == read:
        return offset == 0
    return written == 0 and read == 0 and offset <= 0 and step.kernel.moves_down(step.site)


def _cost(graph: Graph, chosen: _Frames, life: Mapping[str, Life], count: int) -> int:
    """Bytes of states, and of what lives together at the worst step."""
    built = _built(graph, chosen, life)
    live = [0] * (count + 1)
    for frame in built:
        if not frame.is_state:
            for step in range(max(frame.life.first, 0), frame.life.last + 1):
                live[step] += frame.bytes
    return max(live) + sum(frame.bytes for frame in built if frame.is_state)


def _built(graph: Graph, chosen: _Frames, life: Mapping[str, Life]) -> list[Frame]:
    states = {chosen.places[state.read][0] for state in graph.states}
    found = []
    for frame in dict.fromkeys(held for held, _ in chosen.places.values()):
        spans = {name: _span(graph, chosen, name) for name in chosen.members(frame)}
        lowest = min(span.start for span in spans.values())
        found.append(
            Frame(
                {name: span.start - lowest for name, span in spans.items()},
                max(span.stop for span in spans.values()) - lowest,
                Life(min(life[name].first for name in spans), max(life[name].last for name in spans)),
                frame in states,
            )
        )
    return found
