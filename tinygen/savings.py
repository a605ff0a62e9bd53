"""What a user can do about RAM, and what it comes to: each way is planned to the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygen import pipeline
from tinygen.choice import flash_bytes
from tinygen.errors import TinygenError
from tinygen.goal import OBJECTIVES, Goal
from tinygen.ir import Graph
from tinygen.plan import Plan, plan_of, planned
from tinygen.row_steps import candidates
from tinygen.select import Step, preferring
from tinygen.target import Core


@dataclass(frozen=True)
class Figures:
    """What a plan comes to."""

    ram_bytes: int
    """Of arena and states."""
    flash_bytes: int
    """Expected code and constants of the layers."""
    instructions: int
    """Expected of one invocation, as far as it is known."""
    unknown: int
    """Layers of which the instructions are not known."""

    @staticmethod
    def of(chosen: Plan) -> Figures:
        """Those of a plan."""
        counts = [step.chosen.estimate.instructions for step in chosen.steps]
        return Figures(
            chosen.layout.ram_bytes, flash_bytes(chosen.steps), sum(filter(None, counts)), counts.count(None)
        )

    def beats(self, other: Figures) -> bool:
        """Whether this is better in something, and worse in nothing that is known of both."""
        known = 3 if self.unknown == other.unknown else 2
        ours, theirs = ((found.ram_bytes, found.flash_bytes, found.instructions)[:known] for found in (self, other))
        return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Saving:
    """Words for the command line, and what the plan then comes to."""

    words: str
    figures: Figures


def savings(model: pipeline.Model, core: Core, goal: Goal, chosen: Plan) -> tuple[Saving, ...]:
    """What takes less RAM than the plan that was chosen, the least first; nothing that another way is better than."""
    less: dict[Figures, Saving] = {}
    for saving in _tried(model, core, goal, chosen):
        if saving.figures.ram_bytes < chosen.layout.ram_bytes:
            less.setdefault(saving.figures, saving)
    best = [saving for saving in less.values() if not any(other.beats(saving.figures) for other in less)]
    return tuple(sorted(best, key=lambda saving: saving.figures.ram_bytes))


_MOST_KERNELS = 4


def _tried(model: pipeline.Model, core: Core, goal: Goal, chosen: Plan) -> Iterator[Saving]:
    graph = model.graph
    options = candidates(graph, core, goal)
    for objective in OBJECTIVES:
        if objective != goal.objective:
            other_goal = dataclasses.replace(goal, objective=objective)
            same = other_goal.style == goal.style
            others = options if same else candidates(graph, core, other_goal)
            yield from _planned(f"--optimize {objective}", graph, others, core, other_goal)
    # Room for nothing: kernels that need less memory are taken as long as there are any.
    least = planned(graph, options, goal, ram_bytes=0)
    yield Saving(f"--ram-budget {least.layout.ram_bytes}", Figures.of(least))
    if chosen.steps:
        peak = chosen.steps[chosen.layout.plan.peak_step]
        for other in sorted(peak.rejected, key=lambda other: other.estimate.scratch)[:_MOST_KERNELS]:
            name = other.kernel.name
            yield from _planned(f"--kernel {name}", graph, preferring(options, goal.prefer | {name}, core), core, goal)
    if any(graph.tensors[name].dtype.kind == "f" for name in (*graph.inputs, *graph.outputs)):
        try:
            bare = pipeline.decode(model.data, model.file, dataclasses.replace(model.options, io="int8")).graph
        except TinygenError:  # its inputs and outputs are no quantised values
            return
        yield from _planned("--io int8", bare, candidates(bare, core, goal), core, goal)


def _planned(words: str, graph: Graph, options: Sequence[Step], core: Core, goal: Goal) -> Iterator[Saving]:
    try:
        yield Saving(words, Figures.of(plan_of(graph, options, core, goal)))
    except TinygenError:  # a budget that it cannot meet
        return
