"""tinygen compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.errors import UsageError
from tinygen.goal import Goal
from tinygen.options import Options
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.quantize.images import Pictures


@click.command()
@click.argument("models", metavar="MODEL...", type=options.PATH, nargs=-1, required=True)
@options.DATA
@options.LABELLED
@options.pictures
@options.TRAINED_WITH
@click.option(
    "--board",
    "-b",
    "boards",
    multiple=True,
    default=(options.DEFAULT_BOARD,),
    show_default=True,
    help="A board's name, or a TOML file; several times for several boards.",
)
@options.OPTIMIZE
@options.PROFILE
@options.IO
@click.option("--out", "-o", type=options.PATH, help="A picture of the figures to write, .png.")
@options.FORCE
@options.JSON
def compare(
    models: tuple[Path, ...],
    data: Path,
    labels: str | None,
    pictures: Pictures,
    frontend: str | None,
    boards: tuple[str, ...],
    optimize: str,
    profile: str,
    io: str,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare int8 models: how good their answers are, and what an answer costs on each board.

    Answers are those of the generated C. Instructions and bytes are counted on emulated boards, and modelled for
    others. Models that cannot be built or do not fit are listed with the reason.

    \b
    tinygen compare small.tflite large.tflite --data test.npz
    tinygen compare a.tflite b.onnx --data test.npz --labels y --board microbit --board netduino2plus -o models.png
    """
    from tinygen import comparing, output
    from tinygen.quantize import Progress
    from tinygen.report import compare_picture
    from tinygen.report import compare_tables as tables

    if out is not None:
        if out.suffix.lower() != ".png":
            raise UsageError(f"{out} is not called .png", f"Name the picture -o {out.with_suffix('.png')}.")
        compare_picture.expect()
        output.expect_free(out, force)
    options.expect_images(pictures, frontend, data)
    wish = options.samples_of(data, labels, frontend, pictures, any_layout=True)
    with progress() as report:
        found = comparing.compare(
            models, boards, wish, Goal(optimize), Options(profile, io=io), Progress(report.stage, report.count)
        )
    is_drawn = out is not None and any(entry.costs is not None for entry in found)
    if out is not None and is_drawn:
        output.write_file(compare_picture.compare_picture(found), out, force)
    if as_json:
        show_json({"entries": plain(found), "picture": str(out) if is_drawn else None})
    else:
        show(tables.compare_table(found))
        show(f"\n{tables.compare_notes(found)}")
        if is_drawn:
            show(f"\nDrawn in {out}.")
    if not any(entry.costs is not None for entry in found):
        raise click.exceptions.Exit(1)
