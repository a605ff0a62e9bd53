"""tinygen boards."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from tinygen.cli import options
from tinygen.cli.console import show, show_json
from tinygen.errors import UsageError
from tinygen.report.plain import plain


@click.command()
@click.option(
    "--add", metavar="ID|FILE.json", help="Write a board file from PlatformIO's board of that id, or its JSON file."
)
@click.option("--out", "-o", type=options.PATH, help="For --add: the file to write; by default ID.toml, here.")
@click.option(
    "--platform", metavar="NAME@VERSION", help="For --add: PlatformIO's platform, where the file does not say."
)
@options.JSON
def boards(add: str | None, out: Path | None, platform: str | None, as_json: bool) -> None:
    """List the boards that can be built for, or add one.

    A board is one TOML file; give the path of your own to `tinygen build --board`.

    \b
    tinygen boards
    tinygen boards --add nucleo_l432kc
    tinygen boards --add path/to/board.json --platform ststm32@19.6.0 -o mine.toml
    """
    from tinygen.report import tables
    from tinygen.target import list_boards, load_board

    if add is not None:
        _add(add, out, platform, as_json)
        return
    if out is not None or platform is not None:
        raise UsageError("--out and --platform are for --add", "Add --add ID, or leave them out.")
    known = [load_board(name) for name in list_boards()]
    if as_json:
        show_json({"boards": plain(known)})
        return
    show(tables.boards_table(known))
    notes: dict[str, list[str]] = {}
    for board in known:
        if board.notes:
            notes.setdefault(board.notes, []).append(board.name)
    for note, names in notes.items():
        show(f"\n{', '.join(names)}: {note}")
    show(
        "\nTried: emulated boards run in the tests. Of compiled ones, the runner was compiled for the core, with a "
        "stand-in for the framework, and never ran. Hardware did; with never, nothing was done."
    )


def _add(add: str, out: Path | None, platform: str | None, as_json: bool) -> None:
    from tinygen.add_board import add_board

    path, board = add_board(add, out, platform)
    if as_json:
        show_json({"file": str(path), "board": plain(board)})
        return
    show(f"Written {path}: {board.title}, {board.core}. Look through it.")
    show(f"Next: tinygen build MODEL --board {shlex.quote(str(path))} -o out")
