"""From kernels to memory: where every tensor lies, in the arena or among the states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from tinygen.alias import Frame, frames
from tinygen.ir import Graph
from tinygen.memory import Buffer, MemoryPlan, Slot, aligned, plan_memory
from tinygen.select import Step


class Place(NamedTuple):
    """A byte of static memory: "arena", or "state", which keeps its content from one invocation to the next."""

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

    @property
    def state_bytes(self) -> int:
        """Size of the memory that keeps its content."""
        return max((aligned(slot.end) for slot in self.states), default=0)

    @property
    def ram_bytes(self) -> int:
        """Size of all static memory."""
        return self.plan.bytes + self.state_bytes


def lay_out(graph: Graph, steps: Sequence[Step]) -> Layout:
    """Plan the memory. Time counts in steps; a tensor lives from the step that writes it to the last that reads it.

    Inputs are written before step 0, outputs are read after the last. What shares memory is planned as one buffer.
    """
    found, aliased = frames(graph, steps)
    held = {_name(graph, frame): frame for frame in found}
    final = max(len(steps) - 1, 0)
    buffers = {
        name: Buffer(name, frame.bytes, max(frame.life.first, 0), min(max(frame.life.last, 0), final))
        for name, frame in held.items()
    }
    scratch = {
        index: Buffer(f"scratch of {step.node.name}", step.scratch, index, index)
        for index, step in enumerate(steps)
        if step.scratch
    }
    plan = plan_memory([*(buffers[name] for name, frame in held.items() if not frame.is_state), *scratch.values()])
    states = _in_a_row([buffers[name] for name, frame in held.items() if frame.is_state])
    places = {
        name: Place(memory, slot.offset + offset)
        for memory, slots in (("arena", plan.slots), ("state", states))
        for slot in slots
        if slot.buffer.name in held
        for name, offset in held[slot.buffer.name].offsets.items()
    }
    offsets = {slot.buffer: slot.offset for slot in plan.slots}
    own = {index: Place("arena", offsets[buffer]) for index, buffer in scratch.items()}
    return Layout(plan, states, MappingProxyType(places), MappingProxyType(dict(aliased)), MappingProxyType(own))


def _name(graph: Graph, frame: Frame) -> str:
    """The largest tensor of a frame, the first of them, stands for all."""
    return max(frame.offsets, key=lambda name: graph.tensors[name].bytes)


def _in_a_row(buffers: Sequence[Buffer]) -> tuple[Slot, ...]:
    slots = []
    offset = 0
    for buffer in buffers:
        slots.append(Slot(buffer, offset))
        offset = aligned(offset + buffer.bytes)
    return tuple(slots)
