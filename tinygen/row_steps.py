"""Groups of nodes that are computed row by row: their kernels, line buffers and schedule, as candidates of one step."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from tinygen import memory, select
from tinygen.access import Order, Spacing, spacing
from tinygen.choice import Tally, choose, flash_bytes, weighed, within_ram
from tinygen.estimate import Estimate, of_c
from tinygen.goal import Goal
from tinygen.ir import Array, Graph, Node, Tensor
from tinygen.kernel import Body, Kernel, ScratchOverlaps, Work, overlaps
from tinygen.memory import ALIGNMENT, Buffer, aligned, step_bytes
from tinygen.ops import row_pool
from tinygen.ops.common import INT32
from tinygen.ops.row_group import RowGroup
from tinygen.ops.row_pool import unrolled
from tinygen.packing import EFFORT
from tinygen.row_form import RowForm, row_form
from tinygen.row_memory import GroupMemory, Use, group_memory
from tinygen.row_schedule import Event, Kind, Line, Schedule, Stage, schedule
from tinygen.select import Candidate, LineBuffer, Part, Step, site_of, step_of, step_with, time_of
from tinygen.target import Core

_MORE_ROWS = (2, 4)
"""That a call may compute; some kernels are faster with more than one, all want more memory."""

_LEAST_GAIN = 0.01
"""Of a group's time, that more rows of a node, or more memory, have to save."""

_EFFORT = EFFORT // 10
"""For the memory of one way to compute a group: there are many."""

RowSteps = dict[tuple[Node, int], Step]
"""Nodes for so many rows, with their kernels: found once, for all groups of a graph that have them."""


def candidates(
    graph: Graph, core: Core, goal: Goal, portable: bool = False, known: RowSteps | None = None
) -> tuple[Step, ...]:
    """All nodes with the kernels that could compute them, the fastest ones chosen; groups, too.

    `portable`: only those that are C for any core. `known`: what was found for other groups of the same graph, core and
    goal, to which what is found here is added. Raises UsageError for a preferred kernel that there is not.
    """
    known = {} if known is None else known
    single = iter(select.candidates(_without_groups(graph), core, goal, portable))
    return tuple(
        group_step(graph, node, core, goal, portable, known) if isinstance(node.op, RowGroup) else next(single)
        for node in graph.nodes
    )


def _without_groups(graph: Graph) -> Graph:
    """Only the nodes that are operators by themselves."""
    nodes = tuple(node for node in graph.nodes if not isinstance(node.op, RowGroup))
    return dataclasses.replace(graph, nodes=nodes)


def group_step(graph: Graph, node: Node, core: Core, goal: Goal, portable: bool, known: RowSteps) -> Step:
    """A group's node with all ways to compute it that are worth a thought, the fastest one chosen."""
    assert isinstance(node.op, RowGroup)
    whole = _whole(node.op)
    site = site_of(graph, node, core, goal.style)
    style = Goal(goal.objective, prefer=goal.prefer)

    def step_for(inner: Node, rows: int) -> Step:
        if (inner, rows) not in known:
            known[inner, rows] = _row_step(whole, inner, rows, core, style, portable)
        return known[inner, rows]

    ways: list[_Way] = []
    for rows in _row_counts(whole, step_for):
        steps = [step_for(inner, count) for inner, count in zip(whole.nodes, rows, strict=True)]
        ways += _ways(whole, steps, rows, style)
    best, *others = _undominated(way.group().candidate(core) for way in _worthwhile(ways, style))
    return Step(node, site, best, tuple(others))


def least_bytes(node: Node, core: Core, goal: Goal, portable: bool, known: RowSteps) -> int:
    """About what a group needs at least of memory, its inputs and output included; much faster than to plan it."""
    assert isinstance(node.op, RowGroup)
    whole = _whole(node.op)
    for inner in whole.nodes:
        if (inner, 1) not in known:
            known[inner, 1] = _row_step(whole, inner, 1, core, Goal(goal.objective, prefer=goal.prefer), portable)
    rows = [1] * len(whole.nodes)
    _, group = _with_early(whole, [known[inner, 1] for inner in whole.nodes], rows)
    return group.end_bytes() + max(group.lines_beside())


def _whole(op: RowGroup) -> Graph:
    """The nodes that are computed; an input whose rows are fed is outside of the group's memory."""
    whole = unrolled(op.graph)
    return dataclasses.replace(whole, outside=frozenset(whole.inputs)) if op.fed else whole


def _row_counts(graph: Graph, step_for: Callable[[Node, int], Step]) -> Iterator[tuple[int, ...]]:
    """How many rows the calls of each node compute: one, and then more of those nodes that gain most by it."""
    rows = [1] * len(graph.nodes)
    yield tuple(rows)
    for most in _MORE_ROWS:
        more = [_rows_of(graph, node, most) for node in graph.nodes]
        times = [time_of(step_for(node, count).chosen)[0] for node, count in zip(graph.nodes, rows, strict=True)]
        if sum(times) == float("inf"):
            return
        gains = {
            index: times[index] - time_of(step_for(node, more[index]).chosen)[0]
            for index, node in enumerate(graph.nodes)
            if more[index] > rows[index]
        }
        worth = [index for index in gains if gains[index] > _LEAST_GAIN * sum(times)]
        for index in sorted(worth, key=lambda index: -gains[index]):
            rows[index] = more[index]
            yield tuple(rows)


def _undominated(found: Iterable[Candidate]) -> list[Candidate]:
    """The fastest first; without those that another beats in time, flash and memory at once."""
    kept: list[Candidate] = []
    for each in sorted(found, key=lambda candidate: (*time_of(candidate), candidate.estimate.scratch)):
        estimate = each.estimate
        if all(k.estimate.flash > estimate.flash or k.estimate.scratch > estimate.scratch for k in kept):
            kept.append(each)
    return kept


def _rows_of(graph: Graph, node: Node, most: int) -> int:
    """How many rows of a node a call computes: as many as `most` allows of what divides the height."""
    height = _height(graph, node)
    return max(rows for rows in range(1, most + 1) if height % rows == 0)


def _row_step(graph: Graph, node: Node, rows: int, core: Core, goal: Goal, portable: bool) -> Step:
    """The node for so many rows of its output, with its kernels; they cost what all calls do."""
    form = _form(graph, node)
    height = _height(graph, node)

    def cut(name: str, count: int) -> Tensor:
        tensor = graph.tensors[name]
        return tensor if tensor.data is not None else dataclasses.replace(tensor, shape=(1, count, *tensor.shape[2:]))

    tensors = {
        **{name: cut(name, form.rows(rows)) for name in node.inputs},
        **{name: cut(name, 1 if form.accumulates else rows) for name in node.outputs},
    }
    one = dataclasses.replace(node, op=form.op)
    inner = Graph(graph.source, tensors, (one,), (), node.outputs)
    own = next((kernel for kernel in row_pool.KERNELS if isinstance(one.op, kernel.op)), None)
    step = step_of(inner, one, core, goal, portable) if own is None else step_with(own, inner, one, core, goal)
    calls = height // rows
    every = tuple(_repeated(each, calls) for each in (step.chosen, *step.rejected))
    return dataclasses.replace(step, chosen=every[0], rejected=every[1:])


def _height(graph: Graph, node: Node) -> int:
    """The rows that are computed: of the output, or those of the input that are added to it."""
    name = node.inputs[0] if _form(graph, node).accumulates else node.outputs[0]
    return graph.tensors[name].shape[1]


def _repeated(candidate: Candidate, calls: int) -> Candidate:
    found = candidate.estimate
    instructions = None if found.instructions is None else found.instructions * calls
    cycles = None if found.cycles is None else found.cycles * calls
    return dataclasses.replace(candidate, estimate=dataclasses.replace(found, instructions=instructions, cycles=cycles))


def _form(graph: Graph, node: Node) -> RowForm:
    form = row_form(graph, node)
    assert form is not None, node.name
    return form


class _Way(NamedTuple):
    """To compute a group: its nodes' kernels, the rows of their calls, and the nodes that go ahead of others."""

    graph: Graph
    steps: tuple[Step, ...]
    rows: tuple[int, ...]
    early: frozenset[int]
    bytes: int
    """Of memory that it needs at least."""

    def group(self) -> _Group:
        """As a group, with all that follows."""
        return _Group(self.graph, self.steps, self.rows, self.early)


def _ways(graph: Graph, steps: Sequence[Step], rows: tuple[int, ...], goal: Goal) -> Iterator[_Way]:
    """The best kernels for each amount of memory that there may be, and the fastest.

    What flash is worth depends on the whole model.
    """
    early, group = _with_early(graph, steps, rows)
    ends, beside = group.end_bytes(), group.lines_beside()

    def needs(index: int, candidate: Candidate) -> int:
        return ends + beside[index] + candidate.estimate.scratch

    limits = {need for index, step in enumerate(steps) for need in _useful(step, partial(needs, index))}
    for limit in sorted(limit for limit in limits if limit >= ends + max(beside)):
        fastest = within_ram(steps, limit, needs)
        for chosen in (choose(fastest, goal), fastest):
            needed = max(needs(index, step.chosen) for index, step in enumerate(chosen))
            yield _Way(graph, chosen, rows, early, needed)


def _useful(step: Step, needs: Callable[[Candidate], int]) -> Iterator[int]:
    """What those kernels need that are faster than all that need less."""
    fastest = float("inf")
    for each in sorted((step.chosen, *step.rejected), key=lambda each: (needs(each), each.estimate.time)):
        if each.estimate.time < fastest or fastest == float("inf"):
            fastest = each.estimate.time
            yield needs(each)


def _with_early(graph: Graph, steps: Sequence[Step], rows: Sequence[int]) -> tuple[frozenset[int], _Group]:
    """The nodes that go ahead where others read the same rows, those by which less memory is needed; the group."""

    def least(group: _Group) -> int:
        return group.end_bytes() + max(group.lines_beside())

    found = frozenset[int]()
    best = _Group(graph, steps, rows, found)
    for index in best.may_be_early():
        other = _Group(graph, steps, rows, found | {index})
        if least(other) < least(best):
            found, best = found | {index}, other
    return found, best


def _worthwhile(ways: Iterable[_Way], goal: Goal) -> Iterator[_Way]:
    """Those that are faster, or better as the objective has it, than all that need less memory."""
    fastest = best = float("inf")
    rated = [(way.bytes, weighed(way.steps, goal), Tally.of(way.steps).time, way) for way in ways]
    for _, cost, time, way in sorted(rated, key=lambda each: each[:3]):
        if cost < best - _LEAST_GAIN or time < fastest * (1 - _LEAST_GAIN):
            yield way
            fastest, best = min(fastest, time), min(best, cost)


@dataclass(frozen=True)
class Pointer:
    """Where rows begin: `offset` bytes after `base`, and `pitch` bytes for each row of a column of the schedule."""

    base: str
    offset: int
    pitch: int = 0
    column: int = 0


@dataclass(frozen=True)
class Action:
    """One of the things that happen in a group."""

    kind: str
    """ "run" and "copy", "pad", "move"."""
    part: int
    """The part that is called, or the line buffer's writer."""
    arguments: tuple[Pointer | str, ...]
    """Of a call: for each of the function's parameters where its rows are, or the constant's name. Else source, if
    there is one, and destination."""
    columns: int
    """Of the schedule that it takes."""
    pitch: int = 0
    """Bytes of a row, of which some are filled or moved."""
    count: str | int = 1
    value: int = 0
    """Of padding."""


@dataclass(frozen=True)
class _Lying:
    """Where a tensor's rows are: in memory of this name, so many bytes after its beginning."""

    base: str
    offset: int
    pitch: int


class _Group:
    """A choice of kernels for the nodes of a group, and all that follows from it."""

    def __init__(self, graph: Graph, steps: Sequence[Step], rows: Sequence[int], early: frozenset[int]) -> None:
        self._graph = graph
        self._early = {graph.nodes[index].outputs[0] for index in early}
        self._steps = steps
        self._fed = bool(graph.outside)
        self._forms = [_form(graph, node) for node in graph.nodes]
        self._copied = [
            name
            for name in graph.inputs
            if any(
                name in node.inputs and (form.pads or self._fed)
                for node, form in zip(graph.nodes, self._forms, strict=True)
            )
        ]
        self._distances = self._places(rows)
        self._stages = self._all_stages(rows)
        self._schedule: Schedule = schedule(self._stages)

    # --- stages -------------------------------------------------------------------------------------------------------

    def _places(self, rows: Sequence[int]) -> dict[str, tuple[str, int]]:
        """Tensors that can lie in the rows that their only reader writes: in whose rows, and how far in."""
        found: dict[str, tuple[str, int]] = {}
        written = {node.outputs[0]: count for node, count in zip(self._graph.nodes, rows, strict=True)}
        for step in self._steps:
            output = step.node.outputs[0]
            free = (
                (name, distance)
                for index, distance in self._distances_of(step)
                if self._is_read_once(name := step.node.inputs[index])
                and written[name] == written[output]
                and self._may_wait(name, output)
            )
            # What is early waits longest.
            first = min(free, key=lambda place: place[0] not in self._early, default=None)
            if first is not None:
                found[first[0]] = output, first[1]
        return found

    def _may_wait(self, name: str, output: str) -> bool:
        """Whether rows, if they are early, can lie in those of `output`, which have to be there already."""
        return name not in self._early or (
            output == self._graph.outputs[0] and self._pitch(name) == self._pitch(output)
        )

    def _is_read_once(self, name: str) -> bool:
        written = any(name in node.outputs for node in self._graph.nodes)
        return written and sum(node.inputs.count(name) for node in self._graph.nodes) == 1

    @staticmethod
    def _distances_of(step: Step) -> Iterator[tuple[int, int]]:
        """Inputs whose rows may lie within the output's, and how many bytes after their beginning."""
        y = step.site.outputs[0]
        for index, allowed in overlaps(step.kernel, step.site).items():
            x = step.site.inputs[index]
            if x.shape[1] == y.shape[1] and x.bytes <= y.bytes:
                above = aligned(max(allowed.input_above, 0))
                if allowed.in_place or allowed.output_above <= 0:
                    yield index, 0
                elif x.bytes + above <= y.bytes:
                    yield index, above

    def _all_stages(self, rows: Sequence[int]) -> list[Stage]:
        """Those that copy rows of inputs, and then the nodes'."""
        found = [
            Stage((name,), _copy_of(name), self._graph.tensors[name].shape[1], 1, 1, 1, 0) for name in self._copied
        ]
        for node, form, count in zip(self._graph.nodes, self._forms, rows, strict=True):
            read = [name for name in node.inputs if self._graph.tensors[name].data is None]
            copied = self._copied if form.pads or self._fed else ()
            padded = [_copy_of(name) if name in copied else name for name in read]
            calls = _height(self._graph, node) // count
            place = self._distances.get(node.outputs[0], ("", 0))[0]
            written = 1 if form.accumulates else count
            taps, step = form.rows(count), count * form.stride
            found.append(
                Stage(
                    tuple(padded),
                    node.outputs[0],
                    calls,
                    written,
                    taps,
                    step,
                    form.before,
                    form.accumulates,
                    place,
                    node.outputs[0] in self._early,
                )
            )
        return found

    def _tensor(self, name: str) -> Tensor:
        return self._graph.tensors[name.removeprefix(_COPY)]

    def _pitch(self, name: str) -> int:
        tensor = self._tensor(name)
        return tensor.bytes // tensor.shape[1]

    # --- memory -------------------------------------------------------------------------------------------------------

    def may_be_early(self) -> Iterator[int]:
        """The nodes that read no rows but those in line buffers, and none that nobody else does."""
        readers = Counter(name for stage in self._stages for name in stage.inputs)
        for index, stage in enumerate(self._stages[len(self._copied) : -1]):
            in_lines = all(name in self._schedule.lines for name in stage.inputs)
            if in_lines and not stage.accumulates and all(readers[name] > 1 for name in stage.inputs):
                yield index

    def lines_beside(self) -> list[int]:
        """For each node the bytes in line buffers that are in use while its kernel is called."""
        found = [0] * len(self._stages)
        for name, line in self._schedule.lines.items():
            for use in line.uses:
                for stage in range(use.first, use.last + 1):
                    found[stage] += (use.stop - use.start) * self._pitch(name)
        return found[len(self._copied) :]

    def end_bytes(self) -> int:
        """What input and output need at least, overlapping as they may."""
        own = (name for name in self._graph.inputs if name not in self._graph.outside)
        inputs = [Buffer(name, self._graph.tensors[name].bytes, 0, 0) for name in own]
        (output,) = self._graph.outputs
        y = Buffer(output, self._graph.tensors[output].bytes, 0, 0)
        spacings = self._spacings(dict.fromkeys(self._schedule.lines, 0))
        near = {(self._graph.inputs[index], output): each for index, each in spacings.items()}
        return step_bytes([*inputs, y], near)

    def _memory(self) -> tuple[GroupMemory, dict[str, int], list[int]]:
        """The plan, and the offsets of each line and of each node's kernel's memory."""
        lines = {name: _line_buffer(name, line, self._pitch(name)) for name, line in self._schedule.lines.items()}
        shift = len(self._copied)
        own = [
            Buffer(f"{_SCRATCH}{index}", step.scratch, index + shift, index + shift)
            for index, step in enumerate(self._steps)
        ]
        buffers = [*lines.values(), *(buffer for buffer in own if buffer.bytes)]
        known = {buffer.name for buffer in buffers}
        plan = group_memory(buffers, [self._use(event, known) for event in self._schedule.events], _EFFORT)
        offsets = plan.offsets
        return plan, {name: offsets[name] for name in lines}, [offsets.get(b.name, 0) for b in own]

    def _use(self, event: Event, known: Set[str]) -> Use:
        """What an event uses of the memory with these names, and writes of the output."""
        stage = self._stages[event.stage]
        names = [stage.output]
        if event.kind is Kind.RUN:
            names += [*stage.inputs, f"{_SCRATCH}{event.stage - len(self._copied)}"]
        hosts = [self._host(name) for name in names]
        written = (0, 0)
        if event.kind is Kind.RUN and hosts[0] == self._graph.outputs[0]:
            pitch = self._pitch(hosts[0])
            written = event.rows[-1] * pitch, (event.rows[-1] + stage.rows) * pitch
        return Use(tuple(name for name in hosts if name in known), written)

    def _host(self, name: str) -> str:
        """What the rows of a tensor lie in: its own memory, or another tensor's."""
        return self._host(self._distances[name][0]) if name in self._distances else name

    def _where(self, name: str, lines: Mapping[str, int]) -> _Lying:
        """Where the rows of a tensor are."""
        if name in self._distances:
            host, distance = self._distances[name]
            found = self._where(host, lines)
            return dataclasses.replace(found, offset=found.offset + distance)
        if name in lines:
            return _Lying(LINES, lines[name], self._pitch(name))
        return _Lying(self._parameters[name], 0, self._pitch(name))

    @property
    def _parameters(self) -> dict[str, str]:
        inputs = self._graph.inputs
        names = ["x"] if len(inputs) == 1 else [f"x{index}" for index in range(len(inputs))]
        return {**dict(zip(inputs, names, strict=True)), self._graph.outputs[0]: "y"}

    def _spacings(self, lines: Mapping[str, int]) -> dict[int, Spacing]:
        """How the output may overlap each input, from the order of the calls."""
        calls = [event for event in self._schedule.events if event.kind is Kind.RUN]
        writes = np.zeros((len(calls), 2), np.int64)
        reads = np.zeros((len(self._graph.inputs), len(calls), 2), np.int64)
        written = [self._where(stage.output, lines) for stage in self._stages]
        read = [
            [
                (self._graph.inputs.index(name), operand, self._pitch(name))
                for operand, name in enumerate(stage.inputs)
                if name in self._graph.inputs
            ]
            for stage in self._stages
        ]
        for at, event in enumerate(calls):
            stage, y = self._stages[event.stage], written[event.stage]
            if y.base == "y":
                writes[at] = event.rows[-1] * y.pitch, (event.rows[-1] + stage.rows) * y.pitch
            for index, operand, x in read[event.stage]:
                row = event.rows[operand]
                reads[index, at] = row * x, (row + stage.taps) * x
        return {
            index: spacing(Order(these[:, 0], these[:, 1], writes[:, 0], writes[:, 1], buffered=False))
            for index, these in enumerate(reads)
        }

    # --- rows that come one by one ------------------------------------------------------------------------------------

    def _events(self) -> tuple[Event, ...]:
        """What happens; where rows are fed, the one that is there is the input's first and only one."""
        if not self._fed:
            return self._schedule.events
        return tuple(
            dataclasses.replace(event, rows=(0, *event.rows[1:])) if self._takes(event) else event
            for event in self._schedule.events
        )

    def _takes(self, event: Event) -> bool:
        """Whether a row of a group's input is copied."""
        return event.kind is Kind.RUN and event.stage < len(self._copied)

    def _starts(self, sizes: Sequence[int]) -> Array:
        """For each row that is fed, and beyond the last: where in the schedule begins what can happen with it.

        `sizes`: how many of the schedule's numbers each event has.
        """
        at = np.concatenate(([0], np.cumsum(sizes)))
        taken = [int(at[index]) for index, event in enumerate(self._schedule.events) if self._takes(event)]
        height = self._graph.tensors[self._graph.inputs[0]].shape[1]
        ends = [int(at[-1])] * (height + 1 - len(taken))
        return np.array([0, *taken[1:], *ends], np.uint16 if at[-1] < 1 << 16 else np.int32)

    # --- code ---------------------------------------------------------------------------------------------------------

    def candidate(self, core: Core) -> Candidate:
        """As one kernel."""
        held, lines, own = self._memory()
        total = held.bytes
        actions, constants = self._program(lines)
        body = Body(
            {"actions": actions, "steps": len(constants["schedule"]), "memory": _memory_used(actions)},
            constants,
            helpers=frozenset(_HELPERS[action.kind] for action in actions if action.kind in _HELPERS),
        )
        # A row that is fed lies anywhere, and is gone when the output's next rows are written.
        spacings = {} if self._fed else self._spacings(lines)
        requires = frozenset[str]().union(*(step.kernel.requires for step in self._steps))
        work = self._work()
        kernel = Kernel(
            "row_group.rows",
            RowGroup,
            lambda site: body,
            parameters=("x",) if len(self._graph.inputs) == 1 else ("x*",),
            requires=requires,
            overlaps=lambda site: spacings,
            work=lambda site: work,
            scratch=lambda site: total,
            scratch_overlaps=lambda site: ScratchOverlaps(output=held.overlap),
        )
        parts = tuple(
            Part(step, self._stages[index + len(self._copied)].calls, offset)
            for index, (step, offset) in enumerate(zip(self._steps, own, strict=True))
        )
        data = sum(array.nbytes for array in constants.values())
        estimate = self._estimate(work, data, total, core)
        return Candidate(kernel, body, estimate, "", parts, tuple(self._line_buffers(lines)))

    def _line_buffers(self, offsets: Mapping[str, int]) -> Iterator[LineBuffer]:
        """What lies at these offsets; rows of inputs are copied before the first part needs them."""
        shift = len(self._copied)
        for name, line in self._schedule.lines.items():
            pitch = self._pitch(name)
            for use in line.uses:
                first, last = max(use.first - shift, 0), max(use.last - shift, 0)
                rows = use.stop - use.start
                offset = offsets[name] + use.start * pitch
                yield LineBuffer(name.removeprefix(_COPY), rows, offset, rows * pitch, first, last)

    def _estimate(self, work: Work, data: int, scratch: int, core: Core) -> Estimate:
        """Of the parts, and of what calls them."""
        glue = of_c(work, data, scratch, core.cost.cycles)
        estimates = [glue, *(step.chosen.estimate for step in self._steps)]
        return Estimate(
            _sum(estimate.instructions for estimate in estimates),
            _sum(estimate.cycles for estimate in estimates),
            glue.code + flash_bytes(self._steps) - sum(step.chosen.estimate.data for step in self._steps),
            sum(estimate.data for estimate in estimates),
            scratch,
        )

    def _work(self) -> Work:
        """Of the loop over the events, and of what it does itself."""
        instructions = 10 * len(self._schedule.events)
        for event in self._schedule.events:
            stage = self._stages[event.stage]
            if event.kind is not Kind.RUN:
                per_byte = 0.8 if event.kind is Kind.MOVE and self._pitch(stage.output) % ALIGNMENT == 0 else 4
                instructions += round(per_byte * event.rows[1] * self._pitch(stage.output)) + 10
            elif event.stage < len(self._copied):
                instructions += 4 * self._pitch(stage.output) + 10 + (30 if self._fed else 0)
        return Work(instructions, 60 + 20 * len(self._stages) + 24 * len(self._schedule.lines))

    def _program(self, lines: Mapping[str, int]) -> tuple[tuple[Action, ...], dict[str, Array]]:
        """What can happen, and as the schedule's bytes what does: an action's number, and rows that vary.

        Of rows that are fed, `_starts`, too.
        """
        events = self._events()
        by_action: dict[tuple[Kind, int], list[Event]] = {}
        for event in events:
            by_action.setdefault((event.kind, event.stage), []).append(event)
        keys = sorted(by_action, key=lambda key: (key[1], [Kind.PAD, Kind.MOVE, Kind.RUN].index(key[0])))
        varying = {
            key: [i for i, rows in enumerate(zip(*(e.rows for e in by_action[key]), strict=True)) if len(set(rows)) > 1]
            for key in keys
        }
        actions = tuple(self._action(*key, by_action[key][0].rows, varying[key], lines) for key in keys)
        number = {key: index for index, key in enumerate(keys)}
        words = [
            [number[event.kind, event.stage], *(event.rows[i] for i in varying[event.kind, event.stage])]
            for event in events
        ]
        table = np.concatenate(words)
        constants = {"schedule": table.astype(np.uint8 if table.max() < 256 else np.uint16)}
        return actions, {**constants, "starts": self._starts([*map(len, words)])} if self._fed else constants

    def _action(
        self, kind: Kind, stage: int, rows: Sequence[int], varying: Sequence[int], lines: Mapping[str, int]
    ) -> Action:
        def pointer(name: str, operand: int) -> Pointer:
            at = self._where(name, lines)
            if self._tensor(name).dtype == INT32:
                return Pointer(WORDS, (at.offset + rows[operand] * at.pitch) // ALIGNMENT)
            if operand in varying:
                return Pointer(at.base, at.offset, at.pitch, varying.index(operand))
            return Pointer(at.base, at.offset + rows[operand] * at.pitch)

        part = stage - len(self._copied)
        found = self._stages[stage]
        pitch = self._pitch(found.output)
        if kind is Kind.RUN:
            read = [pointer(name, index) for index, name in enumerate(found.inputs)]
            y = pointer(found.output, len(found.inputs))
            if part < 0:
                return Action("copy", part, (y, *read), len(varying), pitch)
            arguments = (*self._passed(self._steps[part], read), y)
            return Action("run", part, arguments, len(varying))
        count: str | int = f"step[{varying.index(1)}]" if 1 in varying else rows[1]
        if kind is Kind.PAD and found.accumulates:
            return Action("pad", part, (Pointer(LINES, lines[found.output]),), 0, pitch, count)
        if kind is Kind.PAD:
            return Action(
                "pad", part, (pointer(found.output, 0),), len(varying), pitch, count, self._fill(found.output)
            )
        to = Pointer(LINES, lines[found.output])
        words = "move_words" if pitch % ALIGNMENT == 0 else "move_bytes"
        return Action(words, part, (to, pointer(found.output, 0)), len(varying), pitch, count)

    @staticmethod
    def _passed(step: Step, read: Sequence[Pointer]) -> Iterator[Pointer | str]:
        """The arguments of a call: rows, and the names of constants."""
        rows = iter(read)
        pointers = {index: next(rows) for index, x in enumerate(step.site.inputs) if x.data is None}
        for role, index in step.kernel.operands(step.site.inputs):
            yield pointers.get(index, role)

    def _fill(self, name: str) -> int:
        """The value of rows outside the image, which is the same to all that read them."""
        original = name.removeprefix(_COPY)
        readers = zip(self._graph.nodes, self._forms, strict=True)
        return next(form.fill for node, form in readers if original in node.inputs and form.pads)


LINES = "lines"
WORDS = "scratch"
"""The C names of the memory for line buffers, as bytes and as words."""

_COPY = "rows of "
_SCRATCH = "scratch "
_HELPERS = {"pad": "fill_bytes", "copy": "move_bytes", "move_bytes": "move_bytes", "move_words": "move_words"}


def _memory_used(actions: Sequence[Action]) -> frozenset[str]:
    """The C names of memory that are used."""
    words = any(action.kind == "move_words" for action in actions)
    bases = {
        each.base
        for action in actions
        for each in action.arguments
        if isinstance(each, Pointer) and action.kind != "move_words"
    }
    used = bases & {LINES, WORDS}
    return frozenset(used | {WORDS} if used or words else ())


def _line_buffer(name: str, line: Line, pitch: int) -> Buffer:
    """For the plan of a group's memory, whose steps are the stages."""
    parts = tuple(
        memory.Part(f"{name} {index}", use.start * pitch, (use.stop - use.start) * pitch, use.first, use.last)
        for index, use in enumerate(line.uses)
    )
    first, last = min(use.first for use in line.uses), max(use.last for use in line.uses)
    return Buffer(name, line.rows * pitch, first, last, parts)


def _copy_of(name: str) -> str:
    return _COPY + name


def _sum(values: Iterator[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
