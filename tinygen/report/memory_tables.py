"""Memory for the terminal: layer by layer, what would save how much, and what the board has."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from tinygen.fit import FitReport
from tinygen.memory_map import MemoryMap
from tinygen.memory_report import MemoryReport
from tinygen.report.memory_text import holds_text
from tinygen.report.tables import plain_table
from tinygen.savings import Figures


def layers_table(memory: MemoryMap) -> Table:
    """One row a layer: the arena's bytes in use while it runs, and what they hold."""
    table = plain_table("#", "operator", "output", "arena", "", "holds", right=("#", "arena"), wide=["holds"])
    for index, layer in enumerate(memory.layers):
        is_peak = index == memory.peak
        table.add_row(
            str(index),
            layer.operator,
            layer.output,
            f"{layer.used:,}",
            "peak" if is_peak else "",
            holds_text(memory, index),
            style="bold red" if is_peak else "",
        )
    return table


def bound_text(memory: MemoryMap) -> str:
    """The arena beside what no plan can go below, and beside what it takes where nothing is shared."""
    gap = memory.arena_bytes - memory.lower_bound
    least = (
        "with these kernels no plan needs less"
        if gap == 0
        else f"with these kernels no plan needs less than {memory.lower_bound:,}: {gap:,} bytes may be left to gain"
    )
    saved = memory.disjoint_bytes - memory.arena_bytes
    shared = f" Sharing bytes between inputs and outputs saves {saved:,} of {memory.disjoint_bytes:,}." if saved else ""
    state = f" States take {memory.state_bytes:,} bytes more." if memory.state_bytes else ""
    if memory.front_end_bytes:
        state += f" The front end takes {memory.front_end_bytes:,} more."
    return f"Arena: {memory.arena_bytes:,} bytes; {least}.{shared}{state}"


def savings_table(report: MemoryReport) -> Table:
    """What a user can do about RAM, and what each comes to in RAM, time and flash."""
    table = plain_table(
        "to save RAM",
        "RAM",
        "saved",
        "instructions",
        "flash",
        right=("RAM", "saved", "instructions", "flash"),
        wide=["to save RAM"],
    )
    now = report.figures
    table.add_row("as it is", f"{now.ram_bytes:,}", "", *_costs(now, now))
    for saving in report.savings:
        found = saving.figures
        table.add_row(
            Text(saving.words), f"{found.ram_bytes:,}", f"{now.ram_bytes - found.ram_bytes:,}", *_costs(found, now)
        )
    return table


def _costs(found: Figures, now: Figures) -> tuple[str, str]:
    if found is now:
        instructions = f"{now.instructions:,}" if now.instructions else "-"
    elif found.unknown == now.unknown and now.instructions:
        instructions = f"{found.instructions / now.instructions - 1:+.1%}"
    else:
        instructions = "-"
    return instructions, f"{found.flash_bytes:,}"


def fit_table(fit: FitReport, board: str) -> Table:
    """Each region: what is needed, what the board has, and what is left."""
    table = plain_table(board, "needed", "limit", "left", right=("needed", "limit", "left"))
    for need in fit.regions:
        parts = {**need.parts, "code, about": need.code_expected}
        left = need.available - sum(parts.values())
        shown = f"{left:,}" if left >= 0 else f"{-left:,} too few"
        style = "bold" if left >= 0 else "bold red"
        table.add_row(need.region, f"{sum(parts.values()):,}", f"{need.available:,}", shown, style=style)
        for name, count in parts.items():
            if count:
                table.add_row(f"  {name}", f"{count:,}", "", "")
    return table
