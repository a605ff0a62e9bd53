"""Counts what .onnx models cost beside .tflite models of the same networks, on emulated cores.

    python benchmarks/twins.py                                # on a Cortex-M4
    python benchmarks/twins.py --core all --model digits      # on every core
    python benchmarks/twins.py --float                        # .onnx models from float32 to float32
    python benchmarks/twins.py one.tflite other.onnx          # two files of yours

The .onnx models are made of the .tflite ones (see onnx_twin.py), with the same integers in them; those of the examples
come from the same float networks. The inputs and outputs of both are int8, channels last. Answers are compared with
the reference's. The exit code is 1 when a twin costs over 5 % more instructions, flash or RAM.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models import BOARDS, HERE, MORE_BOARDS, SHARED, Task, measure
from onnx_twin import onnx_twin
from rich.console import Console

from tinygen import pipeline
from tinygen.goal import OBJECTIVES
from tinygen.options import Options
from tinygen.report.tables import plain_table

CORES = [*BOARDS, *MORE_BOARDS]
FIGURES = ("instructions", "flash", "ram")
MOST = 1.05
SHARED_MODELS = (
    "mlperf/ad_autoencoder",
    "mlperf/kws_ds_cnn",
    "mlperf/ic_resnet8",
    "mlperf/sww_streaming_wakeword",
    "mlperf/vww_mobilenet_v1",
    "mltk/keyword_spotting_mobilenetv2",
    "mltk/rock_paper_scissors",
)
EXAMPLES = ("digits", "keywords")


class Twins(NamedTuple):
    """The same network twice."""

    tflite: Path
    onnx: Path


def known(names: Sequence[str], folder: Path) -> Iterator[Twins]:
    """The models of these names, or all that are there; those of .tflite files are written to the folder."""
    for path in (SHARED / "models" / f"{name}.tflite" for name in SHARED_MODELS):
        if path.is_file() and (not names or path.stem in names):
            twin = folder / f"{path.stem}.onnx"
            twin.write_bytes(onnx_twin(pipeline.read(path).graph))
            yield Twins(path, twin)
    for name in EXAMPLES:
        if not names or name in names:
            path = HERE.parent / "examples" / name / name
            yield Twins(path.with_suffix(".tflite"), path.with_suffix(".onnx"))


def counted(twins: Twins, core: str, objective: str, onnx: Options, folder: Path) -> tuple[dict[str, Any], ...]:
    """A row of results for each."""
    options = Options(io="int8"), onnx
    return tuple(measure(Task(path, core, objective, each), folder) for path, each in zip(twins, options, strict=True))


def is_close(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether the second costs no more than the first, but for 5 %."""
    first, second = rows
    return all(second[name] <= MOST * first[name] for name in FIGURES)


def show(console: Console, pairs: Sequence[Sequence[dict[str, Any]]], layers: bool) -> None:
    """A line for each pair, and for each of both models' layers."""
    names = ("instructions", "as .tflite", "", "flash", "as .tflite", "", "RAM", "as .tflite", "")
    table = plain_table("model", "core", *names, right=names)
    for first, second in pairs:
        cells = (
            text
            for name in FIGURES
            for text in (f"{second[name]:,}", f"{first[name]:,}", f"{second[name] / first[name] - 1:+.1%}")
        )
        table.add_row(first["model"], first["core"], *cells)
        for row in (first, second) if layers else ():
            for layer in row["layers"]:
                flash = f"{layer['flash']:,}"
                table.add_row(f"  {layer['kernel']}", "", f"{layer['instructions']:,}", "", "", flash, *[""] * 5)
    console.print(table)


def main() -> None:
    """Build, count, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="a .tflite and an .onnx file; by default all known")
    parser.add_argument("--core", action="append", choices=[*CORES, "all"], help="by default cortex-m4")
    parser.add_argument("--model", action="append", help="of the known ones, by the file's name; by default all")
    parser.add_argument("--objective", choices=OBJECTIVES, default="balanced")
    parser.add_argument("--float", action="store_true", help="leave inputs and outputs of .onnx models as they are")
    parser.add_argument("--layers", action="store_true", help="show every layer, too")
    options = parser.parse_args()
    if len(options.files) not in (0, 2):
        parser.error("give a .tflite and an .onnx file, or none")
    onnx = Options(layout="nhwc") if options.float else Options(io="int8", layout="nhwc")
    cores = CORES if "all" in (options.core or []) else options.core or ["cortex-m4"]
    console = Console(width=None if sys.stdout.isatty() else 160)
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = [Twins(*options.files)] if options.files else list(known(options.model or [], folder))
        for core in cores:
            for twins in models:
                with console.status(f"{twins.tflite.stem} on {core}"):
                    pairs.append(counted(twins, core, options.objective, onnx, folder))
    show(console, pairs, options.layers)
    sys.exit(0 if all(map(is_close, pairs)) else 1)


if __name__ == "__main__":
    main()
