"""The memory of a group of rows: where line buffers and kernels' own memory lie, and what may lie upon each other.

The output's last rows may lie upon what is not needed any more when they are written, as lines of the first layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.access import Order, Spacing, spacing
from tinygen.ir import Array
from tinygen.memory import Buffer, Part, plan_memory, step_bytes
from tinygen.packing import EFFORT
from tinygen.row_schedule import Event, Kind, Line
from tinygen.row_stages import RowStages

_EFFORT = EFFORT // 40
"""For the plan of one way to compute a group: there are many."""


@dataclass(frozen=True)
class GroupMemory:
    """A plan of the memory; offsets are in bytes from its beginning."""

    bytes: int
    lines: Mapping[str, int]
    """Offsets of the line buffers, by the tensors whose rows they hold."""
    own: tuple[int, ...]
    """For each node the offset of its kernel's memory; 0 where that needs none."""
    overlap: Spacing
    """How it may overlap the output, as if it were an input."""


def group_memory(group: RowStages) -> GroupMemory:
    """The plan of line buffers and kernels' memory; its time counts in stages."""
    lines = {name: _line_buffer(name, line, group.pitch(name)) for name, line in group.schedule.lines.items()}
    own = [Buffer(_own(index), step.scratch, index, index) for index, step in enumerate(group.steps, start=group.shift)]
    plan = plan_memory([*lines.values(), *(buffer for buffer in own if buffer.bytes)], effort=_EFFORT)
    offsets = {slot.buffer.name: slot.offset for slot in plan.slots}
    ends = {slot.buffer.name: slot.end for slot in plan.slots}
    used = np.zeros((len(group.schedule.events), 2), np.int64)
    for at, event in enumerate(group.schedule.events):
        names = [name for name in _used(group, event) if name in offsets]
        if names:
            used[at] = min(offsets[name] for name in names), max(ends[name] for name in names)
    order = _order(used, _written(group, group.schedule.events))
    return GroupMemory(
        plan.bytes,
        {name: offsets[name] for name in lines},
        tuple(offsets.get(buffer.name, 0) for buffer in own),
        spacing(order),
    )


def spacings(group: RowStages) -> dict[int, Spacing]:
    """How the output may overlap each input, from the order of the calls."""
    inputs = group.graph.inputs
    calls = [event for event in group.schedule.events if event.kind is Kind.RUN]
    reads = np.zeros((len(inputs), len(calls), 2), np.int64)
    pitches = {name: group.pitch(name) for name in inputs}
    for at, event in enumerate(calls):
        stage = group.stages[event.stage]
        for name, row in zip(stage.inputs, event.rows, strict=False):
            if name in pitches:
                reads[inputs.index(name), at] = row * pitches[name], (row + stage.taps) * pitches[name]
    written = _written(group, calls)
    return {index: spacing(_order(these, written)) for index, these in enumerate(reads)}


def end_bytes(group: RowStages) -> int:
    """What input and output need at least, overlapping as they may; what is outside needs nothing."""
    graph = group.graph
    own = (name for name in graph.inputs if name not in graph.outside)
    inputs = [Buffer(name, graph.tensors[name].bytes, 0, 0) for name in own]
    (output,) = graph.outputs
    y = Buffer(output, graph.tensors[output].bytes, 0, 0)
    return step_bytes([*inputs, y], {(graph.inputs[index], output): each for index, each in spacings(group).items()})


def lines_beside(group: RowStages) -> list[int]:
    """For each node the bytes in line buffers that are in use while its kernel is called."""
    found = [0] * len(group.stages)
    for name, line in group.schedule.lines.items():
        for use in line.uses:
            for stage in range(use.first, use.last + 1):
                found[stage] += (use.stop - use.start) * group.pitch(name)
    return found[group.shift :]


def _written(group: RowStages, events: Sequence[Event]) -> Array:
    """For each event the bytes of the output that it writes: from, and to before."""
    (output,) = group.graph.outputs
    pitch = group.pitch(output)
    is_there = [group.host(stage.output)[0] == output for stage in group.stages]
    found = np.zeros((len(events), 2), np.int64)
    for at, event in enumerate(events):
        if event.kind is Kind.RUN and is_there[event.stage]:
            row = event.rows[-1]
            # What lies in the output's rows is less than whole rows.
            found[at] = row * pitch, (row + group.stages[event.stage].rows) * pitch
    return found


def _order(reads: Array, writes: Array) -> Order:
    return Order(reads[:, 0], reads[:, 1], writes[:, 0], writes[:, 1], buffered=False)


def _used(group: RowStages, event: Event) -> list[str]:
    """The buffers that an event reads or writes, by name."""
    stage = group.stages[event.stage]
    names = [stage.output]
    if event.kind is Kind.RUN:
        names += stage.inputs
    return [*(group.host(name)[0] for name in names), *([_own(event.stage)] if event.kind is Kind.RUN else [])]


def _own(stage: int) -> str:
    """What the memory is called that a stage's kernel wants for itself."""
    return f"scratch {stage}"


def _line_buffer(name: str, line: Line, pitch: int) -> Buffer:
    """A line buffer, of which rows are in use at different times."""
    parts = tuple(
        Part(f"{name} {index}", use.start * pitch, (use.stop - use.start) * pitch, use.first, use.last)
        for index, use in enumerate(line.uses)
    )
    first, last = min(use.first for use in line.uses), max(use.last for use in line.uses)
    return Buffer(name, line.rows * pitch, first, last, parts)
