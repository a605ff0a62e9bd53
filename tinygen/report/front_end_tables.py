"""A front end in figures, beside the model, for the terminal."""

from __future__ import annotations

from rich.table import Table

from tinygen.manifest import Manifest
from tinygen.part_sizes import PartSizes
from tinygen.report.tables import plain_table


def sizes_table(beside: PartSizes, content: Manifest) -> Table:
    """One row for each part of its memory and for each of its tables, and then the model."""
    table = plain_table("front end and detector", "RAM", "flash", right=("RAM", "flash"))
    for name, size in beside.ram.items():
        table.add_row(f"  {name}", f"{size:,}", "")
    for name, size in beside.tables.items():
        table.add_row(f"  table of {name.replace('_', ' ')}", "", f"{size:,}")
    table.add_row("  code, about", "", f"{beside.code_bytes:,}")
    table.add_row("together", f"{beside.ram_bytes:,}", f"{beside.flash_bytes:,}", style="bold")
    model = content.arena_bytes + content.scratch_bytes + content.state_bytes
    flash = sum(layer.estimate.flash for layer in content.layers)
    table.add_row("model, about", f"{model:,}", f"{flash:,}")
    return table
