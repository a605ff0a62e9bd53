"""The program of a group of rows: what can happen, as lines of C, and the table that says when it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array
from tinygen.kernel import Body
from tinygen.memory import ALIGNMENT
from tinygen.ops.common import INT32
from tinygen.row_schedule import Event, Kind
from tinygen.row_stages import RowStages, original
from tinygen.select import Step

LINES = "lines"
WORDS = "scratch"
"""The C names of the memory for line buffers, as bytes and as words."""

_HELPERS = {"pad": "fill_bytes", "copy": "move_bytes", "move_bytes": "move_bytes", "move_words": "move_words"}


@dataclass(frozen=True)
class Pointer:
    """Where rows begin: `offset` bytes after `base`, and `pitch` bytes for each row of a column of the schedule."""

    base: str
    offset: int
    pitch: int = 0
    column: int = 0


@dataclass(frozen=True)
class Action:
    """One of the things that happen in a group."""

    kind: str
    """ "run" and "copy", "pad", "move"."""
    part: int
    """The part that is called, or the line buffer's writer."""
    arguments: tuple[Pointer | str, ...]
    """Of a call: for each of the function's parameters where its rows are, or the constant's name. Else source, if
    there is one, and destination."""
    columns: int
    """Of the schedule that it takes."""
    pitch: int = 0
    """Bytes of a row, of which some are filled or moved."""
    count: str | int = 1
    value: int = 0
    """Of padding."""


def program(group: RowStages, lines: Mapping[str, int]) -> Body:
    """What the template needs, where the line buffers begin at these offsets.

    The schedule has, for each event, its action's number, and those of its rows that vary among the action's events.
    """
    events = _events(group)
    by_action: dict[tuple[Kind, int], list[Event]] = {}
    for event in events:
        by_action.setdefault((event.kind, event.stage), []).append(event)
    keys = sorted(by_action, key=lambda key: (key[1], [Kind.PAD, Kind.MOVE, Kind.RUN].index(key[0])))
    varying = {
        key: [i for i, rows in enumerate(zip(*(e.rows for e in by_action[key]), strict=True)) if len(set(rows)) > 1]
        for key in keys
    }
    actions = tuple(_action(group, lines, *key, by_action[key][0].rows, varying[key]) for key in keys)
    number = {key: index for index, key in enumerate(keys)}
    words = [
        [number[event.kind, event.stage], *(event.rows[i] for i in varying[event.kind, event.stage])]
        for event in events
    ]
    table = np.concatenate(words)
    constants = {"schedule": table.astype(np.uint8 if table.max() < 256 else np.uint16)}
    if group.is_fed:
        constants["starts"] = _starts(group, [len(each) for each in words])
    return Body(
        {"actions": actions, "steps": len(table), "memory": _memory_used(actions)},
        constants,
        helpers=frozenset(_HELPERS[action.kind] for action in actions if action.kind in _HELPERS),
    )


def _events(group: RowStages) -> tuple[Event, ...]:
    """What happens; where rows are fed, the one that is there is the input's first and only one."""
    if not group.is_fed:
        return group.schedule.events
    return tuple(
        dataclasses.replace(event, rows=(0, *event.rows[1:])) if _takes(group, event) else event
        for event in group.schedule.events
    )


def _takes(group: RowStages, event: Event) -> bool:
    """Whether a row of a group's input is copied."""
    return event.kind is Kind.RUN and event.stage < group.shift


def _starts(group: RowStages, sizes: Sequence[int]) -> Array:
    """For each row that is fed, and beyond the last: where in the schedule begins what can happen with it.

    `sizes`: how many of the schedule's numbers each event has.
    """
    at = np.concatenate(([0], np.cumsum(sizes)))
    taken = [int(at[index]) for index, event in enumerate(group.schedule.events) if _takes(group, event)]
    height = group.graph.tensors[group.graph.inputs[0]].shape[1]
    ends = [int(at[-1])] * (height + 1 - len(taken))
    return np.array([0, *taken[1:], *ends], np.uint16 if at[-1] < 1 << 16 else np.int32)


def _action(
    group: RowStages, lines: Mapping[str, int], kind: Kind, stage: int, rows: Sequence[int], varying: Sequence[int]
) -> Action:
    """What happens in all events of a kind and a stage; `rows` of the first one, and which of them vary."""

    def pointer(name: str, operand: int) -> Pointer:
        host, distance = group.host(name)
        base, offset = (LINES, lines[host]) if host in lines else (_parameters(group)[host], 0)
        pitch = group.pitch(host)
        if group.tensor(name).dtype == INT32:
            return Pointer(WORDS, (offset + distance + rows[operand] * pitch) // ALIGNMENT)
        if operand in varying:
            return Pointer(base, offset + distance, pitch, varying.index(operand))
        return Pointer(base, offset + distance + rows[operand] * pitch)

    part = stage - group.shift
    found = group.stages[stage]
    pitch = group.pitch(found.output)
    if kind is Kind.RUN:
        read = [pointer(name, index) for index, name in enumerate(found.inputs)]
        y = pointer(found.output, len(found.inputs))
        if part < 0:
            return Action("copy", part, (y, *read), len(varying), pitch)
        return Action("run", part, (*_passed(group.steps[part], read), y), len(varying))
    count: str | int = f"step[{varying.index(1)}]" if 1 in varying else rows[1]
    to = Pointer(LINES, lines[found.output])
    if kind is Kind.PAD and found.accumulates:
        return Action("pad", part, (to,), 0, pitch, count)
    if kind is Kind.PAD:
        value = _fill(group, found.output)
        return Action("pad", part, (pointer(found.output, 0),), len(varying), pitch, count, value)
    words = "move_words" if pitch % ALIGNMENT == 0 else "move_bytes"
    return Action(words, part, (to, pointer(found.output, 0)), len(varying), pitch, count)


def _parameters(group: RowStages) -> dict[str, str]:
    """The C names of the group's inputs and output."""
    inputs = group.graph.inputs
    names = ["x"] if len(inputs) == 1 else [f"x{index}" for index in range(len(inputs))]
    return {**dict(zip(inputs, names, strict=True)), group.graph.outputs[0]: "y"}


def _passed(step: Step, read: Sequence[Pointer]) -> Iterator[Pointer | str]:
    """The arguments of a call: rows, and the names of constants."""
    rows = iter(read)
    pointers = {index: next(rows) for index, x in enumerate(step.site.inputs) if x.data is None}
    for role, index in step.kernel.operands(step.site.inputs):
        yield pointers.get(index, role)


def _fill(group: RowStages, name: str) -> int:
    """The value of rows outside the image, which is the same to all that read them."""
    readers = zip(group.graph.nodes, group.forms, strict=True)
    return next(form.fill for node, form in readers if original(name) in node.inputs and form.pads)


def _memory_used(actions: Sequence[Action]) -> frozenset[str]:
    """The C names of memory that are used."""
    words = any(action.kind == "move_words" for action in actions)
    bases = {
        each.base
        for action in actions
        for each in action.arguments
        if isinstance(each, Pointer) and action.kind != "move_words"
    }
    used = bases & {LINES, WORDS}
    return frozenset(used | {WORDS} if used or words else ())
