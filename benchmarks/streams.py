"""Counts what models cost that hear frame by frame, from samples to results, on an emulated Cortex-M4.

    python benchmarks/streams.py             # results/streams.json
    python benchmarks/streams.py --check     # compare with the file, and write nothing

Instructions are executed ones: of an invoke under the counting plugin of `tinygen bench`, of a frame's features by the
emulated timer. RAM and flash are those of the library as linked, front end included; the stack is the bound for all
samples. Answers are compared with the reference's. The exit code is 1 when a figure got worse by more than 1 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from models import HERE, RESULTS, SHARED, versions
from rich.console import Console

import front_ends
from tinygen import audio, bench, manifest, output, pipeline, reference
from tinygen.listening.hearing import hear_with
from tinygen.options import Options, Streaming
from tinygen.report.tables import plain_table
from tinygen.target import load_board

BOARD = "qemu-mps2-an386"
STREAMED = Options(streaming=Streaming())
CASES = (
    (SHARED / "models" / "mlperf" / "sww_streaming_wakeword.tflite", "logmel-mlperf-sww", STREAMED),
    (SHARED / "models" / "esphome" / "okay_nabu_v2.tflite", "micro", Options()),
    (SHARED / "models" / "esphome" / "vad_v2.tflite", "micro", Options()),
    (HERE.parent / "examples" / "keywords" / "keywords.tflite", "micro-20ms", STREAMED),
)
FIGURES = ("frames", "macs", "invoke", "front_end", "result", "ram", "stack", "flash")
WORSE = 1.01


def measure(file: Path, front_end_name: str, options: Options, folder: Path) -> dict[str, Any]:
    """A row of the results."""
    out = folder / file.stem
    model = pipeline.read(file, options)
    output.write(pipeline.build(model, BOARD, "net", hearing=hear_with(front_end_name)).files, out)
    content = manifest.load(out)
    count = bench.count(out, content)
    expected = reference.outputs(model.graph, bench.sample_of(content).arrays)
    if count.outputs_crc32 != tuple(zlib.crc32(array.tobytes()) for array in expected):
        sys.exit(f"{file.stem}: the board's answer is not the reference's")
    front_end = audio.load(front_end_name)
    samples = front_ends.recording(front_end)
    frames = front_ends.answer(front_end, samples, load_board(BOARD))
    if not np.array_equal(frames.features, audio.features(front_end, samples)):
        sys.exit(f"{front_end_name}: the board's features are not numpy's")
    assert content.front_end is not None and count.feed_stack_bound is not None
    frame, new = round(frames.instructions / front_ends.FRAMES), content.front_end.new
    return {
        "model": file.stem,
        "front end": front_end_name,
        "frames": new,
        "macs": count.macs,
        "invoke": count.total.instructions,
        "front_end": new * frame,
        "result": count.total.instructions + new * frame,
        "ram": count.ram_bytes,
        "stack": count.feed_stack_bound.bytes,
        "flash": count.flash_bytes,
    }


def main() -> None:
    """Measure, print, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the file as it is")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    path = RESULTS / "streams.json"
    before = {row["model"]: row for row in json.loads(path.read_text())["rows"]} if path.is_file() else {}
    table = plain_table("model", "front end", *FIGURES, right=FIGURES)
    rows, good = [], True
    with tempfile.TemporaryDirectory() as folder:
        for file, front_end, read_as in CASES:
            with console.status(file.stem):
                row = measure(file, front_end, read_as, Path(folder))
            rows.append(row)
            table.add_row(row["model"], row["front end"], *(f"{row[name]:,}" for name in FIGURES))
            for name in ("result", "ram", "flash"):
                was = before.get(row["model"], row)[name]
                if row[name] > WORSE * was:
                    console.print(f"{row['model']}: WORSE in {name}: {was:,}, now {row[name]:,}", highlight=False)
                    good = False
    console.print(table)
    if not options.check:
        lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
        path.write_text(f'{{\n  "versions": {json.dumps(versions())},\n  "rows": [\n{lines}\n  ]\n}}\n')
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
