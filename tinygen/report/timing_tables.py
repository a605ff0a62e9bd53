"""How long invokes took, for the terminal."""

from __future__ import annotations

import textwrap

from rich.table import Table

from tinygen.distribution import Distribution
from tinygen.manifest import Manifest
from tinygen.report.stack_text import stack_text
from tinygen.report.tables import plain_table
from tinygen.timing import Conditions, Timing

_WIDTH = 120
_FIGURES = ("minimum", "median", "99 %", "maximum")


def timing_table(timing: Timing, content: Manifest) -> Table:
    """Ticks of each layer run by itself, and of whole invokes; their time where ticks are time."""
    figures = _FIGURES if timing.ticks is None or timing.ticks.count > 1 else ("ticks",)
    table = plain_table("#", "operator", "kernel", "MACs", *figures, right=("#", "MACs", *figures))
    for layer, ticks in zip(content.layers, timing.layers, strict=True):
        table.add_row(str(layer.index), layer.op, layer.kernel, f"{layer.macs:,}", *_ticks(ticks, len(figures)))
    invoke = _ticks(timing.ticks, len(figures))
    table.add_row("", "invoke", "", f"{content.macs:,}", *invoke, style="bold")
    hertz = timing.conditions.tick_hz
    if hertz is not None and timing.ticks is not None:
        table.add_row("", "", "", "", *(f"{each / hertz * 1e3:.4g} ms" for each in _of(timing.ticks)[: len(figures)]))
    return table


def _of(found: Distribution) -> tuple[float, ...]:
    return found.minimum, found.median, found.p99, found.maximum


def _ticks(found: Distribution | None, columns: int) -> list[str]:
    if found is None:
        return ["too many to count", *[""] * (columns - 1)]
    return [f"{each:,.0f}" for each in _of(found)[:columns]]


def timing_notes(timing: Timing) -> str:
    """What a tick is, what was measured under which conditions, and the stack."""
    lines = [_ticks_text(timing), _conditions_text(timing.conditions), *map(stack_text, timing.stacks)]
    return "\n".join(textwrap.fill(line, _WIDTH, break_on_hyphens=False) for line in lines)


def _ticks_text(timing: Timing) -> str:
    found = timing.conditions
    if found.emulated and found.cycles:
        text = (
            "Ticks are the processor's cycles as the emulator counts them, those of interrupts among them; nothing was "
            "measured on a board."
        )
    elif found.emulated:
        text = "Ticks of an emulator: virtual time, which goes with instructions. They are no time of any board."
    elif found.tick_hz is None:
        text = "The board does not say how long its ticks are."
    else:
        text = f"Measured on {found.board} by its own counter, in ticks of {found.tick_hz / 1e6:g} MHz."
    if timing.ticks is not None and timing.ticks.count > 1:
        text += f" {timing.ticks.count:,} invokes, then as many runs of the layers one by one."
    if timing.result_ticks is not None:
        text += f" From samples to a result: {timing.result_ticks:,.0f} ticks."
    return text


def _conditions_text(found: Conditions) -> str:
    inputs = f"{found.inputs} random inputs" if found.inputs > 1 else "a random input"
    clock = "" if found.emulated or found.clock_hz is None else f" at {found.clock_hz / 1e6:g} MHz (as its file says)"
    flags = " ".join(flag for flag in found.cflags if flag.startswith("-O"))
    return (
        f"Conditions: {found.core}{clock}, built for {found.optimize}{f' with {flags}' if flags else ''}, "
        f"{inputs}, the first invoke included; {found.port}."
    )
