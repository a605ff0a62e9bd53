"""Groups of nodes that are computed row by row: the ways to compute one, as candidates of one step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from tinygen import select
from tinygen.choice import Tally, choose, weighed, within_ram
from tinygen.goal import Goal
from tinygen.ir import Graph, Node, Tensor
from tinygen.ops import row_pool
from tinygen.ops.row_group import RowGroup
from tinygen.ops.row_pool import unrolled
from tinygen.row_candidate import candidate
from tinygen.row_memory import end_bytes, lines_beside
from tinygen.row_stages import RowStages, form_of, height_of, may_be_early, row_stages
from tinygen.select import Candidate, Step, site_of, step_of, step_with, time_of
from tinygen.target import Core

_MORE_ROWS = (2, 4)
"""That a call may compute; some kernels are faster with more than one, all want more memory."""

_LEAST_GAIN = 0.01
"""Of a group's time, that more rows of a node, or more memory, have to save."""

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
    style = _style(goal)
    step_for = partial(_known_row_step, known, whole, core, style, portable)
    ways: list[_Way] = []
    for rows in _row_counts(whole, step_for):
        steps = [step_for(inner, count) for inner, count in zip(whole.nodes, rows, strict=True)]
        ways += _ways(whole, steps, rows, style)
    best, *others = _undominated(candidate(way.stages(), core) for way in _worthwhile(ways, style))
    return Step(node, site, best, tuple(others))


def least_bytes(node: Node, core: Core, goal: Goal, portable: bool, known: RowSteps) -> int:
    """About what a group needs at least of memory, its inputs and output included; much faster than to plan it."""
    assert isinstance(node.op, RowGroup)
    whole = _whole(node.op)
    steps = [_known_row_step(known, whole, core, _style(goal), portable, inner, 1) for inner in whole.nodes]
    _, stages = _with_early(whole, steps, [1] * len(steps))
    return _least(stages)


def _style(goal: Goal) -> Goal:
    """What counts for a group's nodes: budgets are the whole model's."""
    return Goal(goal.objective, prefer=goal.prefer)


def _known_row_step(
    known: RowSteps, graph: Graph, core: Core, goal: Goal, portable: bool, node: Node, rows: int
) -> Step:
    """As `_row_step`, found once."""
    if (node, rows) not in known:
        known[node, rows] = _row_step(graph, node, rows, core, goal, portable)
    return known[node, rows]


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
    height = height_of(graph, node)
    return max(rows for rows in range(1, most + 1) if height % rows == 0)


def _row_step(graph: Graph, node: Node, rows: int, core: Core, goal: Goal, portable: bool) -> Step:
    """The node for so many rows of its output, with its kernels; they cost what all calls do."""
    form = form_of(graph, node)
    height = height_of(graph, node)

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


def _repeated(candidate: Candidate, calls: int) -> Candidate:
    found = candidate.estimate
    instructions = None if found.instructions is None else found.instructions * calls
    cycles = None if found.cycles is None else found.cycles * calls
    return dataclasses.replace(candidate, estimate=dataclasses.replace(found, instructions=instructions, cycles=cycles))


class _Way(NamedTuple):
    """To compute a group: its nodes' kernels, the rows of their calls, and the nodes that go ahead of others."""

    graph: Graph
    steps: tuple[Step, ...]
    rows: tuple[int, ...]
    early: frozenset[int]
    bytes: int
    """Of memory that it needs at least."""

    def stages(self) -> RowStages:
        """What runs when."""
        return row_stages(self.graph, self.steps, self.rows, self.early)


def _ways(graph: Graph, steps: Sequence[Step], rows: tuple[int, ...], goal: Goal) -> Iterator[_Way]:
    """The best kernels for each amount of memory that there may be, and the fastest.

    What flash is worth depends on the whole model.
    """
    early, stages = _with_early(graph, steps, rows)
    ends, beside = end_bytes(stages), lines_beside(stages)

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


def _with_early(graph: Graph, steps: Sequence[Step], rows: Sequence[int]) -> tuple[frozenset[int], RowStages]:
    """The nodes that go ahead where others read the same rows, those by which less memory is needed; the stages."""
    found = frozenset[int]()
    best = row_stages(graph, steps, rows, found)
    for index in may_be_early(best):
        other = row_stages(graph, steps, rows, found | {index})
        if _least(other) < _least(best):
            found, best = found | {index}, other
    return found, best


def _least(stages: RowStages) -> int:
    """Bytes that are needed at least, whatever kernels want for themselves."""
    return end_bytes(stages) + max(lines_beside(stages))


def _worthwhile(ways: Iterable[_Way], goal: Goal) -> Iterator[_Way]:
    """Those that are faster, or better as the objective has it, than all that need less memory."""
    fastest = best = float("inf")
    rated = [(way.bytes, weighed(way.steps, goal), Tally.of(way.steps).time, way) for way in ways]
    for _, cost, time, way in sorted(rated, key=lambda each: each[:3]):
        if cost < best - _LEAST_GAIN or time < fastest * (1 - _LEAST_GAIN):
            yield way
            fastest, best = min(fastest, time), min(best, cost)
