"""What an invoke cost, for the terminal."""

from __future__ import annotations

import textwrap

from rich.table import Table
from rich.text import Text

from tinygen.bench import Count, LayerCount
from tinygen.counting.attribution import Figures
from tinygen.report.stack_text import bound_text
from tinygen.report.tables import plain_table

_WIDTH = 120
_FIGURES = ("instructions", "/MAC", "loads", "stores", "multiplies", "taken", "cycles*", "flash")
_ESTIMATES = ("estimate", "off")


def count_table(count: Count) -> Table:
    """One row a layer, then the invoke around them, and the total."""
    estimated = any(layer.estimate.instructions is not None for layer in count.layers)
    figures = (*_FIGURES, *(_ESTIMATES if estimated else ()))
    table = plain_table("#", "operator", "kernel", "MACs", *figures, right=("#", "MACs", *figures))
    for layer in count.layers:
        row = [str(layer.index), layer.op, layer.kernel.partition(".")[2] or layer.kernel, f"{layer.macs:,}"]
        row += _figures(layer.figures, layer.instructions_per_mac)
        row.append(f"{layer.code_bytes + layer.const_bytes:,}")
        table.add_row(*row, *(_estimate(layer) if estimated else ()))
    table.add_row("", "invoke itself", "", "", *_figures(count.between, None), f"{count.flash.rest:,}")
    for item in (*count.flash.shared, *count.flash.borrowed):
        users = f"layers {', '.join(map(str, item.layers))}" if item.layers else ""
        blank = [""] * (len(_FIGURES) - 1)
        table.add_row("", Text(item.name), users, "", *blank, f"{item.bytes:,}")
    total = [*_figures(count.total, count.instructions_per_mac), f"{count.flash_bytes:,}"]
    table.add_row("", "total", "", f"{count.macs:,}", *total, style="bold")
    return table


def _figures(figures: Figures, per_mac: float | None) -> list[str]:
    return [
        f"{figures.instructions:,}",
        "" if per_mac is None else f"{per_mac:.3f}",
        *(f"{number:,}" for number in (figures.loads, figures.stores, figures.multiplies, figures.taken_branches)),
        f"{figures.cycles:,.0f}",
    ]


def _estimate(layer: LayerCount) -> tuple[str, str]:
    expected = layer.estimate.instructions
    if expected is None:
        return "-", ""
    return f"{expected:,}", f"{expected / layer.figures.instructions - 1:+.1%}"


def count_notes(count: Count) -> str:
    """Memory, and what the cycles are worth."""
    borrowed = sum(item.bytes for item in count.flash.borrowed)
    memory = (
        f"Library: {count.flash_bytes:,} bytes of flash"
        + (f", and {borrowed:,} of the compiler's libraries" if borrowed else "")
        + f"; {count.ram_bytes:,} bytes of static RAM. Stack below the invoke's caller: {count.stack_bytes:,} bytes, "
        + f"{bound_text(count.stack_bound)}."
        + (f" Of taking samples: {bound_text(count.feed_stack_bound)}." if count.feed_stack_bound else "")
    )
    assumed = "; ".join(count.cost.assumptions)
    cycles = f"* modelled, never measured. Source: {count.cost.source}. Assumed: {assumed}."
    lines = [memory, cycles]
    if count.result_instructions is not None:
        before = count.result_instructions - count.total.instructions
        result = (
            f"From samples to a result: about {count.result_instructions:,} instructions, {before:,} of them before"
        )
        lines.insert(0, f"{result} the invoke.")
    return "\n".join(textwrap.fill(line, _WIDTH, break_on_hyphens=False) for line in lines)
