"""The order in which the rows of several stages are computed, and the line buffers between them.

Rows are asked for from the end: a stage computes its next rows when another one needs them, so that few rows are
between two stages at any time. Only early stages compute theirs as soon as they can: where several stages read the same
rows, these need not wait for all of them then. A line buffer holds the rows that are still needed, one after the other;
before new ones would pass its end, those move down to its beginning. Rows outside the image are written into it like
others.

All of that is known beforehand: here it is simulated, and what happens is written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple


@dataclass(frozen=True)
class Stage:
    """What computes rows of `output`, some in each call, from rows of `inputs`, which other stages or nobody write."""

    inputs: tuple[str, ...]
    output: str
    calls: int
    rows: int
    """Of the output, that each call writes."""
    taps: int
    """Rows of each input that a call reads."""
    step: int
    """Rows of the inputs from one call to the next."""
    before: int
    """Rows of padding that the first call reads."""
    accumulates: bool = False
    """Whether all calls add to the same rows, which are there after the last."""
    place: str = ""
    """The output of another stage, in whose next rows this output lies: it is read as they are written."""
    early: bool = False
    """Whether it is called as soon as its inputs' rows are there, not when its output's are asked for.

    All its inputs have line buffers then, and its `place`, if any, has none.
    """

    def first(self, call: int) -> int:
        """The first row of the inputs that a call reads."""
        return call * self.step - self.before


class Kind(Enum):
    """What an event is."""

    RUN = "run"
    PAD = "pad"
    MOVE = "move"


@dataclass(frozen=True)
class Event:
    """Something that happens: a stage's call, rows of padding, or a line buffer's rows that move down.

    Of a call, `rows` are where in each input, and then in the output, its rows begin: rows of the line buffer, or of
    the whole tensor. Of padding, they are its first row in the buffer and the number of rows; of a move, the row from
    which rows go to row 0, and their number. Padding is also what rows begin with that are added to.
    """

    kind: Kind
    stage: int
    """The stage that is called, or that writes into the line buffer."""
    rows: tuple[int, ...]


class Use(NamedTuple):
    """Rows `start` to before `stop` of a line buffer, in use while any of the stages `first` to `last` is called.

    To a stage's calls belong the padding and the moves in the line buffer that it writes.
    """

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Line:
    """A line buffer: so many rows, and when which of them are in use."""

    rows: int
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Schedule:
    """All events in order, and the line buffers by the tensor whose rows they hold."""

    events: tuple[Event, ...]
    lines: Mapping[str, Line]


_ENDLESS = 1 << 30


@dataclass
class _Buffer:
    """The rows of a tensor that are there; its height does not count padding."""

    height: int
    capacity: int
    next: int
    """The row that is written next: negative, or from the height on, padding."""
    bottom: int
    """The row at the buffer's beginning."""
    most: int = 0
    """Rows that were there at once."""
    written: dict[int, int] = field(default_factory=dict)
    """For each row the first event that wrote to it, and below the last one that read it."""
    read: dict[int, int] = field(default_factory=dict)
    bottoms: dict[int, int] = field(default_factory=dict)
    """What `bottom` is from the event of this number on."""


class _Simulation:
    """The stages at work; lines without a capacity have room for all."""

    def __init__(self, stages: Sequence[Stage], capacities: Mapping[str, int]) -> None:
        self._stages = stages
        self._producer = {stage.output: index for index, stage in enumerate(stages)}
        self._calls = [0] * len(stages)
        self._begun: dict[int, int] = {}
        """For each stage that accumulates the event with which its rows became zero."""
        self.events: list[Event] = []
        self.buffers: dict[str, _Buffer] = {}
        for stage in stages[:-1]:
            if not stage.place:
                above = max((s.before for s in stages if stage.output in s.inputs), default=0)
                capacity = capacities.get(stage.output, _ENDLESS)
                self.buffers[stage.output] = _Buffer(_height(stage), capacity, -above, -above, bottoms={0: -above})

    def run(self) -> None:
        """All calls of the last stage, and what they need."""
        last = len(self._stages) - 1
        for _ in range(self._stages[last].calls):
            self._call(last)

    def _call(self, index: int, place: int = 0) -> int:
        """The next call of a stage, and before it what it reads; `place`: the rows that its output lies in.

        Returns the event in which the first of these is written.
        """
        stage = self._stages[index]
        call = self._calls[index]
        buffer = self.buffers.get(stage.output)
        if buffer is not None:
            self._make_room(index, buffer, stage.rows)
            if stage.accumulates and call == 0:
                self._begun[index] = len(self.events)
                self.events.append(Event(Kind.PAD, index, (buffer.next - buffer.bottom, stage.rows)))
            row = buffer.next - buffer.bottom
        else:
            row = place if stage.place and not stage.early else call * stage.rows
        first = stage.first(call)
        for name in stage.inputs:
            if name in self.buffers:
                self._provide(name, first + stage.taps)
        begun = None
        for name in stage.inputs:
            if name in self._producer and name not in self.buffers:
                begun = self._place(self._producer[name], row, call)
        # Only now: to provide one input may move the rows of another.
        starts = [self._start(name, first, row) for name in stage.inputs]
        now = len(self.events)
        self.events.append(Event(Kind.RUN, index, (*starts, row)))
        self._calls[index] += 1
        for name in stage.inputs:
            if name in self.buffers:
                self.buffers[name].read.update(dict.fromkeys(range(first, first + stage.taps), now))
        if buffer is not None and not (stage.accumulates and call + 1 < stage.calls):
            self._wrote(buffer, stage.rows, self._begun.get(index, now if begun is None else begun), now)
        return now if begun is None else begun

    def _place(self, index: int, row: int, call: int) -> int | None:
        """The next rows of a stage that lie in others; returns the event in which they are written, if not before."""
        if not self._stages[index].early:
            return self._call(index, row)
        while self._calls[index] <= call:
            self._bring_about(index)
        return None

    def _bring_about(self, index: int) -> None:
        """The next call of an early stage."""
        stage = self._stages[index]
        for name in stage.inputs:
            self._provide(name, stage.first(self._calls[index]) + stage.taps)

    def _call_early(self) -> None:
        """The early stages that now can be called."""
        for index, stage in enumerate(self._stages):
            while stage.early and self._is_ready(index):
                if stage.output in self.buffers and self.buffers[stage.output].next < 0:
                    self._provide(stage.output, 0)
                else:
                    self._call(index)

    def _is_ready(self, index: int) -> bool:
        stage, call = self._stages[index], self._calls[index]
        there = (self.buffers[name].next >= stage.first(call) + stage.taps for name in stage.inputs)
        return call < stage.calls and all(there)

    def _start(self, name: str, first: int, row: int) -> int:
        """Where rows from `first` on begin, of a stage that writes to `row`."""
        if name in self.buffers:
            return first - self.buffers[name].bottom
        return row if name in self._producer else first

    def _provide(self, name: str, stop: int) -> None:
        """Rows up to `stop`."""
        buffer, index = self.buffers[name], self._producer[name]
        while buffer.next < stop:
            if 0 <= buffer.next < buffer.height:
                if self._stages[index].early:
                    self._bring_about(index)
                else:
                    self._call(index)
                continue
            count = (min(stop, 0) if buffer.next < 0 else stop) - buffer.next
            self._make_room(index, buffer, count)
            self.events.append(Event(Kind.PAD, index, (buffer.next - buffer.bottom, count)))
            self._wrote(buffer, count, len(self.events) - 1, len(self.events) - 1)

    def _make_room(self, index: int, buffer: _Buffer, count: int) -> None:
        name = self._stages[index].output
        needed = min(
            (
                stage.first(self._calls[i])
                for i, stage in enumerate(self._stages)
                if name in stage.inputs and self._calls[i] < stage.calls
            ),
            default=buffer.next,
        )
        lowest = max(min(needed, buffer.next), buffer.bottom)
        buffer.most = max(buffer.most, buffer.next + count - lowest)
        if buffer.next + count - buffer.bottom > buffer.capacity:
            buffer.bottoms[len(self.events)] = lowest
            if buffer.next > lowest:
                rows = (lowest - buffer.bottom, buffer.next - lowest)
                self.events.append(Event(Kind.MOVE, index, rows))
            buffer.bottom = lowest

    def _wrote(self, buffer: _Buffer, count: int, first: int, last: int) -> None:
        rows = range(buffer.next, buffer.next + count)
        buffer.written.update(dict.fromkeys(rows, first))
        buffer.read.update(dict.fromkeys(rows, last))
        buffer.next += count
        self._call_early()


def schedule(stages: Sequence[Stage]) -> Schedule:
    """The events until the last stage has made its last call. Stages come after those that they read from."""
    return _schedule(tuple(stages))


@lru_cache(maxsize=128)
def _schedule(stages: tuple[Stage, ...]) -> Schedule:
    """Once for all kernels that the stages may have."""
    unlimited = _Simulation(stages, {})
    unlimited.run()
    capacities = {name: buffer.most for name, buffer in unlimited.buffers.items()}
    found = _Simulation(stages, capacities)
    found.run()
    return Schedule(
        tuple(found.events),
        {name: _line(found.events, buffer) for name, buffer in found.buffers.items()},
    )


def _height(stage: Stage) -> int:
    """Rows of a stage's output."""
    return stage.rows if stage.accumulates else stage.calls * stage.rows


def _line(events: Sequence[Event], buffer: _Buffer) -> Line:
    """Its rows are in use from when they are first written to until they are last read."""
    stages: list[set[int]] = [set() for _ in range(buffer.most)]
    for start, stop in pairwise([*buffer.bottoms, len(events)]):
        bottom = buffer.bottoms[start]
        for row, written in buffer.written.items():
            if written < stop and buffer.read[row] >= start:
                # What moves is in both places then.
                there = events[max(written, start) : min(buffer.read[row], stop) + 1]
                stages[row - bottom].update(event.stage for event in there)
    uses: list[Use] = []
    for runs, rows in groupby(range(buffer.most), key=lambda row: _runs(stages[row])):
        first, *others = rows
        uses += [Use(first, first + 1 + len(others), *run) for run in runs]
    return Line(buffer.most, tuple(uses))


def _runs(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The first and the last of all numbers that follow one upon the other."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return tuple(found)
