"""From a graph to kernels and memory: which kernel computes which node, and where every tensor lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.errors import DoesNotFit
from tinygen.goal import Goal
from tinygen.ir import Graph
from tinygen.layout import Layout, lay_out
from tinygen.select import Step, candidates, choose, flash_bytes, with_less_scratch
from tinygen.target import Core


@dataclass(frozen=True)
class Plan:
    """The kernels, in the order of execution, and their memory."""

    steps: Sequence[Step]
    layout: Layout


def plan(graph: Graph, core: Core, goal: Goal, ram_bytes: int | None = None, portable: bool = False) -> Plan:
    """The best kernels within the goal's limits, and their memory.

    Where arena and states would be beyond the budget, or the `ram_bytes` that there are, kernels that want less memory
    for themselves are taken at the peak, as far as there are any. `portable`: only kernels in C for any core.
    Raises DoesNotFit when a budget cannot be met.
    """
    options = candidates(graph, core, goal, portable)
    steps = choose(options, goal)
    layout = lay_out(graph, steps)
    limit = min((limit for limit in (goal.ram_budget, ram_bytes) if limit is not None), default=None)
    while limit is not None and layout.ram_bytes > limit and steps:
        peak = layout.plan.peak_step
        narrowed = with_less_scratch(options, peak, steps[peak].scratch)
        if narrowed is None:
            break
        options = narrowed
        steps = choose(options, goal)
        layout = lay_out(graph, steps)
    _expect("RAM", layout.ram_bytes, goal.ram_budget)
    _expect("flash", flash_bytes(steps), goal.flash_budget)
    return Plan(steps, layout)


def _expect(what: str, needed: int, budget: int | None) -> None:
    if budget is not None and needed > budget:
        raise DoesNotFit(
            f"the model's library needs {needed:,} bytes of {what}, the budget is {budget:,}",
            f"Raise the {what} budget, or choose another objective or a smaller model.",
        )
