"""Counts what models cost on emulated cores, and compares with the results that were committed last.

    python benchmarks/models.py                 # MLPerf Tiny on a Cortex-M4: results/cortex-m4.json
    python benchmarks/models.py --core all      # on every core
    python benchmarks/models.py --short         # the shipped example on three cores: results/short.json

The exit code is 1 when a model got worse by more than 1 %, or when its answer is not the reference's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import changes, layer_changes, poor_estimates
from rich.console import Console

from tinygen import bench, manifest, output, pipeline, reference
from tinygen.goal import OBJECTIVES, Goal
from tinygen.options import Options
from tinygen.report.tables import plain_table
from tinygen.version import VERSION

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SHARED = Path(os.environ.get("TINYGEN_SHARED") or HERE.parents[1] / "shared")
DIGITS = HERE.parent / "examples" / "digits" / "digits.tflite"
MODELS = ("kws_ds_cnn", "vww_mobilenet_v1", "ic_resnet8", "ad_autoencoder", "sww_streaming_wakeword")
BOARDS = {
    "cortex-m0": "qemu-mps2-an385-m0",
    "cortex-m3": "qemu-mps2-an385",
    "cortex-m4": "qemu-mps2-an386",
    "cortex-m7": "qemu-mps2-an500",
    "cortex-m33": "qemu-mps2-an505",
    "cortex-m55": "qemu-mps3-an547",
}
MORE_BOARDS = {"rv32imc": "qemu-riscv32-virt", "rv32imcv": "qemu-riscv32-virt-v"}
"""Of cores whose results are not kept."""


@dataclass(frozen=True)
class Task:
    """What is to be measured."""

    model: Path
    core: str
    objective: str
    options: Options | None = None


def full(cores: Sequence[str], objectives: Sequence[str], names: Sequence[str]) -> list[Task]:
    """The MLPerf Tiny models."""
    models = [SHARED / "models" / "mlperf" / f"{name}.tflite" for name in names]
    missing = [str(path) for path in models if not path.is_file()]
    if missing:
        sys.exit(f"these models are not there (set TINYGEN_SHARED): {', '.join(missing)}")
    return [Task(model, core, objective) for core in cores for model in models for objective in objectives]


def short() -> list[Task]:
    """The example that ships: every objective on a Cortex-M4, and cores without and with more than it has."""
    others = [Task(DIGITS, core, "balanced") for core in ("cortex-m0", "cortex-m55")]
    return [*(Task(DIGITS, "cortex-m4", objective) for objective in OBJECTIVES), *others]


def measure(task: Task, folder: Path) -> dict[str, Any]:
    """A row of the results: build, count, and compare the answer with the reference's."""
    out = folder / f"{task.model.name}-{task.core}-{task.objective}"
    model = pipeline.read(task.model, task.options)
    board = (BOARDS | MORE_BOARDS)[task.core]
    output.write(pipeline.build(model, board, goal=Goal(task.objective)).files, out)
    content = manifest.load(out)
    count = bench.count(out, content)
    expected = reference.outputs(model.graph, bench.sample_of(content).arrays)
    if count.outputs_crc32 != tuple(zlib.crc32(array.tobytes()) for array in expected):
        sys.exit(f"{out.name}: the board's answer is not the reference's; figures of wrong answers mean nothing")
    return {
        "model": task.model.stem,
        "core": task.core,
        "objective": task.objective,
        "macs": count.macs,
        **_figures(count.total),
        "flash": count.flash_bytes,
        "ram": count.ram_bytes,
        "stack": count.stack_bytes,
        "layers": [_layer(layer) for layer in count.layers],
    }


def _figures(figures: bench.Figures) -> dict[str, Any]:
    return {
        "instructions": figures.instructions,
        "cycles": round(figures.cycles),
        "loads": figures.loads,
        "stores": figures.stores,
        "multiplies": figures.multiplies,
        "taken_branches": figures.taken_branches,
    }


def _layer(layer: bench.LayerCount) -> dict[str, Any]:
    return {
        "index": layer.index,
        "op": layer.op,
        "kernel": layer.kernel,
        "macs": layer.macs,
        **_figures(layer.figures),
        "flash": layer.code_bytes + layer.const_bytes,
        "estimate": layer.estimate.instructions,
    }


def versions() -> dict[str, str]:
    """Of everything that figures depend on."""
    return {
        "tinygen": VERSION,
        "compiler": _first_line("arm-none-eabi-gcc", "--version"),
        "emulator": _first_line("qemu-system-arm", "--version"),
    }


def _first_line(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def to_json(rows: Iterable[dict[str, Any]]) -> str:
    """A line for each row and each layer, so that differences can be read."""
    lines = []
    for row in rows:
        head = json.dumps({name: value for name, value in row.items() if name != "layers"})
        layers = ",\n".join(f"      {json.dumps(layer)}" for layer in row["layers"])
        lines.append(f'    {head[:-1]}, "layers": [\n{layers}\n    ]}}')
    return f'{{\n  "versions": {json.dumps(versions())},\n  "rows": [\n' + ",\n".join(lines) + "\n  ]\n}\n"


def committed(path: Path, from_disk: bool) -> dict[str, Any]:
    """The results that were committed last, or as they lie there; nothing where there are none."""
    if not from_disk:
        command = ["git", "-C", str(HERE), "show", f"HEAD:./{path.relative_to(HERE).as_posix()}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return dict(json.loads(done.stdout))
    return dict(json.loads(path.read_text())) if path.is_file() else {"versions": {}, "rows": []}


def show(console: Console, rows: Sequence[dict[str, Any]], layers: bool) -> None:
    """The table of whole models, and of their layers when asked for."""
    figures = ("MACs", "instructions", "/MAC", "cycles*", "loads", "multiplies", "flash", "RAM", "stack")
    table = plain_table("model", "core", "objective", *figures, right=figures)
    for row in rows:
        table.add_row(
            row["model"], row["core"], row["objective"], *_numbers(row), f"{row['ram']:,}", f"{row['stack']:,}"
        )
        for layer in row["layers"] if layers else ():
            table.add_row(f"  {layer['index']} {layer['op']}", "", layer["kernel"], *_numbers(layer), "", "")
    console.print(table)
    console.print("* modelled: `tinygen bench` shows the source and the assumptions", highlight=False)


def _numbers(row: dict[str, Any]) -> list[str]:
    per_mac = f"{row['instructions'] / row['macs']:.3f}" if row["macs"] else ""
    rest = (f"{row[name]:,}" for name in ("cycles", "loads", "multiplies", "flash"))
    return [f"{row['macs']:,}", f"{row['instructions']:,}", per_mac, *rest]


def compare(console: Console, before: dict[str, Any], rows: Sequence[dict[str, Any]], name: str) -> bool:
    """Print what changed; whether nothing got worse."""

    def say(title: str, lines: Sequence[object]) -> None:
        for line in ([f"\n{title}:"] if lines else []) + [f"  {line}" for line in lines]:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    measured = {(row["model"], row["core"], row["objective"]) for row in rows}
    earlier = [row for row in before["rows"] if (row["model"], row["core"], row["objective"]) in measured]
    found = changes(earlier, rows)
    differing = {tool: was for tool, was in before["versions"].items() if versions()[tool] != was}
    say(f"{name}: the committed results are of other versions", [f"{tool}: {was}" for tool, was in differing.items()])
    say(f"{name}: changed", [change for change in found if not change.is_regression])
    say(f"{name}: layers changed", layer_changes(earlier, rows))
    say(f"{name}: estimates off by more than 15 %", poor_estimates(rows))
    worse = [change for change in found if change.is_regression]
    say(f"{name}: WORSE by more than 1 %", worse)
    return not worse


def merged(before: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows of a core, the measured ones anew."""
    fresh = {(row["model"], row["objective"], row["core"]): row for row in rows}
    kept = {(row["model"], row["objective"], row["core"]): row for row in before["rows"]}
    return list((kept | fresh).values())


def main() -> None:
    """Measure, print, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", action="append", choices=[*BOARDS, "all"], help="by default cortex-m4")
    parser.add_argument("--objective", action="append", choices=OBJECTIVES, help="by default all")
    parser.add_argument("--model", action="append", choices=MODELS, help="by default all")
    parser.add_argument("--short", action="store_true", help="only the shipped example")
    parser.add_argument("--layers", action="store_true", help="show every layer, too")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the files as they are")
    options = parser.parse_args()
    cores = list(BOARDS) if "all" in (options.core or []) else options.core or ["cortex-m4"]
    tasks = short() if options.short else full(cores, options.objective or OBJECTIVES, options.model or MODELS)
    console = Console(width=None if sys.stdout.isatty() else 160)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            with console.status(f"{task.model.stem} on {task.core}, {task.objective}"):
                rows.append(measure(task, Path(folder)))
    show(console, rows, options.layers)
    good = True
    for name in ["short"] if options.short else cores:
        path = RESULTS / f"{name}.json"
        chosen = [row for row in rows if options.short or row["core"] == name]
        before = committed(path, options.check)
        good = compare(console, before, chosen, path.name) and good
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(to_json(merged(committed(path, from_disk=True), chosen)))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
