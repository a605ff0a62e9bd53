"""From a graph to kernels and memory: which kernel computes which node, and where every tensor lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygen.choice import choose
from tinygen.feeding import fed, is_fed
from tinygen.goal import Goal
from tinygen.grouping import GroupSteps, grouped
from tinygen.ir import Graph
from tinygen.ops.row_group import RowGroup
from tinygen.planned import Plan, is_worth_it, planned, saves_ram, sizes_of
from tinygen.row_steps import candidates
from tinygen.select import Step
from tinygen.target import Core

__all__ = ["Plan", "plan", "plan_of", "planned", "sizes_of"]

_PATIENCES = (2, 4)
"""Tried in turn: times the objective's usual part, spent where that saves so much RAM that it is worth it."""


def plan(
    graph: Graph, core: Core, goal: Goal, ram_bytes: int | None = None, portable: bool = False, rows: bool = False
) -> Plan:
    """The best kernels within the goal's limits, and their memory; where RAM counts, in groups of rows, too.

    Where arena and states would be beyond the budget, or the `ram_bytes` that there are, kernels that need less memory
    are taken, as far as there are any. `portable`: only kernels in C for any core; `rows`: the first layers take the
    input row by row.
    Raises DoesNotFit when a budget cannot be met, and UnsupportedModel where the input cannot come in rows.
    """
    options = candidates(graph, core, goal, portable)
    return plan_of(graph, options, core, goal, ram_bytes, portable, rows)


def plan_of(
    graph: Graph,
    options: Sequence[Step],
    core: Core,
    goal: Goal,
    ram_bytes: int | None = None,
    portable: bool = False,
    rows: bool = False,
) -> Plan:
    """As `plan`, of kernels that were prepared before: the `options` are a graph's candidates for the goal's style."""
    known = GroupSteps({}, {})
    found = _plan_of(graph, options, core, goal, ram_bytes, portable, rows, known)
    if not saves_ram(goal) or len(graph.nodes) < 2:
        return found
    for patience in _PATIENCES:
        patient = replace(goal, patience=patience)
        # What takes long to find out is not asked where there are groups already, and kernels alone would not help.
        alone = goal.objective != "ram" and _is_grouped(found)
        if alone and not is_worth_it(goal, planned(graph, options, patient, ram_bytes), found):
            continue
        longer = _plan_of(graph, options, core, patient, ram_bytes, portable, rows, known)
        if is_worth_it(goal, longer, found):
            found = longer
    return found


def _is_grouped(found: Plan) -> bool:
    return any(isinstance(step.node.op, RowGroup) for step in found.steps)


def _plan_of(
    graph: Graph,
    options: Sequence[Step],
    core: Core,
    goal: Goal,
    ram_bytes: int | None,
    portable: bool,
    rows: bool,
    known: GroupSteps,
) -> Plan:
    if rows and not is_fed(graph):
        found = fed(graph, options, core, goal, ram_bytes, portable)
        singles = found.steps
    else:
        found = planned(graph, options, goal, ram_bytes)
        singles = options
    if saves_ram(goal) and goal.overlap and not portable and not goal.prefer:
        return grouped(found.graph, found, singles, core, goal, choose(options, goal), known)
    return found
