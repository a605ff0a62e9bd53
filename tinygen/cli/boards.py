"""tinygen boards."""

from __future__ import annotations

import click

from tinygen.cli import options
from tinygen.cli.console import show, show_json
from tinygen.report.plain import plain


@click.command()
@options.JSON
def boards(as_json: bool) -> None:
    """List the boards that can be built for.

    A board is one TOML file; give the path of your own to `tinygen build --board`.
    """
    from tinygen.report import tables
    from tinygen.target import list_boards, load_board

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
