"""tinygen demo."""

from __future__ import annotations

from pathlib import Path

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.report.plain import plain


@click.command()
@click.option(
    "--out",
    "-o",
    type=options.PATH,
    default=Path("tinygen-demo"),
    show_default=True,
    help="Folder for the demo's project.",
)
@options.BOARD
@click.option(
    "--images", type=click.IntRange(1, 360), default=20, show_default=True, help="How many held-out images to send."
)
@options.PORT
@options.JSON
def demo(out: Path, board: str, images: int, port: str | None, as_json: bool) -> None:
    """Build, flash and run the shipped digits model, and compare the board's answers with the reference.

    \b
    tinygen demo
    tinygen demo --board netduino2plus --images 100
    """
    from tinygen import demonstration
    from tinygen.report import answers

    with progress() as report:
        shown = demonstration.run(out, board, images, port, report.stage, report.line, report.count)
    if as_json:
        show_json(plain(shown) | {"success": shown.success})
    else:
        show(answers.demo_table(shown))
        show(f"\n{answers.demo_verdict(shown)}")
    if not shown.success:
        raise click.exceptions.Exit(1)
