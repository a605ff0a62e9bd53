"""A way to compute a group of rows as one kernel: its memory, its program, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tinygen.choice import flash_bytes
from tinygen.estimate import Estimate, of_c
from tinygen.kernel import Kernel, ScratchOverlaps, Work
from tinygen.memory import ALIGNMENT
from tinygen.ops.row_group import RowGroup
from tinygen.row_memory import group_memory, spacings
from tinygen.row_program import program
from tinygen.row_schedule import Kind
from tinygen.row_stages import RowStages, original
from tinygen.select import Candidate, LineBuffer, Part
from tinygen.target import Core


def candidate(group: RowStages, core: Core) -> Candidate:
    """All of it, with the nodes' kernels as parts."""
    memory = group_memory(group)
    body = program(group, memory.lines)
    # A row that is fed lies anywhere, and is gone when the output's next rows are written.
    allowed = {} if group.is_fed else spacings(group)
    work = _work(group)
    kernel = Kernel(
        "row_group.rows",
        RowGroup,
        lambda site: body,
        parameters=("x",) if len(group.graph.inputs) == 1 else ("x*",),
        requires=frozenset[str]().union(*(step.kernel.requires for step in group.steps)),
        overlaps=lambda site: allowed,
        work=lambda site: work,
        scratch=lambda site: memory.bytes,
        scratch_overlaps=lambda site: ScratchOverlaps(output=memory.overlap),
    )
    parts = tuple(
        Part(step, stage.calls, offset)
        for step, stage, offset in zip(group.steps, group.stages[group.shift :], memory.own, strict=True)
    )
    data = sum(array.nbytes for array in body.constants.values())
    estimate = _estimate(group, work, data, memory.bytes, core)
    return Candidate(kernel, body, estimate, "", parts, tuple(_line_buffers(group, memory.lines)))


def _line_buffers(group: RowStages, offsets: Mapping[str, int]) -> Iterator[LineBuffer]:
    """What lies at these offsets; rows of inputs are copied before the first part needs them."""
    for name, line in group.schedule.lines.items():
        pitch = group.pitch(name)
        for use in line.uses:
            first, last = max(use.first - group.shift, 0), max(use.last - group.shift, 0)
            rows = use.stop - use.start
            yield LineBuffer(original(name), rows, offsets[name] + use.start * pitch, rows * pitch, first, last)


def _estimate(group: RowStages, work: Work, data: int, scratch: int, core: Core) -> Estimate:
    """Of the parts, and of what calls them."""
    glue = of_c(work, data, scratch, core.cost.cycles, core.features)
    estimates = [glue, *(step.chosen.estimate for step in group.steps)]
    return Estimate(
        _sum(estimate.instructions for estimate in estimates),
        _sum(estimate.cycles for estimate in estimates),
        glue.code + flash_bytes(group.steps) - sum(step.chosen.estimate.data for step in group.steps),
        sum(estimate.data for estimate in estimates),
        scratch,
        glue.width,
    )


def _work(group: RowStages) -> Work:
    """Of the loop over the events, and of what it does itself."""
    instructions = 10 * len(group.schedule.events)
    for event in group.schedule.events:
        pitch = group.pitch(group.stages[event.stage].output)
        if event.kind is not Kind.RUN:
            per_byte = 0.8 if event.kind is Kind.MOVE and pitch % ALIGNMENT == 0 else 4
            instructions += round(per_byte * event.rows[1] * pitch) + 10
        elif event.stage < group.shift:
            instructions += 4 * pitch + 10 + (30 if group.is_fed else 0)
    return Work(instructions, 60 + 20 * len(group.stages) + 24 * len(group.schedule.lines))


def _sum(values: Iterator[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
