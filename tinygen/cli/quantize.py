"""tinygen quantize."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.errors import UsageError

if TYPE_CHECKING:
    from tinygen.quantize.images import Pictures


@click.command()
@options.MODEL
@options.DATA
@options.LABELLED
@click.option("--test", type=options.PATH, help="Other samples to compare with, labelled as --labels says.")
@click.option("--out", "-o", required=True, type=options.PATH, help="File to write, .tflite or .onnx like the source.")
@options.FORCE
@click.option(
    "--samples",
    type=click.IntRange(10),
    default=300,
    show_default=True,
    help="How many of the samples set the ranges; all are compared.",
)
@click.option(
    "--int8-edges",
    is_flag=True,
    help="For ONNX: inputs and outputs of the file are int8, too, as those of .tflite files are. Else build --io int8 "
    "leaves the float32 ones out.",
)
@click.option(
    "--int16",
    multiple=True,
    metavar="LAYER",
    help="For .tflite: a layer whose inputs and outputs are int16, between QUANTIZE operators; several times for more.",
)
@click.option(
    "--percentile",
    type=click.FloatRange(50, 100, min_open=True, max_open=True),
    help="For ONNX: how many of a hundred values the range of an activation holds, as 99.99; by default all of them.",
)
@options.pictures
@options.TRAINED_WITH
@options.BOARD
@click.option("--layers", "whole", is_flag=True, help="Show all layers, not only those that add most noise.")
@options.JSON
def quantize(
    model: Path,
    data: Path,
    labels: str | None,
    test: Path | None,
    out: Path,
    force: bool,
    samples: int,
    int8_edges: bool,
    int16: tuple[str, ...],
    percentile: float | None,
    pictures: Pictures,
    frontend: str | None,
    board: str,
    whole: bool,
    as_json: bool,
) -> None:
    """Quantise a float model to int8, and show what that costs, as a whole and layer by layer.

    Keras models, SavedModels and float .tflite files become .tflite, float .onnx files .onnx.

    \b
    tinygen quantize kws.keras --data samples.npz -o kws.tflite
    tinygen quantize digits.onnx --data train.npz --test test.npz --labels y -o digits_int8.onnx
    tinygen quantize vww.h5 --data photos --labels folders --pixels -1,1 -o vww.tflite
    tinygen quantize net.onnx --data photos --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o net_int8.onnx
    tinygen quantize kws.tflite --data speech --labels folders --frontend micro -o kws_int8.tflite
    """
    from tinygen import output
    from tinygen.quantize import Choices, Progress, quantise
    from tinygen.quantize.quantising import expect_source
    from tinygen.report import quantize_tables as tables
    from tinygen.target import load_board

    expect_source(model, out)
    if out.exists() and out.samefile(model):
        raise UsageError(f"{out} is the model itself", "Choose another file with -o.")
    output.expect_free(out, force)
    load_board(board)
    options.expect_images(pictures, frontend, data, *([] if test is None else [test]))
    wish = options.samples_of(data, None if test is not None else labels, frontend, pictures)
    other = None if test is None else replace(wish, path=test, labels=labels)
    with progress() as report:
        made = quantise(
            model,
            wish,
            out,
            board,
            samples,
            other,
            Choices(int8_edges, int16, percentile),
            Progress(report.stage, report.count),
        )
    output.write_file(made.data, out, force)
    if as_json:
        show_json(tables.quantised_json(made, str(out)))
        return
    show(tables.summary_table(made, str(out)))
    if whole or tables.worst_layers(made.figures.layers):
        show("\nAll layers:\n" if whole else "\nThe layers that add most noise:\n")
        show(tables.layers_table(made.figures, whole))
    show("\n" + "\n".join(made.advice))
    edges = " --io int8" if out.suffix.lower() == ".onnx" and not int8_edges else ""
    following = f" Next: tinygen build {shlex.quote(str(out))}{edges} --board {board} -o {shlex.quote(out.stem)}"
    show(f"\nWritten to {out}.{'' if made.on_board.refusal else following}")
