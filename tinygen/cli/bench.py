"""tinygen bench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.errors import UsageError
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.manifest import Manifest
    from tinygen.report.progress import Report

_REPEAT = 20


@click.command()
@options.OUT
@click.option(
    "--on",
    multiple=True,
    metavar="BOARD",
    help="Another board with the same core; by default the one that OUT was built for. Several, one after the other.",
)
@options.PORTS_OF_BOARDS
@click.option(
    "--repeat",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help=f"So many invokes: how their ticks spread. By default {_REPEAT} on a real board, and on an AVR; on "
    "other emulated ones, instructions are counted instead.",
)
@click.option(
    "--energy",
    type=options.PATH,
    metavar="FILE.csv",
    help="What a meter recorded while bench ran with --repeat: energy and power of its inferences. No board is asked.",
)
@click.option("--marker", metavar="CHANNEL", help="For --energy: the digital channel that the board's marker is on.")
@click.option(
    "--volts",
    type=click.FloatRange(min=0, min_open=True),
    metavar="V",
    help="For --energy: the supply's voltage, where the file has none.",
)
@options.OF
@options.JSON
def bench(
    out: Path,
    on: Sequence[str],
    port: Sequence[str],
    repeat: int | None,
    energy: Path | None,
    marker: str | None,
    volts: float | None,
    of: str | None,
    as_json: bool,
) -> None:
    """Count what one invoke executes, layer by layer; on a real board, measure how long invokes take.

    An emulated board counts instructions, exactly. Its cycles are modelled: the source of the core's cost table and its
    assumptions are shown with them. simavr and rp2040js count cycles. Only a real board gives time: minimum, median,
    99th percentile and maximum of its own counter. With --repeat an emulated one does, too, in ticks that are no time.

    \b
    tinygen bench out
    tinygen bench out --on qemu-mps2-an386 --json
    tinygen bench out --on nucleo_f446re --repeat 1000
    tinygen bench out --repeat 1000 --energy recorded.csv --volts 3.3
    """
    from tinygen import bench as benching
    from tinygen import manifest

    content = manifest.load(out, of)
    if energy is not None:
        if on or port:
            raise UsageError("--energy asks no board", "Leave out --on and --port: they were for what was recorded.")
        _show_energy(content, energy, marker, volts, repeat, as_json)
        return
    if marker is not None or volts is not None:
        raise UsageError("--marker and --volts are for --energy", "Add --energy FILE.csv, or leave them out.")
    found = []
    with progress() as report:
        for name, url in options.ports_of_boards(on or (content.board,), port):
            with benching.for_board(out, content, name) as (project, moved):
                found.append(_bench(project, moved, url, repeat, report))
    if as_json:
        show_json({"boards": [each[0] for each in found]} if len(found) > 1 else found[0][0])
        return
    for index, (_, table, notes) in enumerate(found):
        if index:
            show("")
        show(table)
        show(f"\n{notes}")


def _show_energy(
    content: Manifest, file: Path, marker: str | None, volts: float | None, repeat: int | None, as_json: bool
) -> None:
    """What a meter recorded of inferences."""
    from tinygen.energy import inferences, recording
    from tinygen.report import energy_tables

    if content.begin is not None:
        raise UsageError(
            f"{content.name} takes its input row by row, and works between the marker's pulses, too",
            "Measure a build without --input-rows.",
        )
    found = inferences.energy(recording.read(file, volts, marker), repeat)
    if as_json:
        show_json(plain(found))
        return
    show(energy_tables.energy_table(found))
    show(f"\n{energy_tables.energy_notes(found)}")


def _bench(
    project: Path, moved: Manifest, port: str | None, repeat: int | None, report: Report
) -> tuple[Any, Table, str]:
    """What one board took: as JSON values, as a table, and what is to be said of it."""
    from tinygen import bench as benching
    from tinygen import firmware, timing
    from tinygen.report import bench_tables, timing_tables

    on_line = report.line(f"building for {moved.board}")
    if firmware.counts_instructions(project) and repeat is None:
        count = benching.count(project, moved, on_line)
        return plain(count), bench_tables.count_table(count), bench_tables.count_notes(count)
    measured = timing.time(
        project,
        moved,
        port,
        on_line,
        repeat or _REPEAT,
        lambda done, total: report.count(f"measuring {moved.board}", done, total),
    )
    return plain(measured), timing_tables.timing_table(measured, moved), timing_tables.timing_notes(measured)
