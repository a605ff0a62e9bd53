"""From a graph to kernels and memory: which kernel computes which node, and where every tensor lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.choice import WEIGHTS, Needs, Tally, choose, flash_bytes, within_ram
from tinygen.errors import DoesNotFit
from tinygen.goal import Goal
from tinygen.ir import Graph
from tinygen.layout import Layout, StepBytes, lay_out
from tinygen.row_steps import candidates
from tinygen.select import Candidate, Step
from tinygen.target import Core


@dataclass(frozen=True)
class Plan:
    """The kernels, in the order of execution, and their memory."""

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
        "state": layout.state_bytes,
    }


def plan(graph: Graph, core: Core, goal: Goal, ram_bytes: int | None = None, portable: bool = False) -> Plan:
    """The best kernels within the goal's limits, and their memory.

    Where arena and states would be beyond the budget, or the `ram_bytes` that there are, kernels that need less memory
    are taken, as far as there are any. `portable`: only kernels in C for any core.
    Raises DoesNotFit when a budget cannot be met.
    """
    return planned(graph, candidates(graph, core, goal, portable), goal, ram_bytes)


def planned(graph: Graph, options: Sequence[Step], goal: Goal, ram_bytes: int | None = None) -> Plan:
    """The same where the kernels that one can choose from are known already."""
    needs = StepBytes(graph, options, goal.overlap).of
    steps, layout = _settled(graph, options, goal, needs)
    limit = min((limit for limit in (goal.ram_budget, ram_bytes) if limit is not None), default=None)
    if limit is not None and layout.ram_bytes > limit:
        steps, layout = _within(graph, options, goal, needs, limit)
    _expect("RAM", layout.ram_bytes, goal.ram_budget)
    _expect("flash", flash_bytes(steps), goal.flash_budget)
    return Plan(steps, layout)


_MOST_TRIALS = 8


def _settled(graph: Graph, options: Sequence[Step], goal: Goal, needs: Needs) -> tuple[Sequence[Step], Layout]:
    """The best kernels, where each needs what the plan gives it.

    Steps in a row may want a tensor in different places, so that the plan needs more than any of them. Kernels of the
    steps at its end are taken to need that much, too, in the next choice; the best choice stays.
    """
    learned: dict[tuple[int, str], int] = {}

    def known(index: int, candidate: Candidate) -> int:
        return max(needs(index, candidate), learned.get((index, candidate.kernel.name), 0))

    found: list[tuple[float, int, Sequence[Step], Layout]] = []
    while len(found) < _MOST_TRIALS:
        steps = choose(options, goal, known)
        layout = lay_out(graph, steps, goal.overlap)
        found.append((_product(steps, layout.plan.bytes, goal), len(found), steps, layout))
        most = max((needs(index, step.chosen) for index, step in enumerate(steps)), default=0)
        high = {(index, steps[index].kernel.name) for index in layout.steps_above(most) if steps}
        if high <= learned.keys():
            break
        learned.update(dict.fromkeys(high, layout.plan.bytes))
    return min(found)[2:]


def _product(steps: Sequence[Step], arena_bytes: int, goal: Goal) -> float:
    return Tally.of(steps, lambda index, candidate: arena_bytes).product(WEIGHTS[goal.objective])


def _within(
    graph: Graph, options: Sequence[Step], goal: Goal, needs: Needs, limit: int
) -> tuple[Sequence[Step], Layout]:
    """The best kernels of those that need no more than the limit, less what the plan loses to gaps."""
    least = max(min(needs(i, each) for each in (step.chosen, *step.rejected)) for i, step in enumerate(options))
    target = limit
    while True:
        steps = choose(within_ram(options, target, needs), goal, needs)
        layout = lay_out(graph, steps, goal.overlap)
        if layout.ram_bytes <= limit or target <= least:
            return steps, layout
        target -= layout.ram_bytes - limit


def _expect(what: str, needed: int, budget: int | None) -> None:
    if budget is not None and needed > budget:
        raise DoesNotFit(
            f"the model's library needs {needed:,} bytes of {what}, the budget is {budget:,}",
            f"Raise the {what} budget, or choose another objective or a smaller model.",
        )
