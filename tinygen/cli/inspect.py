"""tinygen inspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.cli import options
from tinygen.cli.console import show, show_json
from tinygen.errors import UnsupportedModel, UsageError
from tinygen.goal import Goal
from tinygen.interface import Interface
from tinygen.options import Options
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.listening.hearing import Hearing
    from tinygen.pipeline import Model


@click.command()
@options.MODEL
@options.BOARD
@options.PROFILE
@options.IO
@options.LAYOUT
@options.BATCH
@options.STREAMING
@options.TIME_AXIS
@options.OPTIMIZE
@options.PLACE
@options.HOT
@options.KERNEL
@options.ARENA
@options.INPUT
@options.OUTPUT
@options.INPUT_ROWS
@options.FRONT_END
@options.HOP
@options.DETECTOR
@options.LABELS
@click.option("--proofs", is_flag=True, help="Show which cheaper arithmetic was proved to give the profile's results.")
@click.option(
    "--memory", is_flag=True, help="Show what RAM holds layer by layer, what would save some, and the board's."
)
@click.option("--out", "-o", type=options.PATH, metavar="FILE.svg", help="With --memory: draw it, too, as a picture.")
@options.JSON
def inspect(
    model: Path,
    board: str,
    profile: str,
    io: str,
    layout: str,
    batch: int | None,
    streaming: int | None,
    time_axis: int | None,
    optimize: str,
    places: tuple[str, ...],
    hot: str,
    kernels: tuple[str, ...],
    arena: str,
    input_memory: str,
    output_memory: str,
    input_rows: bool,
    frontend: str | None,
    hop: int | None,
    detector: str | None,
    labels: str | None,
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
    from tinygen.placement import parsed
    from tinygen.report import front_end_tables, tables

    if out is not None and not memory:
        raise UsageError("-o names the file for the picture of --memory", "Add --memory, or leave -o away.")
    if memory and proofs:
        raise UsageError("--memory and --proofs show different things", "Ask for one of them.")
    goal = Goal(optimize, places=parsed(places), prefer=frozenset(kernels), hot=hot)
    interface = options.interface_of(arena, input_memory, output_memory, input_rows)
    hearing = options.hearing_of(frontend, hop, detector, labels)
    try:
        read = pipeline.read(model, Options(profile, batch, io, layout, options.streaming_of(streaming, time_axis)))
        if memory:
            _inspect_memory(read, board, goal, interface, hearing, out, as_json)
            return
        built = pipeline.build(read, board, goal=goal, interface=interface, hearing=hearing)
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
        show_json({"supported": True, **shown, "beside": plain(built.beside) if hearing is not None else None})
        return
    if proofs:
        show(tables.proofs_table(built.manifest.layers))
        show(f"\n{tables.PROOFS_EXPLAINED}")
        return
    show(tables.layer_table(built.manifest.layers))
    if hearing is not None:
        show("")
        show(front_end_tables.sizes_table(built.beside, built.manifest))
    show("")
    show(tables.build_table(built))


def _inspect_memory(
    model: Model,
    board: str,
    goal: Goal,
    interface: Interface,
    hearing: Hearing | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from tinygen import memory_report, output
    from tinygen.report import memory_tables

    if out is not None:
        output.expect_replaceable(out)
    found = memory_report.memory_report(model, board, goal, interface, hearing)
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
