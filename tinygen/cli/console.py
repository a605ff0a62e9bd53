"""What the command line prints: to people, or as JSON."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager

from rich.console import Console, RenderableType

from tinygen.report.progress import Report, progress_on

_PLAIN_WIDTH = 160


def show(what: RenderableType) -> None:
    """Print to the standard output: text as it is, or a table."""
    console = _stdout()
    if isinstance(what, str):
        console.print(what, markup=False, soft_wrap=True)
    elif console.is_terminal:
        console.print(what)
    else:  # without the blanks that tables end their lines with
        with console.capture() as capture:
            console.print(what)
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


def _stdout() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)


def _stderr() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH, highlight=False)
