"""Models and boards side by side, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tinygen.comparing import AGREEMENT, MODELLED, Entry
from tinygen.report.tables import plain_table

_RIGHT = ("instructions", "RAM", "flash")


def compare_table(entries: Sequence[Entry]) -> Table:
    """A row for each model on each board, those of a board together; those on the front are marked."""
    boards = list(dict.fromkeys(entry.board for entry in entries))
    kind = next((entry.score.kind for entry in entries if entry.score is not None), "accuracy")
    table = plain_table("board", "model", kind, *_RIGHT, "best", "", right=(kind, *_RIGHT), wide=["model"])
    for entry in sorted(entries, key=lambda entry: boards.index(entry.board)):
        costs = entry.costs
        figures = (costs.instructions, costs.ram_bytes, costs.flash_bytes) if costs is not None else (None,) * 3
        note = "not possible"
        if costs is not None:
            note = {entry.board: "", MODELLED: MODELLED}.get(costs.how, f"counted on {costs.how}")
        table.add_row(
            entry.board,
            Text(entry.model),
            "-" if entry.score is None else str(entry.score),
            *("-" if figure is None else f"{figure:,}" for figure in figures),
            Text("*", "bold green") if entry.is_on_front else "",
            Text(note, "red" if entry.refusal else ""),
        )
    return table


def compare_notes(entries: Sequence[Entry]) -> str:
    """What the columns are."""
    lines = []
    for entry in {(entry.model, entry.refusal): entry for entry in entries if entry.refusal}.values():
        same = [other.board for other in entries if (other.model, other.refusal) == (entry.model, entry.refusal)]
        lines.append(f"{entry.model} on {', '.join(same)}: {entry.refusal}")
    if lines:
        lines.append("")
    if not any(entry.costs is not None for entry in entries):
        return "\n".join(lines).rstrip()
    lines += ["* no other model on this board is at least as good in every column, and better in one."]
    lines.append(
        "Instructions of one invoke, and bytes of the model's library, linked and counted in an emulator of the core."
    )
    if any(entry.costs is not None and entry.costs.how == MODELLED for entry in entries):
        lines.append(
            "modelled: no board with this core is emulated, so that these are what the kernels are expected to come "
            "to; instructions are left out where not all kernels say them."
        )
    if any(entry.score is not None and entry.score.kind == AGREEMENT for entry in entries):
        lines.append("There are no labels: agreement is how often the answer is the first model's.")
    return "\n".join(lines)
