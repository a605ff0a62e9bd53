"""From kernels to buffers: which tensors need memory, from when to when, and which share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.ir import Graph
from tinygen.memory import Buffer, MemoryPlan, plan_memory
from tinygen.select import Step


@dataclass(frozen=True)
class Layout:
    """The memory plan, and the offset of every tensor that lives in the arena, views included."""

    plan: MemoryPlan
    offsets: Mapping[str, int]


def lay_out(graph: Graph, steps: Sequence[Step]) -> Layout:
    """Plan the arena. Time counts in steps; a tensor lives from the step that writes it to the last that reads it.

    Inputs are written before step 0, outputs are read after the last. A view lives in the memory of what it views.
    """
    owner = _owners(graph, steps)
    first: dict[str, int] = {owner[name]: 0 for name in graph.inputs}
    last: dict[str, int] = dict(first)
    for index, step in enumerate(steps):
        for name in step.node.inputs:
            if graph.tensors[name].data is None:
                last[owner[name]] = index
        for name in step.node.outputs:
            first.setdefault(owner[name], index)
            last[owner[name]] = max(last.get(owner[name], 0), index)
    for name in graph.outputs:
        last[owner[name]] = max(len(steps) - 1, 0)
    buffers = [Buffer(name, graph.tensors[name].bytes, start, last[name]) for name, start in first.items()]
    plan = plan_memory(buffers)
    offsets = {slot.buffer.name: slot.offset for slot in plan.slots}
    return Layout(plan, MappingProxyType({name: offsets[held] for name, held in owner.items()}))


def _owners(graph: Graph, steps: Sequence[Step]) -> dict[str, str]:
    owner = {name: name for name in graph.inputs}
    for step in steps:
        for name in step.node.outputs:
            owner[name] = owner[step.node.inputs[0]] if step.kernel.views else name
    return owner
