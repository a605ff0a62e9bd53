"""The kernels of a graph and their memory, where it is known which kernels one can choose from."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tinygen.choice import Needs, Tally, choose, flash_bytes, instructions, weighed, within_ram
from tinygen.errors import DoesNotFit
from tinygen.goal import Goal
from tinygen.ir import Graph
from tinygen.layout import Layout, StepBytes, lay_out
from tinygen.select import Candidate, Step


@dataclass(frozen=True)
class Plan:
    """The kernels, in the order of execution, and their memory; the graph, in which nodes may be grouped."""

    graph: Graph
    steps: Sequence[Step]
    layout: Layout


def sizes_of(chosen: Plan) -> Mapping[str, int]:
    """Bytes of the library's parts, by their names in `tinygen.placement`; those of code are estimates."""
    data = sum(step.chosen.estimate.data for step in chosen.steps)
    layout = chosen.layout
    return {
        "weights": data,
        "code": flash_bytes(chosen.steps) - data,
        "arena": layout.plan.bytes,
        "scratch": layout.scratch_bytes,
        "state": layout.state_bytes,
    }


def planned(
    graph: Graph, options: Sequence[Step], goal: Goal, ram_bytes: int | None = None, base: Sequence[Step] = ()
) -> Plan:
    """The best of these kernels within the goal's limits, and their memory.

    Where arena and states would be beyond the budget, or the `ram_bytes` that there are, kernels that need less memory
    are taken, as far as there are any. `base`: kernels that less RAM may cost a little more than; by default the best
    ones where RAM is free.
    Raises DoesNotFit when a budget cannot be met.
    """
    needs = StepBytes(graph, options, goal.overlap).of
    steps: Sequence[Step] = choose(options, goal)
    layout = lay_out(graph, steps, goal.overlap)
    if goal.objective in _SLACK:
        steps, layout = _smallest(graph, options, goal, needs, base or steps, steps)
    limit = min((limit for limit in (goal.ram_budget, ram_bytes) if limit is not None), default=None)
    if limit is not None and layout.ram_bytes > limit:
        steps, layout = _within(graph, options, goal, needs, limit)
    _expect("RAM", layout.ram_bytes, goal.ram_budget, "" if goal.objective == "ram" else "ram")
    _expect("flash", flash_bytes(steps), goal.flash_budget, "" if goal.objective == "size" else "size")
    return Plan(graph, steps, layout)


class _Slack(NamedTuple):
    """What part more the least RAM may cost."""

    instructions: float
    time: float
    """As `Estimate.time` has it: modelled cycles, too."""
    flash: float


_SLACK = {"balanced": _Slack(0.02, 0.03, 0.1), "ram": _Slack(0.25, 0.4, math.inf), "size": _Slack(0.02, 0.03, 0.0)}


def saves_ram(goal: Goal) -> bool:
    """Whether the objective spends flash on less RAM, too."""
    return goal.objective in _SLACK and _SLACK[goal.objective].flash > 0


def affords(goal: Goal, base: Sequence[Step], steps: Sequence[Step]) -> bool:
    """Whether kernels cost no more than the objective allows, given the best ones where RAM is free."""
    slack = _SLACK[goal.objective]
    flash, least = flash_bytes(steps), max(flash_bytes(base), 1)
    return (
        _is_short(goal, base, steps)
        and instructions(steps) <= (1 + slack.instructions * goal.patience) * instructions(base)
        and flash <= (1 + slack.flash * goal.patience) * least
        and (goal.flash_budget is None or flash <= max(goal.flash_budget, least))
    )


def _is_short(goal: Goal, base: Sequence[Step], steps: Sequence[Step]) -> bool:
    return Tally.of(steps).time <= (1 + _SLACK[goal.objective].time * goal.patience) * Tally.of(base).time


def is_better(goal: Goal, found: Plan, than: Plan) -> bool:
    """Whether a plan has the smaller arena; unless that is all that counts, by more than it costs in time and flash."""
    saved = math.log(max(than.layout.plan.bytes, 1)) - math.log(max(found.layout.plan.bytes, 1))
    cost = 0.0 if goal.objective == "ram" else weighed(found.steps, goal) - weighed(than.steps, goal)
    return saved > max(cost, 0.0)


_WORTH = 0.125
"""What a hundredth less RAM is worth beyond the objective's usual part, in hundredths of time."""


def is_worth_it(goal: Goal, found: Plan, than: Plan) -> bool:
    """Whether a plan takes less RAM by so much that more than the objective's usual part was well spent on it.

    Where RAM is all that counts: by a larger factor than it takes more instructions. Else an eighth of what it saves
    has to be more than what it costs, as logarithms of RAM, and of what the objective weighs or of instructions alone.
    """
    saved = math.log(max(than.layout.ram_bytes, 1)) - math.log(max(found.layout.ram_bytes, 1))
    longer = math.log(max(instructions(found.steps), 1)) - math.log(max(instructions(than.steps), 1))
    if goal.objective == "ram":
        return saved > longer
    return saved > 0 and _WORTH * saved > max(weighed(found.steps, goal) - weighed(than.steps, goal), longer)


_MOST_TRIALS = 8

_REGARDS = {"balanced": (1.0,), "ram": (1.0, 0.5, 0.25, 0.0), "size": (1.0,)}
"""For flash: where RAM is all that counts, less and less of it if what has little flash takes too long."""


def _smallest(
    graph: Graph, options: Sequence[Step], goal: Goal, needs: Needs, base: Sequence[Step], best: Sequence[Step]
) -> tuple[Sequence[Step], Layout]:
    """The least arena that kernels need which cost no more than the objective allows; `best`: those without a limit.

    Steps in a row may want a tensor in different places, so that the plan needs more than any of them. Then another
    kernel of one of them may help; and kernels of the steps at its end are taken to need that much, too, in the next
    choice. The best choice stays.
    """
    # By the candidate itself: those of a group all have one name.
    learned: dict[tuple[int, int], int] = {}

    def known(index: int, candidate: Candidate) -> int:
        return max(needs(index, candidate), learned.get((index, id(candidate)), 0))

    found: list[tuple[int, int, int, Sequence[Step], Layout]] = []
    while len(found) < _MOST_TRIALS:
        steps = _under_the_lowest_limit(options, goal, known, base, best)
        layout = lay_out(graph, steps, goal.overlap)
        needed = max((needs(index, step.chosen) for index, step in enumerate(steps)), default=0)
        better = _improved(graph, steps, layout, goal, needs, needed, base)
        found.append((better[1].plan.bytes, instructions(better[0]), len(found), *better))
        high = {(index, id(steps[index].chosen)) for index in layout.steps_above(needed) if steps}
        if high <= learned.keys():
            break
        learned.update(dict.fromkeys(high, layout.plan.bytes))
    return min(found)[3:]


def _improved(
    graph: Graph, steps: Sequence[Step], layout: Layout, goal: Goal, needs: Needs, needed: int, base: Sequence[Step]
) -> tuple[Sequence[Step], Layout]:
    """With another kernel beside or at the end of the arena, where that brings it nearer to what each step needs."""
    best = layout.plan.bytes, instructions(steps), steps, layout
    near = {other for index in layout.steps_above(needed) for other in (index - 1, index, index + 1)}
    for index in sorted(near & {*range(len(steps))}):
        for other in steps[index].rejected:
            changed = [*steps[:index], steps[index].with_kernel(other), *steps[index + 1 :]]
            if needs(index, other) <= needed and affords(goal, base, changed):
                count = instructions(changed)
                found = lay_out(graph, changed, goal.overlap)
                if (found.plan.bytes, count) < best[:2]:
                    best = found.plan.bytes, count, changed, found
    return best[2:]


def _under_the_lowest_limit(
    options: Sequence[Step], goal: Goal, needs: Needs, base: Sequence[Step], best: Sequence[Step]
) -> Sequence[Step]:
    """The best kernels within the lowest limit of RAM at which they cost no more than the objective allows.

    `best`: those without a limit.
    """
    needed = [[needs(index, each) for each in (step.chosen, *step.rejected)] for index, step in enumerate(options)]
    floor = max(map(min, needed), default=0)
    limits = sorted({need for each in needed for need in each if need >= floor})
    within = [best]

    def is_possible(limit: int) -> bool:
        fastest = within_ram(options, limit, needs)
        if not _is_short(goal, base, fastest):
            return False
        chosen = (choose(fastest, goal, regard) for regard in _REGARDS[goal.objective])
        found = next((steps for steps in chosen if affords(goal, base, steps)), None)
        if found is not None:
            within.append(found)
        return found is not None

    bisect_left(limits, True, key=is_possible)
    return within[-1]


def _within(
    graph: Graph, options: Sequence[Step], goal: Goal, needs: Needs, limit: int
) -> tuple[Sequence[Step], Layout]:
    """The best kernels of those that need no more than the limit, less what the plan loses to gaps."""
    least = max(min(needs(i, each) for each in (step.chosen, *step.rejected)) for i, step in enumerate(options))
    target = limit
    while True:
        steps = choose(within_ram(options, target, needs), goal)
        layout = lay_out(graph, steps, goal.overlap)
        if layout.ram_bytes <= limit or target <= least:
            return steps, layout
        target -= layout.ram_bytes - limit


def _expect(what: str, needed: int, budget: int | None, least: str) -> None:
    """`least`: the objective that takes less of it; empty where there is none."""
    if budget is not None and needed > budget:
        raise DoesNotFit(
            f"the model's library needs {needed:,} bytes of {what}, the budget is {budget:,}",
            f"Raise the {what} budget, {f'try --optimize {least}, ' if least else ''}or choose a smaller model.",
        )
