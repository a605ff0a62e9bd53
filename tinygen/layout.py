"""From kernels to memory: where every tensor lies, in the arena or among the states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from tinygen.access import Spacing
from tinygen.alias import Frame, Life, frames, lives
from tinygen.ir import Graph
from tinygen.kernel import Kernel, overlaps
from tinygen.memory import Buffer, MemoryPlan, Part, Slot, Spacings, aligned, plan_memory, step_bytes
from tinygen.select import Candidate, Step


class Place(NamedTuple):
    """A byte of memory: in "arena", or "state", which keeps its content from one invocation to the next.

    In "scratch" it is what kernels want for themselves, where that has memory of its own. Of the application's memory
    it is "input" or "output", with a number where the model has several.
    """

    memory: str
    offset: int


@dataclass(frozen=True)
class Layout:
    """The plan of the arena, the buffers of the states, and the place of every tensor that is no constant."""

    plan: MemoryPlan
    states: tuple[Slot, ...]
    places: Mapping[str, Place]
    aliased: Mapping[int, frozenset[int]]
    """For each step, the inputs that need no copying (see `Kernel.aliases`)."""
    scratch: Mapping[int, Place]
    """For each step whose kernel wants some, its memory for itself."""
    scratch_bytes: int = 0
    """Of that memory, where it is not in the arena."""

    @property
    def disjoint_bytes(self) -> int:
        """What the arena would be if nothing overlapped."""
        return plan_memory([slot.buffer for slot in self.plan.slots]).bytes

    def steps_above(self, limit: int) -> frozenset[int]:
        """The steps that write, or read last, or have as scratch memory, what lies above so many bytes of the arena."""
        high = [slot.buffer for slot in self.plan.slots if slot.end > limit]
        return frozenset(step for buffer in high for step in (buffer.first, buffer.last))

    @property
    def state_bytes(self) -> int:
        """Size of the memory that keeps its content."""
        return max((aligned(slot.end) for slot in self.states), default=0)

    @property
    def ram_bytes(self) -> int:
        """Size of all static memory."""
        return self.plan.bytes + self.scratch_bytes + self.state_bytes


def lay_out(graph: Graph, steps: Sequence[Step], overlap: bool = True, scratch_apart: bool = False) -> Layout:
    """Plan the memory. Time counts in steps; a tensor lives from the step that writes it to the last that reads it.

    Inputs are written before step 0, outputs are read after the last. What shares memory is planned as one buffer.
    `overlap`: outputs may overlap inputs that are not read again, as far as kernels allow. `scratch_apart`: what
    kernels want for themselves does not lie in the arena; one runs at a time, so that all begin at the same byte.
    """
    found, aliased = frames(graph, steps)
    held = {_name(graph, frame): frame for frame in found}
    buffers = {name: _buffer(graph, name, frame, len(steps)) for name, frame in held.items() if not frame.outside}
    scratch = {
        index: Buffer(_scratch_name(graph, step), step.scratch, index, index)
        for index, step in enumerate(steps)
        if step.scratch
    }
    plan = plan_memory(
        [
            *(buffer for name, buffer in buffers.items() if not held[name].is_state),
            *(() if scratch_apart else scratch.values()),
        ],
        _spacings(graph, steps, aliased) if overlap else {},
    )
    states = _in_a_row([buffer for name, buffer in buffers.items() if held[name].is_state])
    places = {
        name: Place(memory, slot.offset + offset)
        for memory, slots in (("arena", plan.slots), ("state", states))
        for slot in slots
        if slot.buffer.name in held
        for name, offset in held[slot.buffer.name].offsets.items()
    }
    places |= {
        name: Place(_port(graph, frame.outside), offset)
        for frame in found
        if frame.outside
        for name, offset in frame.offsets.items()
    }
    offsets = {slot.buffer: slot.offset for slot in plan.slots}
    own = {
        index: Place("scratch", 0) if scratch_apart else Place("arena", offsets[buffer])
        for index, buffer in scratch.items()
    }
    most = max((aligned(buffer.bytes) for buffer in scratch.values()), default=0) if scratch_apart else 0
    return Layout(plan, states, MappingProxyType(places), MappingProxyType(dict(aliased)), MappingProxyType(own), most)


class StepBytes:
    """What single steps need of the arena, with one kernel or another: the least that any plan can give them."""

    def __init__(self, graph: Graph, steps: Sequence[Step], overlap: bool = True) -> None:
        self._graph = graph
        self._overlap = overlap
        found, self._aliased = frames(graph, steps)
        self._life = lives(graph, steps)
        self._steps = steps
        own = [frame for frame in found if not frame.is_state and not frame.outside]
        buffers = [_buffer(graph, _name(graph, frame), frame, len(steps)) for frame in own]
        live = [[run for buffer in buffers for run in buffer.during(index)] for index in range(len(steps))]
        self._concerned: list[list[Buffer]] = []
        """For each step the buffers of its inputs and outputs."""
        self._beside: list[int] = []
        """For each step the bytes of all other live buffers."""
        for step, those in zip(steps, live, strict=True):
            its = {*step.node.inputs, *step.node.outputs}
            self._concerned.append([b for b in those if any(part.name in its for part in b.pieces)])
            self._beside.append(sum(aligned(b.bytes) for b in those if all(part.name not in its for part in b.pieces)))
        self._tensors: dict[tuple[int, int], int] = {}
        """What the rest of these needs beside the scratch memory, by step and kernel."""

    def of(self, index: int, candidate: Candidate) -> int:
        """Bytes of tensors and scratch that have to be there while a step runs; without states."""
        # Kernels of a group have one name.
        key = index, id(candidate.kernel)
        scratch = aligned(candidate.estimate.scratch)
        if key not in self._tensors:
            step = self._steps[index]
            own = Buffer(_scratch_name(self._graph, step), scratch, index, index)
            allowed: Mapping[tuple[str, str], Spacing] = {}
            if self._overlap:
                allowed = _allowed(step, candidate.kernel, index, self._life, self._aliased[index], own.name)
            concerned = self._concerned[index]
            if any(own.name in pair for pair in allowed):  # of three that may overlap, pairs do not say enough
                self._tensors[key] = plan_memory([*concerned, own], allowed).lower_bound - scratch
            else:
                self._tensors[key] = step_bytes(concerned, allowed)
        return self._beside[index] + self._tensors[key] + scratch


def _buffer(graph: Graph, name: str, frame: Frame, count: int) -> Buffer:
    """A frame, alive within the steps that there are."""

    def within(life: Life) -> tuple[int, int]:
        return max(life.first, 0), min(max(life.last, 0), max(count - 1, 0))

    parts = [
        Part(member, offset, graph.tensors[member].bytes, *within(frame.lives[member]))
        for member, offset in frame.offsets.items()
    ]
    return Buffer(name, frame.bytes, *within(frame.life), tuple(parts) if len(parts) > 1 else ())


def _scratch_name(graph: Graph, step: Step) -> str:
    name = f"scratch for {step.node.outputs[0]}"
    while name in graph.tensors:
        name = f"the {name}"
    return name


def _spacings(graph: Graph, steps: Sequence[Step], aliased: Mapping[int, frozenset[int]]) -> Spacings:
    """How far outputs may overlap inputs, and scratch memory both, for all steps."""
    life = lives(graph, steps)
    found: dict[tuple[str, str], Spacing] = {}
    for index, step in enumerate(steps):
        found.update(_allowed(step, step.kernel, index, life, aliased[index], _scratch_name(graph, step)))
    return found


def _allowed(
    step: Step, kernel: Kernel, index: int, life: Mapping[str, Life], aliased: frozenset[int], scratch: str
) -> dict[tuple[str, str], Spacing]:
    """How far a step's only output may overlap those of its inputs whose bytes nothing reads after it.

    And how far the memory of its own, which is called `scratch`, may overlap those inputs, and the output.
    """
    if len(step.node.outputs) != 1:
        return {}
    site = step.site._replace(aliased=aliased)
    (output,) = step.node.outputs
    own = kernel.scratch_overlaps(site)
    found = {(scratch, output): own.output} if own.output else {}
    for written, declared in ((output, overlaps(kernel, site)), (scratch, own.inputs)):
        for name in dict.fromkeys(step.node.inputs):
            operands = [operand for operand, other in enumerate(step.node.inputs) if other == name]
            if name in life and life[name].last == index and all(operand in declared for operand in operands):
                found[name, written] = _all([declared[operand] for operand in operands])
    return found


def _all(spacings: Sequence[Spacing]) -> Spacing:
    """What all of these allow."""
    inputs, outputs, _ = zip(*spacings, strict=True)
    in_place = all(each.in_place or each.input_above <= 0 or each.output_above <= 0 for each in spacings)
    return Spacing(max(inputs), max(outputs), in_place)


def _name(graph: Graph, frame: Frame) -> str:
    """The largest tensor of a frame, the first of them, stands for all."""
    return max(frame.offsets, key=lambda name: graph.tensors[name].bytes)


def _port(graph: Graph, name: str) -> str:
    """What an input or output of the application's is called among places."""
    word, names = ("input", graph.inputs) if name in graph.inputs else ("output", graph.outputs)
    return f"{word}_{names.index(name)}" if len(names) > 1 else word


def _in_a_row(buffers: Sequence[Buffer]) -> tuple[Slot, ...]:
    slots = []
    offset = 0
    for buffer in buffers:
        slots.append(Slot(buffer, offset))
        offset = aligned(offset + buffer.bytes)
    return tuple(slots)
