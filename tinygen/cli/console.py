"""What the command line prints: to people, or as JSON."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table

from tinygen.report.progress import Report, progress_on

_PLAIN_WIDTH = 160
_UNLIMITED = 10_000
_BETWEEN_COLUMNS = 2


def show(what: RenderableType) -> None:
    """Print to the standard output: text as it is, or a table."""
    console = _stdout()
    if isinstance(what, str):
        console.print(what, markup=False, soft_wrap=True)
        return
    if isinstance(what, Table):
        console = _stdout(_width(console, what))
    with console.capture() as capture:
        console.print(what)
    # Without the blanks that tables end their lines with.
    sys.stdout.writelines(line.rstrip() + "\n" for line in capture.get().splitlines())


def show_json(value: object) -> None:
    """Print one JSON value to the standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def progress() -> AbstractContextManager[Report]:
    """What is being done, on the standard error."""
    return progress_on(_stderr())


def show_error(message: str, remedy: str, as_json: bool, kind: str) -> None:
    """Print what went wrong, and what to do about it."""
    if as_json:
        show_json({"error": {"kind": kind, "message": message, "remedy": remedy}})
        return
    console = _stderr()
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False, highlight=False, soft_wrap=True)
    if remedy:
        console.print(remedy, markup=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print to people what is not the answer: to the standard error."""
    _stderr().print(text, markup=False, highlight=False, soft_wrap=True)


def show_interrupted() -> None:
    """Print that the user ended it."""
    _stderr().print("\nInterrupted.")


_LEAST_WRAPPED = 12
"""Characters in a line of a column that wraps."""


def _width(console: Console, table: Table) -> int:
    """That of the screen, if nothing has to be cut; else that of the table: its lines wrap where the screen ends.

    A number that is cut would be another one.
    """
    whole = console.options.update(width=_UNLIMITED)
    least = widest = 0
    for column in table.columns:
        shown = [*([column.header] if table.show_header else []), *column.cells]
        needed = max((Measurement.get(console, whole, cell).maximum for cell in shown), default=0) + _BETWEEN_COLUMNS
        widest += needed
        least += needed if column.no_wrap else min(needed, _LEAST_WRAPPED)
    return console.width if least <= console.width + _BETWEEN_COLUMNS else widest


def _stdout(width: int | None = None) -> Console:
    plain = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(width=width or plain, highlight=False)


def _stderr() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH, highlight=False)
