"""Which runs of nodes are computed row by row, so that what is the largest is never there whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tinygen.fusion import MOST_NODES, fuse, fusible
from tinygen.goal import Goal
from tinygen.ir import Graph, Node
from tinygen.ops.row_group import RowGroup
from tinygen.planned import Plan, affords, is_better, planned
from tinygen.row_steps import RowSteps, group_step
from tinygen.select import Step
from tinygen.target import Core

_LOOKAHEAD = MOST_NODES
"""Nodes by which a group may grow before that has to lower the peak."""


class GroupSteps(NamedTuple):
    """Groups with their kernels, by their nodes, and nodes for so many rows: found once for a core and a style."""

    groups: dict[tuple[Node, ...], Step]
    rows: RowSteps


def grouped(
    graph: Graph,
    first: Plan,
    options: Sequence[Step],
    core: Core,
    goal: Goal,
    base: Sequence[Step],
    known: GroupSteps,
) -> Plan:
    """The plan with the nodes at the peak in groups, as long as that lowers it at a cost that the objective allows.

    `base`: the best kernels where RAM is free. A group begins with two nodes, of which one is at the peak, and grows on
    either side. `known`: what was found for other limits, to which what is found here is added.
    """
    runs = list(fusible(graph))
    singles = {step.node: step for step in options}  # several nodes can be of one operator, and have its name

    def nodes_of(run: range) -> tuple[Node, ...]:
        return graph.nodes[run.start : run.stop]

    def step_of(fused: Graph, node: Node, run: range) -> Step:
        if not isinstance(node.op, RowGroup):
            return singles[node]
        nodes = nodes_of(run)
        if nodes not in known.groups:
            known.groups[nodes] = group_step(fused, node, core, goal, False, known.rows)
        return known.groups[nodes]

    def hides(step: Step, run: range) -> bool:
        """Whether it is not known what a step takes, though it is of some of its nodes."""
        return not _is_known(step) and any(_is_known(singles[node]) for node in nodes_of(run))

    def tried(groups: Sequence[range]) -> Plan | None:
        fused = fuse(graph, groups)
        spans = _spans(graph, groups)
        steps = [step_of(fused, node, run) for node, run in zip(fused.nodes, spans, strict=True)]
        if any(hides(step, run) for step, run in zip(steps, spans, strict=True)):
            return None
        found = planned(fused, steps, goal, base=base)
        return found if affords(goal, base, found.steps) else None

    def needed(run: range, inner: range) -> int:
        """Bytes that a group needs at least: for its ends, and the line buffers that a group inside it has, too."""
        found = known.groups.get(nodes_of(inner))
        ways = () if found is None else (found.chosen, *found.rejected)
        read, written = _bytes_at_ends(graph, run)
        return max(read + min((way.estimate.scratch for way in ways), default=0), written)

    best, groups = first, list[range]()
    while True:
        peak = _spans(graph, groups)[best.layout.plan.peak_step]
        better = None
        current = peak
        for _ in range(_LOOKAHEAD):
            trials = [
                (plan.layout.plan.bytes, run.start, run, plan)
                for run in _around(runs, current, groups)
                if any(needed(longer, current) < best.layout.plan.bytes for longer in runs if _holds(longer, run))
                and (plan := tried([*_apart(groups, run), run])) is not None
            ]
            if not trials:
                break
            _, _, current, plan = min(trials, key=lambda trial: trial[:2])
            if is_better(goal, plan, best):
                better = plan, [*_apart(groups, current), current]
                break
        if better is None:
            return best
        best, groups = better


def _is_known(step: Step) -> bool:
    return step.chosen.estimate.instructions is not None


def _around(runs: Sequence[range], inner: range, groups: Sequence[range]) -> Iterator[range]:
    """The shortest runs that hold what is there already and more; groups are taken whole."""
    larger = [
        run
        for run in runs
        if _holds(run, inner)
        and len(run) > len(inner)
        and all(group in _apart(groups, run) or _holds(run, group) for group in groups)
    ]
    shortest = min(map(len, larger), default=0)
    return (run for run in larger if len(run) == shortest)


def _bytes_at_ends(graph: Graph, run: range) -> tuple[int, int]:
    """Of a group's inputs, which its line buffers do not overlap, and of its output, which may overlap either."""
    nodes = graph.nodes[run.start : run.stop]
    written = {name for node in nodes for name in node.outputs}
    read = {name for node in nodes for name in node.inputs if graph.tensors[name].data is None}
    inputs = read - written - graph.outside
    return sum(graph.tensors[name].bytes for name in inputs), sum(
        graph.tensors[name].bytes for name in nodes[-1].outputs if name not in graph.outside
    )


def _holds(outer: range, inner: range) -> bool:
    return outer.start <= inner.start and inner.stop <= outer.stop


def _apart(groups: Sequence[range], run: range) -> list[range]:
    return [group for group in groups if group.stop <= run.start or run.stop <= group.start]


def _spans(graph: Graph, groups: Sequence[range]) -> list[range]:
    """The nodes of the graph that each node of the fused one stands for."""
    starts: Mapping[int, range] = {group.start: group for group in groups}
    spans = []
    index = 0
    while index < len(graph.nodes):
        spans.append(starts.get(index, range(index, index + 1)))
        index = spans[-1].stop
    return spans
