"""What a user can do about RAM, and what it comes to: each way is planned to the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tinygen import pipeline
from tinygen.choice import flash_bytes
from tinygen.errors import TinygenError
from tinygen.goal import OBJECTIVES, Goal
from tinygen.interface import EXTERNAL, ROWS, STATIC, Interface
from tinygen.ir import Graph
from tinygen.plan import Plan, plan_of, planned
from tinygen.ports import with_ports
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


Finish = Callable[[Plan], Plan]
"""What becomes of a plan when its parts are placed."""


def savings(
    model: pipeline.Model,
    core: Core,
    goal: Goal,
    chosen: Plan,
    interface: Interface | None = None,
    finish: Finish = lambda chosen: chosen,
    beside_bytes: int = 0,
) -> tuple[Saving, ...]:
    """What takes less RAM than the plan that was chosen, the least first; nothing that another way is better than.

    `beside_bytes`: of RAM that a front end takes besides; with one, inputs and outputs are given as they are.
    """
    less: dict[Figures, Saving] = {}
    for saving in _Trials(model, core, goal, interface or Interface(), finish, beside_bytes).of(chosen):
        if saving.figures.ram_bytes < chosen.layout.ram_bytes:
            less.setdefault(saving.figures, saving)
    best = [saving for saving in less.values() if not any(other.beats(saving.figures) for other in less)]
    return tuple(sorted(best, key=lambda saving: saving.figures.ram_bytes))


_MOST_KERNELS = 4


@dataclass(frozen=True)
class _Trials:
    """Other ways to build a model."""

    model: pipeline.Model
    core: Core
    goal: Goal
    interface: Interface
    finish: Finish
    beside_bytes: int

    def of(self, chosen: Plan) -> Iterator[Saving]:
        """Other objectives, a budget, other kernels at the peak, and other ways to give inputs and outputs."""
        core, goal = self.core, self.goal
        graph = with_ports(self.model.graph, self.interface)
        options = candidates(graph, core, goal)
        for objective in OBJECTIVES:
            if objective != goal.objective:
                other_goal = dataclasses.replace(goal, objective=objective)
                same = other_goal.style == goal.style
                others = options if same else candidates(graph, core, other_goal)
                yield from self._planned(f"--optimize {objective}", graph, others, other_goal)
        if not self.interface.by_rows:
            # Room for nothing: kernels that need less memory are taken as long as there are any.
            budget = self.finish(planned(graph, options, goal, ram_bytes=0)).layout.ram_bytes
            within = dataclasses.replace(goal, ram_budget=budget)
            yield from self._planned(f"--ram-budget {budget + self.beside_bytes}", graph, options, within)
        peak = chosen.steps[chosen.layout.plan.peak_step] if chosen.steps else None
        if peak and not peak.chosen.parts:
            for other in sorted(peak.rejected, key=lambda other: other.estimate.scratch)[:_MOST_KERNELS]:
                name = other.kernel.name
                other_goal = dataclasses.replace(goal, prefer=goal.prefer | {name})
                preferred = preferring(options, other_goal.prefer, core)
                yield from self._planned(f"--kernel {name}", graph, preferred, other_goal)
        if not self.beside_bytes:
            yield from self._with_other_ports()

    def _with_other_ports(self) -> Iterator[Saving]:
        interface = self.interface
        others = {}
        if interface.input == STATIC:
            others["--input-rows"] = dataclasses.replace(interface, input=ROWS)
            others["--input external"] = dataclasses.replace(interface, input=EXTERNAL)
        if interface.output == STATIC:
            others["--output external"] = dataclasses.replace(interface, output=EXTERNAL)
        for words, other in others.items():
            yield from dataclasses.replace(self, interface=other)._rebuilt(words, self.model)
        graph = self.model.graph
        if any(graph.tensors[name].dtype.kind == "f" for name in (*graph.inputs, *graph.outputs)):
            options = dataclasses.replace(self.model.options, io="int8")
            try:
                bare = pipeline.decode(self.model.data, self.model.file, options)
            except TinygenError:  # its inputs and outputs are no quantised values
                return
            yield from self._rebuilt("--io int8", bare)

    def _rebuilt(self, words: str, model: pipeline.Model) -> Iterator[Saving]:
        try:
            graph = with_ports(model.graph, self.interface)
        except TinygenError:  # an input or output that cannot lie elsewhere
            return
        yield from self._planned(words, graph, candidates(graph, self.core, self.goal), self.goal)

    def _planned(self, words: str, graph: Graph, options: Sequence[Step], goal: Goal) -> Iterator[Saving]:
        try:
            found = plan_of(graph, options, self.core, goal, rows=self.interface.by_rows)
            yield Saving(words, Figures.of(self.finish(found)))
        except TinygenError:  # a budget that it cannot meet, or an input that cannot come in rows
            return
