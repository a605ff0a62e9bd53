"""What boards answered, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tinygen.demonstration import Demonstration
from tinygen.ir import Array
from tinygen.manifest import Manifest
from tinygen.report.tables import plain_table
from tinygen.results import Result
from tinygen.session import Hello

_SHOWN_VALUES = 12


def run_table(results: Sequence[Result], labels: Array | None, manifest: Manifest) -> Table:
    """One row a sample: the largest element, and the values."""
    columns = [
        "sample",
        *(["label"] if labels is not None else []),
        "largest",
        "value",
        "ticks",
        *manifest_names(manifest),
    ]
    table = plain_table(*columns, right=("label", "largest", "value", "ticks"))
    for index, result in enumerate(results):
        best, value = result.best
        row = [result.sample]
        if labels is not None:
            row.append(str(labels[index]))
        row += [str(best), f"{value:.4g}", "-" if result.ticks is None else f"{result.ticks:,}"]
        row += [_values(values) for values in result.outputs.values()]
        table.add_row(*row)
    return table


def manifest_names(manifest: Manifest) -> list[str]:
    """Headings of the outputs."""
    return [f"{port.name} ({port.dtype})" for port in manifest.outputs]


def _values(values: Sequence[float]) -> str:
    shown = " ".join(f"{value:g}" for value in values[:_SHOWN_VALUES])
    return shown if len(values) <= _SHOWN_VALUES else f"{shown} … {len(values)} in all"


def footnote(stack: int | None, hello: Hello, user: str = "an invoke") -> str:
    """What the ticks are, and how much stack was used."""
    if hello.emulated_cycles:
        ticks = "Ticks are the processor's cycles, as the emulator counts them; they are not time."
    elif hello.emulated_ticks:
        ticks = "Ticks are the emulator's, in step with executed instructions; they are not time."
    elif hello.tick_hz:
        ticks = f"Ticks are of {hello.tick_hz / 1e6:g} MHz."
    else:
        ticks = "The board does not say how long its ticks are."
    return ticks + ("" if stack is None else f" Stack used by {user}: {stack:,} bytes.")


def demo_table(shown: Demonstration) -> Table:
    """The board's answers beside the reference's."""
    table = plain_table(
        "image", "is a", "board says", "reference says", "bytes", "ticks", right=("image", "is a", "ticks")
    )
    for row in shown.rows:
        equal = Text("equal", "green") if row.equal else Text("DIFFER", "bold red")
        board = f"{row.board[0]}  {row.board[1]:6.1%}"
        table.add_row(
            str(row.image),
            str(row.label),
            Text(board, "" if row.board[0] == row.label else "yellow"),
            f"{row.reference[0]}  {row.reference[1]:6.1%}",
            equal,
            "-" if row.ticks is None else f"{row.ticks:,}",
        )
    return table


def demo_verdict(shown: Demonstration) -> str:
    """One paragraph that a person understands."""
    total = len(shown.rows)
    equal = sum(row.equal for row in shown.rows)
    right = sum(row.board[0] == row.label for row in shown.rows)
    lines = [footnote(shown.stack_bytes, shown.hello), ""]
    if shown.success:
        lines.append(f"SUCCESS: {shown.board} answered {total} of {total} images with exactly the reference's bytes,")
        lines.append(f"and each of the {shown.layers} layers has the reference's checksum.")
        lines.append(
            f"{right} of these {total} digits are recognised; over all 360 held-out images the model is right on "
            f"{shown.accuracy:.1%}."
        )
    else:
        lines.append(f"FAILURE: {equal} of {total} answers equal the reference.")
        lines += [f"  {difference}" for difference in shown.differences[:5]]
    lines.append(f"Project: {shown.out} (read {shown.out}/lib/{shown.name}/src/{shown.name}.c).")
    return "\n".join(lines)
