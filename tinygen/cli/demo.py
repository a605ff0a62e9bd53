"""tinygen demo."""

from __future__ import annotations

from pathlib import Path

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.errors import UsageError
from tinygen.report.plain import plain

_DIGITS, _KEYWORDS = "digits", "keywords"


@click.command()
@click.option(
    "--out",
    "-o",
    type=options.PATH,
    default=Path("tinygen-demo"),
    show_default=True,
    help="Folder for the demo's project; that of the keywords is made inside of it.",
)
@options.BOARD
@click.option("--example", type=click.Choice((_DIGITS, _KEYWORDS)), help="Only this one; by default all.")
@click.option(
    "--images", type=click.IntRange(1, 360), default=20, show_default=True, help="How many held-out images to send."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    help="How much of the conversation to send; by default all.",
)
@options.PLAY
@options.PORT
@options.JSON
def demo(
    out: Path,
    board: str,
    example: str | None,
    images: int,
    seconds: float | None,
    play: Path | None,
    port: str | None,
    as_json: bool,
) -> None:
    """Build, flash and run the shipped examples, and compare the board's answers with the reference.

    First images of digits, then a conversation, in which keywords are heard.

    \b
    tinygen demo
    tinygen demo --board netduino2plus --images 100
    tinygen demo --example keywords --play conversation.png
    """
    from tinygen import demonstration, word_demonstration
    from tinygen.report import answers, conversation_table

    if example == _DIGITS and play is not None:
        raise UsageError("--play is for the keyword example", "Leave --example out, or choose keywords.")
    shown: dict[str, object] = {}
    success = True
    if example != _KEYWORDS:
        with progress() as report:
            digits = demonstration.run(out, board, images, port, report.stage, report.line, report.count)
        shown[_DIGITS] = plain(digits) | {"success": digits.success}
        success = digits.success
        if not as_json:
            show(answers.demo_table(digits))
            show(f"\n{answers.demo_verdict(digits)}")
    if example != _DIGITS:
        if example is None and not as_json:
            show("")
        with progress() as report:
            heard = word_demonstration.run(
                out / _KEYWORDS, board, seconds, port, play, report.stage, report.line, report.count
            )
        shown[_KEYWORDS] = plain(heard) | {"success": heard.success}
        success = success and heard.success
        if not as_json:
            show(conversation_table.conversation_table(heard))
            show(f"\n{conversation_table.conversation_verdict(heard)}")
    if as_json:
        show_json(shown | {"success": success})
    if not success:
        raise click.exceptions.Exit(1)
