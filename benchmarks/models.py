"""Instructions, flash and RAM of the MLPerf Tiny models on an emulated Cortex-M4."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from tinygen import board as boards
from tinygen import manifest, output, pipeline, samples
from tinygen.report.tables import plain_table
from tinygen.target import load_core

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("TINYGEN_SHARED") or HERE.parents[1] / "shared")
BOARD = "netduino2plus"
MODELS = ("kws_ds_cnn", "vww_mobilenet_v1", "ic_resnet8", "ad_autoencoder", "sww_streaming_wakeword")
OBJECTIVES = ("balanced", "speed", "size")


@dataclass(frozen=True)
class Row:
    """One model under one objective; sizes in bytes."""

    model: str
    objective: str
    macs: int
    instructions: int
    library_flash: int
    library_ram: int
    stack: int


def measure(model: Path, objective: str, folder: Path) -> Row:
    """Build, flash, run once on a random input, and compile the library by itself for its size."""
    out = folder / f"{model.stem}-{objective}"
    output.write(pipeline.build(pipeline.read(model), BOARD, "net", objective).files, out)
    content = manifest.load(out)
    (sample,) = samples.generated(content.inputs, 3, 0)[2:]
    with boards.flashed(out, content) as peer:
        _, ticks = peer.invoke(sample.bytes)
        stack = peer.session.stack()
    assert ticks is not None
    assert stack is not None
    flash, ram = library_size(out, content, folder)
    return Row(model.stem, objective, content.macs, ticks, flash, ram, stack)


def library_size(out: Path, content: manifest.Manifest, folder: Path) -> tuple[int, int]:
    """Flash and RAM of the library's objects, without what a linker would drop."""
    prefix = load_core(content.core).toolchain
    elf = folder / "library.elf"
    roots = [*(port.symbol for port in (*content.inputs, *content.outputs)), content.invoke]
    command = [
        f"{prefix}gcc",
        *content.cflags,
        "-ffunction-sections",
        "-fdata-sections",
        *(f"-I{out / path}" for path in content.include_dirs),
        *(str(out / path) for path in content.sources),
        "-nostartfiles",
        "-Wl,--gc-sections,-e," + content.invoke,
        *(f"-Wl,-u,{symbol}" for symbol in roots),
        "-o",
        str(elf),
    ]
    subprocess.run(command, check=True, capture_output=True)
    listed = subprocess.run([f"{prefix}size", str(elf)], check=True, capture_output=True, text=True).stdout
    text, data, bss = (int(word) for word in listed.splitlines()[1].split()[:3])
    return text + data, data + bss


def version(*command: str) -> str:
    """First line of what a program says about its version."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def main() -> None:
    """Measure everything, print the table, and write results.json."""
    models = [SHARED / "models" / "mlperf" / f"{name}.tflite" for name in MODELS]
    missing = [str(path) for path in models if not path.is_file()]
    if missing:
        sys.exit(f"these models are not there (set TINYGEN_SHARED): {', '.join(missing)}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in models:
            for objective in OBJECTIVES:
                with console.status(f"{path.stem}, {objective}"):
                    rows.append(measure(path, objective, Path(folder)))
    figures = ("MACs", "instructions", "per MAC", "flash", "RAM", "stack")
    table = plain_table("model", "objective", *figures, right=figures)
    for row in rows:
        numbers = (row.macs, row.instructions, row.library_flash, row.library_ram, row.stack)
        macs, instructions, *sizes = (f"{number:,}" for number in numbers)
        table.add_row(row.model, row.objective, macs, instructions, f"{row.instructions / row.macs:.2f}", *sizes)
    console.print(table)
    results = {
        "board": BOARD,
        "compiler": version("arm-none-eabi-gcc", "--version"),
        "emulator": version("qemu-system-arm", "--version"),
        "rows": [asdict(row) for row in rows],
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
