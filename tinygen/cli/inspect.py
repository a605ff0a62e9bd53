"""tinygen inspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.cli import options
from tinygen.cli.console import show, show_json
from tinygen.cli.wish import Wish, wish_options
from tinygen.errors import UnsupportedModel, UsageError
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.pipeline import Model


@click.command()
@options.MODEL
@wish_options
@click.option("--proofs", is_flag=True, help="Show which cheaper arithmetic was proved to give the profile's results.")
@click.option(
    "--memory", is_flag=True, help="Show what RAM holds layer by layer, what would save some, and the board's."
)
@click.option("--out", "-o", type=options.PATH, metavar="FILE.svg", help="With --memory: draw it, too, as a picture.")
@options.JSON
def inspect(
    model: Path,
    wish: Wish,
    proofs: bool,
    memory: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show a model's graph, shapes, MACs and sizes, and what in it cannot be built and why.

    The exit code is 1 when something cannot be built.

    \b
    tinygen inspect kws.tflite
    tinygen inspect kws.tflite --proofs
    tinygen inspect wakeword.tflite --streaming
    tinygen inspect wakeword.tflite --frontend micro
    tinygen inspect kws.tflite --memory -o memory.svg
    tinygen inspect kws.tflite --json
    """
    from tinygen import pipeline
    from tinygen.report import front_end_tables, tables

    if out is not None and not memory:
        raise UsageError("-o names the file for the picture of --memory", "Add --memory, or leave -o away.")
    if memory and proofs:
        raise UsageError("--memory and --proofs show different things", "Ask for one of them.")
    try:
        read = pipeline.read(model, wish.reading)
        if memory:
            _inspect_memory(read, wish, out, as_json)
            return
        built = pipeline.build(read, wish.board, None, wish.goal, wish.interface, wish.hearing)
    except UnsupportedModel as unsupported:
        rows = pipeline.outline(model)
        if as_json:
            show_json({"supported": False, "nodes": plain(rows), "problems": plain(unsupported.problems)})
        else:
            show(tables.outline_table(rows, unsupported.problems))
            show(f"\n{unsupported}")
        raise click.exceptions.Exit(1) from None
    if as_json:
        shown = {"manifest": json.loads(built.manifest.to_json()), "fit": plain(built.fit)}
        show_json({"supported": True, **shown, "beside": plain(built.beside) if wish.hearing is not None else None})
        return
    if proofs:
        show(tables.proofs_table(built.manifest.layers))
        show(f"\n{tables.PROOFS_EXPLAINED}")
        return
    show(tables.layer_table(built.manifest.layers))
    if wish.hearing is not None:
        show("")
        show(front_end_tables.sizes_table(built.beside, built.manifest))
    show("")
    show(tables.build_table(built))


def _inspect_memory(model: Model, wish: Wish, out: Path | None, as_json: bool) -> None:
    from tinygen import memory_report, output
    from tinygen.report import memory_tables

    if out is not None:
        output.expect_replaceable(out)
    found = memory_report.memory_report(model, wish.board, wish.goal, wish.interface, wish.hearing)
    if out is not None:
        output.write_sealed(found.picture, out)
    if as_json:
        shown = {"memory": found.memory, "now": found.figures, "savings": found.savings, "fit": found.fit}
        show_json({**plain(shown), "fits": found.refusal is None, "picture": None if out is None else str(out)})
        if found.refusal is not None:
            raise click.exceptions.Exit(1)
        return
    show(memory_tables.layers_table(found.memory))
    show(f"\n{memory_tables.bound_text(found.memory)}\n")
    show(memory_tables.savings_table(found))
    show("")
    show(memory_tables.fit_table(found.fit, found.board))
    if out is not None:
        show(f"\nDrawn in {out}.")
    if found.refusal is not None:
        raise found.refusal
