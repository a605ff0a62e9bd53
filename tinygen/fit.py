"""Whether a model fits on a board, before anything is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.errors import DoesNotFit
from tinygen.library import Library
from tinygen.placement import PARTS
from tinygen.plan import Plan, sizes_of
from tinygen.project import RUNNER_FOOTPRINT
from tinygen.select import Step
from tinygen.target import FLASH, RAM, Board


@dataclass(frozen=True)
class FitReport:
    """Bytes needed and available; what is known before compiling, without the layers' own code."""

    ram_needed: int
    ram_available: int
    flash_needed: int
    flash_available: int
    peak: str
    """The step that sets the arena's size, in words."""


def room(board: Board, places: Sequence[tuple[str, str]] = ()) -> int:
    """Bytes of RAM that a board has for arena and states, with the arena where it is placed."""
    wanted = dict(places).get("arena", RAM)
    rooms = {region.name: region.bytes for region in board.regions if region.kind == RAM}
    rooms[RAM] -= RUNNER_FOOTPRINT.ram_bytes + board.stack_bytes
    return rooms.get(wanted, max(rooms.values()))


def fit(library: Library, chosen: Plan, board: Board, source: str, places: Sequence[tuple[str, str]] = ()) -> FitReport:
    """Compare needs and board. Raises DoesNotFit with what is needed, what there is, and where the peak is."""
    homes = {part: dict(places).get(part, home) for part, home in PARTS.items()}
    sizes = {**sizes_of(chosen), "weights": library.const_bytes, "code": 0}
    needed = dict.fromkeys((region.name for region in board.regions), 0)
    for part, region in homes.items():
        needed[region] += sizes[part]
        if PARTS[part] == FLASH and _kind(board, region) == RAM:
            needed[FLASH] += sizes[part]  # it is copied from there
    report = FitReport(
        ram_needed=needed[RAM] + RUNNER_FOOTPRINT.ram_bytes + board.stack_bytes,
        ram_available=board.ram_bytes,
        flash_needed=needed[FLASH] + RUNNER_FOOTPRINT.flash_bytes,
        flash_available=board.flash_bytes,
        peak=_peak(chosen),
    )
    reasons = [
        f"{region.name}: {needed[region.name]:,} bytes needed "
        f"({' + '.join(part for part in PARTS if homes[part] == region.name)}), {region.bytes:,} there"
        for region in board.regions
        if region.name not in (FLASH, RAM) and needed[region.name] > region.bytes
    ]
    if report.ram_needed > report.ram_available:
        reasons.append(
            f"RAM: {report.ram_needed:,} bytes needed ({library.arena_bytes:,} arena, "
            f"{library.state_bytes:,} state, {board.stack_bytes:,} stack, "
            f"{RUNNER_FOOTPRINT.ram_bytes:,} runner), {report.ram_available:,} there; the peak is {report.peak}"
        )
    if report.flash_needed > report.flash_available:
        reasons.append(
            f"flash: {report.flash_needed:,} bytes needed ({library.const_bytes:,} constants, "
            f"{RUNNER_FOOTPRINT.flash_bytes:,} runner; the layers' code comes on top), "
            f"{report.flash_available:,} there{_largest_layer(chosen.steps)}"
        )
    if reasons:
        raise DoesNotFit(
            f"{source} does not fit on {board.name}:\n" + "\n".join(f"  - {reason}" for reason in reasons),
            "Choose a board with more memory (tinygen boards), or a smaller model.",
        )
    return report


def _kind(board: Board, name: str) -> str:
    return next(region.kind for region in board.regions if region.name == name)


def _peak(chosen: Plan) -> str:
    if not chosen.steps:
        return "the model's input and output"
    index = chosen.layout.plan.peak_step
    live = [slot.buffer for slot in chosen.layout.plan.slots if slot.buffer.first <= index <= slot.buffer.last]
    tensors = " + ".join(f"{buffer.bytes:,}" for buffer in sorted(live, key=lambda buffer: -buffer.bytes))
    node = chosen.steps[index].node
    return f"{node.name} {node.op.name}, {sum(buffer.bytes for buffer in live):,} bytes live ({tensors})"


def _largest_layer(steps: Sequence[Step]) -> str:
    sizes = [
        (sum(t.bytes for t in step.site.inputs if t.data is not None), f"{step.node.name} {step.node.op.name}")
        for step in steps
    ]
    if not sizes:
        return ""
    size, name = max(sizes)
    return f"; the largest layer is {name} with {size:,} bytes"
