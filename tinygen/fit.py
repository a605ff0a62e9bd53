"""Whether a model fits on a board, before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import DoesNotFit
from tinygen.library import Library
from tinygen.plan import Plan
from tinygen.project import RUNNER_FOOTPRINT
from tinygen.select import Step, flash_bytes
from tinygen.target import Board


@dataclass(frozen=True)
class FitReport:
    """Bytes needed and available; what is known before compiling, without the layers' own code."""

    ram_needed: int
    ram_available: int
    flash_needed: int
    flash_available: int
    peak: str
    """The step that sets the arena's size, in words."""
    ram_parts: Mapping[str, int]
    """What `ram_needed` is the sum of, by name."""
    flash_parts: Mapping[str, int]
    """The same of `flash_needed`."""
    code_expected: int
    """About what the layers' code comes to, on top of `flash_needed`."""


def room(board: Board) -> int:
    """Bytes of RAM that a board has for arena and states."""
    return board.ram_bytes - RUNNER_FOOTPRINT.ram_bytes - board.stack_bytes


def measure(library: Library, chosen: Plan, board: Board) -> FitReport:
    """What is needed, and what the board has."""
    ram = {
        "arena": library.arena_bytes,
        "state": library.state_bytes,
        "stack": board.stack_bytes,
        "runner": RUNNER_FOOTPRINT.ram_bytes,
    }
    flash = {"constants": library.const_bytes, "runner": RUNNER_FOOTPRINT.flash_bytes}
    data = sum(step.chosen.estimate.data for step in chosen.steps)
    return FitReport(
        ram_needed=sum(ram.values()),
        ram_available=board.ram_bytes,
        flash_needed=sum(flash.values()),
        flash_available=board.flash_bytes,
        peak=_peak(chosen),
        ram_parts=ram,
        flash_parts=flash,
        code_expected=flash_bytes(chosen.steps) - data,
    )


def fit(library: Library, chosen: Plan, board: Board, source: str) -> FitReport:
    """Compare needs and board. Raises DoesNotFit with what is needed, what there is, and where the peak is."""
    report = measure(library, chosen, board)
    reasons = []
    if report.ram_needed > report.ram_available:
        reasons.append(
            f"RAM: {report.ram_needed:,} bytes needed ({_sum(report.ram_parts)}), "
            f"{report.ram_available:,} there; the peak is {report.peak}"
        )
    if report.flash_needed > report.flash_available:
        reasons.append(
            f"flash: {report.flash_needed:,} bytes needed ({_sum(report.flash_parts)}; the layers' code comes on top), "
            f"{report.flash_available:,} there{_largest_layer(chosen.steps)}"
        )
    if reasons:
        raise DoesNotFit(
            f"{source} does not fit on {board.name}:\n" + "\n".join(f"  - {reason}" for reason in reasons),
            "Choose a board with more memory (tinygen boards), or a smaller model.",
        )
    return report


def _sum(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in parts.items())


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
