"""tinygen build."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from tinygen.cli import options
from tinygen.cli.console import show, show_json
from tinygen.cli.wish import Wish, wish_options
from tinygen.report.plain import plain


@click.command()
@click.argument("models", metavar="MODEL...", type=options.PATH, nargs=-1, required=True)
@click.option("--out", "-o", required=True, type=options.PATH, help="Folder to write; made when it does not exist.")
@click.option(
    "--name",
    "names",
    multiple=True,
    help="C prefix and library name, once for each model; by default made from the files' names.",
)
@wish_options
@options.RUNNER
@options.TASK
@options.JSON
def build(
    models: tuple[Path, ...],
    out: Path,
    names: tuple[str, ...],
    wish: Wish,
    runner: str,
    task: str | None,
    as_json: bool,
) -> None:
    """Generate C and a PlatformIO project from a model.

    Several models become libraries of one firmware, which take turns in one arena.

    \b
    tinygen build kws.tflite --board qemu-mps2-an386 -o out
    tinygen build kws.tflite -o out --name kws --optimize size
    tinygen build kws.tflite -o out --io int8 --batch 4
    tinygen build net.onnx -o out --layout nhwc
    tinygen build kws.tflite -o out --optimize speed --flash-budget 60000
    tinygen build kws.tflite -o out --arena external
    tinygen build kws.tflite -o out --optimize ram --input-rows
    tinygen build kws.tflite -o out --place scratch=dtcm --place hot=itcm --hot 8000
    tinygen build wakeword.tflite -o out --streaming
    tinygen build wakeword.tflite -o out --frontend micro
    tinygen build kws.tflite vww.tflite -o out
    tinygen build kws.tflite -o out --runner mlperf
    """
    from tinygen import manifest, output, pipeline
    from tinygen.report import tables

    mlperf = options.mlperf_of(runner, task)
    read = [pipeline.read(model, wish.reading) for model in models]
    built = pipeline.build_together(read, wish.board, names, wish.goal, wish.interface, wish.hearing, mlperf)
    output.write(built[0].files, out)
    content = manifest.to_json([part.manifest for part in built])
    if as_json:
        fits = [plain(part.fit) for part in built]
        show_json({"out": str(out), "manifest": json.loads(content), "fit": fits[0] if len(fits) == 1 else fits})
        return
    for part in built:
        show(tables.build_table(part))
        show("")
    which = f" --model {built[0].manifest.name}" if len(built) > 1 else ""
    quoted = shlex.quote(str(out))
    used = f"{out}/lib/{built[0].manifest.name}" if len(built) == 1 else f"all of {out}/lib"
    then = "tinygen flash" if mlperf is None else "for MLPerf Tiny's runner tinygen flash"
    show(
        f"Written to {out}, with a picture of the memory. Next: tinygen verify {quoted}{which}, "
        f"{then} {quoted}, or use {used}."
    )
