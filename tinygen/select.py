"""Which kernel computes which node: the cheapest whose contract the node meets."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen import estimate
from tinygen.emit import render
from tinygen.errors import UsageError
from tinygen.estimate import Estimate
from tinygen.goal import Goal
from tinygen.ir import Graph, Node
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.registry import KERNELS, kernels_for
from tinygen.target import Core

_WEIGHT_OF_FLASH = {"speed": 0.0, "balanced": 0.7, "size": 12.0}
"""What a hundredth less flash is worth, in hundredths of time. Both are the whole model's."""


_MEASURED_WITH = frozenset({"thumb2", "umull"})
"""Features of cores on which C takes about the instructions that kernels say."""


@dataclass(frozen=True)
class Candidate:
    """A kernel that could compute a node, and what it would cost."""

    kernel: Kernel
    body: Body
    estimate: Estimate
    text: str
    """Of its function, if it is assembly: layers with the same text share the code."""


@dataclass(frozen=True)
class Step:
    """One node with its kernel."""

    node: Node
    site: Site
    chosen: Candidate
    rejected: tuple[Candidate, ...] = ()
    """Other kernels that could compute it."""

    @property
    def kernel(self) -> Kernel:
        """The one that was chosen."""
        return self.chosen.kernel

    @property
    def scratch(self) -> int:
        """Bytes that the kernel wants for itself."""
        return self.chosen.estimate.scratch

    def with_kernel(self, candidate: Candidate) -> Step:
        """The same node with another of its kernels."""
        others = (other for other in (self.chosen, *self.rejected) if other is not candidate)
        return dataclasses.replace(self, chosen=candidate, rejected=tuple(others))

    def alternative(self, kernel: str) -> Candidate | None:
        """The candidate of that name that was not chosen."""
        return next((other for other in self.rejected if other.kernel.name == kernel), None)


def select(graph: Graph, core: Core, goal: Goal, portable: bool = False) -> tuple[Step, ...]:
    """The best kernels for all nodes.

    `portable`: only those that are C for any core. Raises UsageError for a preferred kernel that there is not.
    """
    return choose(candidates(graph, core, goal, portable), goal)


def candidates(graph: Graph, core: Core, goal: Goal, portable: bool = False) -> tuple[Step, ...]:
    """All nodes with the kernels that could compute them, the fastest ones chosen; as `select` otherwise."""
    unknown = sorted(goal.prefer - {kernel.name for kernel in KERNELS})
    if unknown:
        close = difflib.get_close_matches(unknown[0], [kernel.name for kernel in KERNELS], n=3)
        raise UsageError(f"there is no kernel {unknown[0]!r}", f"Near it: {', '.join(close)}." if close else "")
    return tuple(_step(graph, node, core, goal, portable) for node in graph.nodes)


def choose(steps: Sequence[Step], goal: Goal) -> tuple[Step, ...]:
    """Of the fastest kernels, and those beside them, the best for the objective, within the budget of flash."""
    weighed = _weighed(steps, _WEIGHT_OF_FLASH[goal.objective])
    return tuple(_within_flash(weighed, goal.flash_budget))


def _step(graph: Graph, node: Node, core: Core, goal: Goal, portable: bool) -> Step:
    site = site_of(graph, node, core, goal.objective)
    kernels = usable(site, portable)
    if not kernels:
        raise AssertionError(f"{node.name}: no kernel accepts this {node.op.name}; every operator needs a portable one")
    preferred = [kernel for kernel in kernels if kernel.name in goal.prefer][:1]
    candidates = [_candidate(kernel, site, core) for kernel in preferred or worthwhile(kernels)]
    best, *others = sorted(candidates, key=_time)
    return Step(node, site, best, tuple(others))


def site_of(graph: Graph, node: Node, core: Core, objective: str) -> Site:
    """A node as kernels for a core see it."""
    return Site(node.op, graph.input_tensors(node), graph.output_tensors(node), objective, features=core.features)


def usable(site: Site, portable: bool = False) -> list[Kernel]:
    """The kernels that could compute a node: the core meets their needs, and the node their contract."""
    return [
        kernel
        for kernel in kernels_for(site.op)
        if kernel.requires <= site.features and (kernel.portable or not portable) and kernel.accepts(site)
    ]


def worthwhile(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Those that one chooses from: of the portable ones, which are in the order of preference, the first."""
    return [kernel for kernel in kernels if not kernel.portable] + [k for k in kernels if k.portable][:1]


def _candidate(kernel: Kernel, site: Site, core: Core) -> Candidate:
    body = kernel.prepare(site)
    data = sum(array.nbytes for array in body.constants.values())
    scratch = kernel.scratch(site)
    if kernel.assembly:
        text = render(kernel.template, **body.values).strip("\n")
        return Candidate(kernel, body, estimate.of_assembly(text, body.runs, data, scratch, core.cost.cycles), text)
    work = kernel.work(site)
    if not core.features >= _MEASURED_WITH:
        work = work._replace(instructions=None)
    return Candidate(kernel, body, estimate.of_c(work, data, scratch, core.cost.cycles), "")


def _time(candidate: Candidate) -> tuple[float, int]:
    return candidate.estimate.time, candidate.estimate.flash


def flash_bytes(steps: Sequence[Step]) -> int:
    """Code and constants of all layers; what layers share counts once."""
    return _Tally.of(steps).flash


class _Tally:
    """Time and flash of a choice of kernels, and what changes of it make of them."""

    def __init__(self, time: float, flash: int, uses: Counter[_Function]) -> None:
        self.time = time
        self.flash = flash
        self._uses = uses

    def product(self, weight: float) -> float:
        """The logarithm of time * flash ** weight."""
        return math.log(max(self.time, 1.0)) + weight * math.log(max(self.flash, 1))

    @staticmethod
    def of(steps: Sequence[Step]) -> _Tally:
        tally = _Tally(0.0, 0, Counter())
        for step in steps:
            tally = tally.after([(None, step.chosen)])
        return tally

    def after(self, changes: Sequence[tuple[Candidate | None, Candidate]]) -> _Tally:
        """With other candidates in the place of some."""
        time, flash, uses = self.time, self.flash, Counter(self._uses)
        for old, new in changes:
            if old is not None:
                uses[_function(old)] -= 1
                time -= _known(old.estimate.time)
                flash -= old.estimate.data + (old.estimate.code if uses[_function(old)] == 0 else 0)
            time += _known(new.estimate.time)
            flash += new.estimate.data + (new.estimate.code if uses[_function(new)] == 0 else 0)
            uses[_function(new)] += 1
        return _Tally(time, flash, uses)


_Function = tuple[str, str | int]


def _function(candidate: Candidate) -> _Function:
    """What layers that share code have in common; code in C is each layer's own."""
    return candidate.kernel.name, candidate.text or id(candidate)


def _known(time: float) -> float:
    return time if time < float("inf") else 0.0


_Change = tuple[_Tally, Mapping[int, Candidate]]


def _changes(steps: Sequence[Step], tally: _Tally) -> Iterator[_Change]:
    """All ways to take another kernel, and what would come of them.

    In one step, in all that share a function, and in those that could share one and lose the least time by it.
    """
    sharing: dict[_Function, list[int]] = {}
    for index, step in enumerate(steps):
        sharing.setdefault(_function(step.chosen), []).append(index)
    for indices in sharing.values():
        for group in [[index] for index in indices] + ([indices] if len(indices) > 1 else []):
            for kernel in {other.kernel.name: None for other in steps[group[0]].rejected}:
                others = {index: other for index in group if (other := steps[index].alternative(kernel)) is not None}
                if all(other.estimate.time < float("inf") for other in others.values()):
                    yield tally.after([(steps[index].chosen, other) for index, other in others.items()]), others
    for users in _sharable(steps):
        after = tally
        others = {}
        for index, other in users:
            after = after.after([(steps[index].chosen, other)])
            others[index] = other
            if len(others) > 1:
                yield after, dict(others)


def _sharable(steps: Sequence[Step]) -> Iterator[list[tuple[int, Candidate]]]:
    """Of each function in assembly the steps that do not use it, but could; first those that lose the least time."""
    users: dict[_Function, list[tuple[int, Candidate]]] = {}
    for index, step in enumerate(steps):
        for other in step.rejected:
            if other.text and other.estimate.time < float("inf"):
                users.setdefault(_function(other), []).append((index, other))
    for those in users.values():
        yield sorted(those, key=lambda user: user[1].estimate.time - _known(steps[user[0]].chosen.estimate.time))


def _changed(steps: Sequence[Step], others: Mapping[int, Candidate]) -> list[Step]:
    return [step.with_kernel(others[index]) if index in others else step for index, step in enumerate(steps)]


def _weighed(steps: Sequence[Step], weight: float) -> list[Step]:
    """From the fastest kernels on: the change that lowers time * flash ** weight most, until none does."""
    current = list(steps)
    while weight:
        tally = _Tally.of(current)
        best = min(_changes(current, tally), key=lambda change: change[0].product(weight), default=None)
        if best is None or best[0].product(weight) >= tally.product(weight) - 1e-9:
            break
        current = _changed(current, best[1])
    return current


def _within_flash(steps: Sequence[Step], budget: int | None) -> list[Step]:
    """While flash is over the budget: the change that saves a byte for the least time."""
    current = list(steps)
    while budget is not None and (tally := _Tally.of(current)).flash > budget:
        saving = [change for change in _changes(current, tally) if change[0].flash < tally.flash]
        if not saving:
            break
        cheapest = min(saving, key=lambda change: (change[0].time - tally.time) / (tally.flash - change[0].flash))
        current = _changed(current, cheapest[1])
    return current


def with_less_scratch(steps: Sequence[Step], index: int, limit: int) -> tuple[Step, ...] | None:
    """All nodes, one of them only with kernels that want less than `limit` for themselves; None: there are none."""
    step = steps[index]
    smaller = sorted((c for c in (step.chosen, *step.rejected) if c.estimate.scratch < limit), key=_time)
    if not smaller:
        return None
    narrowed = dataclasses.replace(step, chosen=smaller[0], rejected=tuple(smaller[1:]))
    return (*steps[:index], narrowed, *steps[index + 1 :])
