"""Compares modelled cycles of a Cortex-M0+ with those that rp2040js counts, layer by layer.

    npm install rp2040js
    python benchmarks/rp2040.py node_modules/rp2040js                     # the shipped example
    python benchmarks/rp2040.py node_modules/rp2040js MODEL.tflite ...

rp2040js (github.com/wokwi/rp2040js, tried: 1.4.1) runs the library with a few lines around it, and counts each
executed instruction; the model is multiplied with the same counts. The answer is compared with the reference's.
For a PUSH with LR, and a POP with PC, rp2040js counts a cycle less than Arm's manual says; the last column is what
differs besides.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from tinygen import bench, elf, pipeline, reference
from tinygen.counting import record
from tinygen.counting.attribution import figures
from tinygen.counting.disassembly import Instruction, disassemble, modelled_cycles
from tinygen.goal import OBJECTIVES, Goal
from tinygen.report.tables import plain_table
from tinygen.target import load_core

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parent / "examples" / "digits" / "digits.tflite"
BOARD, CORE = "pico", load_core("cortex-m0plus")

LINK = """
SECTIONS
{
    .text 0x10000000 : { KEEP(*(.vectors)) *(.text*) *(.rodata*) . = ALIGN(4); }
    .data 0x20000000 : AT(ADDR(.text) + SIZEOF(.text)) { data_start = .; *(.data*) . = ALIGN(4); data_end = .; }
    data_load = LOADADDR(.data);
    .bss (NOLOAD) : ALIGN(8) { *(.bss*) *(COMMON) }
    /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) }
}
"""
MAIN = """
#include <string.h>
#include "{name}.h"

static const unsigned char sample[] = {{{sample}}};
unsigned char answer[{bytes}];
extern unsigned char data_load[], data_start[], data_end[];

static void run(void)
{{
    memcpy(data_start, data_load, (size_t)(data_end - data_start));
    memcpy({name}_input(), sample, sizeof sample);
    {name}_invoke();
    memcpy(answer, {name}_output(), sizeof answer);
    __asm volatile("bkpt");
}}

__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {{(void *)0x20042000u, (void *)run}};
"""


class Row(NamedTuple):
    """A layer, or what is between them: executed instructions, and cycles."""

    name: str
    instructions: int
    counted: int
    modelled: float
    known: int
    """Cycles that rp2040js is known to leave out."""


def compare(model_file: Path, objective: str, rp2040js: Path, folder: Path) -> list[Row]:
    """A row for each layer, and for what is between them."""
    model = pipeline.read(model_file)
    built = pipeline.build(model, BOARD, goal=Goal(objective))
    content = built.manifest
    for path, data in built.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    sample = bench.sample_of(content)
    (expected,) = reference.outputs(model.graph, sample.arrays)
    (given,) = sample.bytes
    text = MAIN.format(name=content.name, sample=", ".join(map(str, given)), bytes=expected.nbytes)
    (folder / "main.c").write_text(text)
    (folder / "link.ld").write_text(LINK)
    path = folder / "main.elf"
    includes = [f"-I{folder / name}" for name in content.include_dirs]
    sources = [folder / "main.c", *(folder / name for name in content.sources)]
    flags = [*content.cflags, *CORE.libc, "-nostartfiles", f"-T{folder / 'link.ld'}", "-Wl,--entry=run"]
    run(f"{CORE.toolchain}gcc", *flags, *includes, *map(str, sources), "-o", str(path))
    image = elf.read(path)
    symbols = [content.invoke, *(layer.symbol for layer in content.layers)]
    answer = image.symbol("answer").address
    addresses = [f"{number:x}" for number in (answer, expected.nbytes)]
    addresses += [f"{image.symbol(symbol).address & ~1:x}" for symbol in symbols]
    lines = run("node", str(HERE / "rp2040.mjs"), str(rp2040js), str(path), *addresses).splitlines()
    if f"answer {expected.tobytes().hex()}" not in lines:
        sys.exit(f"{model_file.name}: the answer is not the reference's; figures of wrong answers mean nothing")
    ours = [line for line in lines if not line.startswith(("cycles", "answer"))]
    (folder / "record").write_text("\n".join(ours) + "\n")
    counted = {
        int(part): int(count) for _, part, count in (line.split() for line in lines if line.startswith("cycles"))
    }
    code = disassemble(path, CORE.toolchain)
    modelled = modelled_cycles(code, CORE)
    found = {span.index: span for span in record.read(folder / "record").spans}
    spans = {index: figures(span, code, modelled, CORE.cost.cycles["taken"]) for index, span in found.items()}
    counted[record.OUTSIDE_OF_PARTS] -= sum(count for part, count in counted.items() if part >= 0)
    names = {index: f"{layer.op} {layer.kernel}" for index, layer in enumerate(content.layers)}
    names[record.OUTSIDE_OF_PARTS] = "the invoke itself"
    return [
        Row(names[index], spans[index].instructions, counted[index], spans[index].cycles, _known(found[index], code))
        for index in names
    ]


def _known(span: record.Span, code: Mapping[int, Instruction]) -> int:
    return sum(
        execution.count
        for address, execution in span.executions.items()
        if (code[address].mnemonic == "push" and "lr" in code[address].operands)
        or (code[address].mnemonic == "pop" and "pc" in code[address].operands)
    )


def _total(rows: Sequence[Row]) -> Row:
    counted, known = sum(row.counted for row in rows), sum(row.known for row in rows)
    return Row("total", sum(row.instructions for row in rows), counted, sum(row.modelled for row in rows), known)


def run(*command: str) -> str:
    """The standard output of a program; it ends this one where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rp2040js", type=Path, help="the folder of the package rp2040js")
    parser.add_argument("models", type=Path, nargs="*", default=[DIGITS])
    parser.add_argument("--objective", choices=OBJECTIVES, default="balanced")
    options = parser.parse_args()
    if not (options.rp2040js / "dist").is_dir():
        sys.exit(f"{options.rp2040js} is not the package rp2040js: npm install rp2040js")
    if shutil.which("node") is None:
        sys.exit("node is not installed (Debian and Ubuntu: apt install nodejs)")
    console = Console(width=None if sys.stdout.isatty() else 120)
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            rows = compare(model, options.objective, options.rp2040js.resolve(), Path(folder))
        heads = ("instructions", "rp2040js", "modelled", "off", "else")
        table = plain_table(model.stem, *heads, right=heads)
        for row in (*rows, _total(rows)):
            off, rest = f"{100 * (row.modelled / row.counted - 1):+.2f} %", row.modelled - row.counted - row.known
            numbers = (f"{number:,.0f}" for number in (row.instructions, row.counted, row.modelled))
            table.add_row(row.name, *numbers, off, f"{rest:,.0f}")
        console.print(table)


if __name__ == "__main__":
    main()
