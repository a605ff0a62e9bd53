"""Which kernels could compute which node, and what each would cost."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from tinygen import estimate
from tinygen.errors import UsageError
from tinygen.estimate import Estimate
from tinygen.function_text import function_text
from tinygen.goal import Goal
from tinygen.ir import Graph, Node
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.registry import KERNELS, kernels_for
from tinygen.target import Core

_MEASURED_WITH = frozenset({"thumb2", "umull"})
"""Features of cores on which C takes about the instructions that kernels say."""
_ON_THUMB1 = 2
"""How many times as many it takes on Armv6-M, about: from 1.2 for sums to 2.4 for depthwise convolutions."""

_LITTLE = 5_000
"""Instructions, counted as on a Cortex-M4."""


@dataclass(frozen=True)
class Candidate:
    """A kernel that could compute a node, and what it would cost."""

    kernel: Kernel
    body: Body
    estimate: Estimate
    text: str
    """Of its function, if it is assembly: layers with the same text share the code."""
    parts: tuple[Part, ...] = ()
    """Of a group of nodes: what computes each."""
    lines: tuple[LineBuffer, ...] = ()
    """Of a group: where rows wait between its parts, in the memory that it wants for itself."""


@dataclass(frozen=True)
class Part:
    """A node of a group with its kernel, which computes some rows in each call."""

    step: Step
    calls: int
    scratch: int
    """Where the kernel's memory for itself begins, in bytes from the beginning of the group's."""


@dataclass(frozen=True)
class LineBuffer:
    """Some rows of a tensor: `offset` counts from the beginning of the group's memory for itself."""

    tensor: str
    rows: int
    offset: int
    bytes: int
    first: int
    """The first part of the group that needs them, by index, and the last one."""
    last: int


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

    def in_order(self, numbers: Sequence[int]) -> Step:
        """The same node with its kernels in another order, the chosen one first: their numbers in the present one."""
        if list(numbers) == [*range(len(numbers))]:
            return self
        every = (self.chosen, *self.rejected)
        first, *others = (every[number] for number in numbers)
        return dataclasses.replace(self, chosen=first, rejected=tuple(others))


def candidates(graph: Graph, core: Core, goal: Goal, portable: bool = False) -> tuple[Step, ...]:
    """All nodes with the kernels that could compute them, the fastest ones chosen.

    `portable`: only those that are C for any core. Raises UsageError for a preferred kernel that there is not.
    """
    unknown = sorted(goal.prefer - {kernel.name for kernel in KERNELS})
    if unknown:
        close = difflib.get_close_matches(unknown[0], [kernel.name for kernel in KERNELS], n=3)
        near = f"Near it: {', '.join(close)}." if close else "tinygen inspect names those that would be taken."
        raise UsageError(f"there is no kernel {unknown[0]!r}", near)
    return _alike(tuple(step_of(graph, node, core, goal, portable) for node in graph.nodes), core)


def _alike(steps: Sequence[Step], core: Core) -> tuple[Step, ...]:
    """The same steps; where a kernel has float32 for channels or sums of one layer, others may share that function."""
    every = [each for step in steps for each in (step.chosen, *step.rejected)]
    mixed = {(each.kernel.name, each.text) for each in every if each.body.mixed}
    names = {name for name, _ in mixed}

    def with_more(step: Step) -> Step:
        plain = [each for each in (step.chosen, *step.rejected) if each.kernel.name in names and not each.body.mixed]
        more = (_candidate(each.kernel, step.site._replace(mixed=True), core) for each in plain)
        shared = tuple(each for each in more if (each.kernel.name, each.text) in mixed)
        return dataclasses.replace(step, rejected=step.rejected + shared) if shared else step

    return tuple(map(with_more, steps))


def step_of(graph: Graph, node: Node, core: Core, goal: Goal, portable: bool) -> Step:
    """One node with the kernels that could compute it, the fastest one chosen."""
    site = site_of(graph, node, core, goal.style)
    kernels = usable(site, portable)
    if not kernels:
        raise AssertionError(f"{node.name}: no kernel accepts this {node.op.name}; every operator needs a portable one")
    preferred = [kernel for kernel in kernels if kernel.name in goal.prefer][:1]
    candidates = [_candidate(kernel, site, core) for kernel in preferred or worthwhile(kernels, site)]
    best, *others = sorted(candidates, key=time_of)
    return Step(node, site, best, tuple(others))


def step_with(kernel: Kernel, graph: Graph, node: Node, core: Core, goal: Goal) -> Step:
    """One node with this kernel."""
    site = site_of(graph, node, core, goal.style)
    return Step(node, site, _candidate(kernel, site, core))


def preferring(steps: Sequence[Step], names: frozenset[str], core: Core) -> tuple[Step, ...]:
    """The same nodes, with a kernel of these names and no other wherever one can be used."""

    def narrowed(step: Step) -> Step:
        named = [other for other in usable(step.site) if other.name in names]
        if not named:
            return step
        known = (step.chosen, *step.rejected)
        only = next((other for other in known if other.kernel is named[0]), None)
        return dataclasses.replace(step, chosen=only or _candidate(named[0], step.site, core), rejected=())

    return tuple(map(narrowed, steps))


def site_of(graph: Graph, node: Node, core: Core, style: str) -> Site:
    """A node as kernels for a core see it."""
    return Site(node.op, graph.input_tensors(node), graph.output_tensors(node), style, features=core.features)


def usable(site: Site, portable: bool = False) -> list[Kernel]:
    """The kernels that could compute a node: the core meets their needs, and the node their contract."""
    return [
        kernel
        for kernel in kernels_for(site.op)
        if kernel.requires <= site.features and (kernel.portable or not portable) and kernel.accepts(site)
    ]


def worthwhile(kernels: Sequence[Kernel], site: Site) -> list[Kernel]:
    """Those that one chooses from: of the portable ones, which are in the order of preference, the first.

    On Armv6-M, where C takes five times as long as assembly, flash alone is a reason for it where there is little work.
    """
    special = [kernel for kernel in kernels if not kernel.portable]
    portable = [kernel for kernel in kernels if kernel.portable][:1]
    if special and "thumb1" in site.features and site.objective == "size":
        portable = [kernel for kernel in portable if (kernel.work(site).instructions or _LITTLE) < _LITTLE]
    return special + portable


def _candidate(kernel: Kernel, site: Site, core: Core) -> Candidate:
    body = kernel.prepare(site)
    data = sum(array.nbytes for array in body.constants.values())
    scratch = kernel.scratch(site)
    if kernel.assembly:
        text = function_text(kernel, body, site)
        found = estimate.of_assembly(text, body.runs, data, scratch, core.cost.cycles, core.features)
        if body.around is not None:
            found = estimate.with_c(found, body.around.work, core.cost.cycles)
        return Candidate(kernel, body, found, text)
    work = kernel.work(site)
    if not core.features >= _MEASURED_WITH:
        known = work.instructions if "thumb1" in core.features else None
        work = work._replace(instructions=None if known is None else _ON_THUMB1 * known)
    return Candidate(kernel, body, estimate.of_c(work, data, scratch, core.cost.cycles, core.features), "")


def time_of(candidate: Candidate) -> tuple[float, int]:
    """What the fastest is found by: time, then flash."""
    return candidate.estimate.time, candidate.estimate.flash
