"""tinygen bench."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.errors import OutputError, UsageError
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.manifest import Manifest
    from tinygen.report.progress import Report
    from tinygen.timing import Meanwhile

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
@click.option(
    "--meter",
    metavar="PORT",
    help="A meter that writes such lines to a serial port: recorded while the board runs, into the file of --energy "
    "if one is named.",
)
@click.option("--meter-baud", type=click.IntRange(1), default=115_200, show_default=True, help="Its port's speed.")
@click.option("--marker", metavar="CHANNEL", help="Of the recording: the digital channel that the marker is on.")
@click.option(
    "--volts",
    type=click.FloatRange(min=0, min_open=True),
    metavar="V",
    help="The supply's voltage, where the recording has none.",
)
@options.OF
@options.JSON
def bench(
    out: Path,
    on: Sequence[str],
    port: Sequence[str],
    repeat: int | None,
    energy: Path | None,
    meter: str | None,
    meter_baud: int,
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
    tinygen bench out --repeat 1000 --meter /dev/ttyUSB0
    """
    from tinygen import bench as benching
    from tinygen import manifest
    from tinygen.energy.meter import Meter

    content = manifest.load(out, of)
    if energy is not None or meter is not None:
        _expect_pulses(content)
    if energy is not None and meter is None:
        if on or port:
            raise UsageError("--energy asks no board", "Leave out --on and --port: they were for what was recorded.")
        _show([_energy(energy, marker, volts, repeat)], as_json)
        return
    if meter is None and (marker is not None or volts is not None):
        raise UsageError("--marker and --volts are for --energy", "Add --energy FILE.csv, or leave them out.")
    asked = options.ports_of_boards(on or (content.board,), port)
    if meter is not None:
        _expect_one(len(asked), energy)
        repeat = repeat or _REPEAT
    listened = None if meter is None else Meter(meter, meter_baud)
    meanwhile = contextlib.nullcontext if listened is None else listened.recording
    found = []
    with progress() as report:
        for name, url in asked:
            with benching.for_board(out, content, name) as (project, moved):
                found.append(_bench(project, moved, url, repeat, report, meanwhile))
    if listened is not None:
        with _kept(listened.rows, energy) as file:
            metered = _energy(file, marker, volts, repeat)
        found = [_together(found[0], metered)]
    _show(found, as_json)


@dataclass(frozen=True)
class _Shown:
    """What was found, as JSON values, and as tables with what is to be said of each."""

    values: Any
    tables: tuple[tuple[Table, str], ...]


def _show(found: Sequence[_Shown], as_json: bool) -> None:
    if as_json:
        show_json({"boards": [each.values for each in found]} if len(found) > 1 else found[0].values)
        return
    for index, (table, notes) in enumerate(table for each in found for table in each.tables):
        if index:
            show("")
        show(table)
        show(f"\n{notes}")


def _together(measured: _Shown, metered: _Shown) -> _Shown:
    return _Shown({**measured.values, "energy": metered.values}, measured.tables + metered.tables)


def _expect_pulses(content: Manifest) -> None:
    if content.begin is not None:
        raise UsageError(
            f"{content.name} takes its input row by row, and works between the marker's pulses, too",
            "Measure a build without --input-rows.",
        )


def _expect_one(boards: int, file: Path | None) -> None:
    """One meter sees one board, and nothing that the user recorded is overwritten."""
    if boards > 1:
        raise UsageError(f"--meter is of one board, not of {boards}", "Measure them one by one.")
    if file is not None and file.exists():
        raise OutputError(f"{file} is there already", "Name another file for what the meter records.")


@contextlib.contextmanager
def _kept(rows: bytes, file: Path | None) -> Iterator[Path]:
    """The file that a recording was written to; without a name, as long as it is read."""
    from tinygen import output, staging

    with contextlib.ExitStack() as stack:
        path = file or stack.enter_context(staging.temporary("work")) / "recorded.csv"
        output.write_file(rows, path, force=False)
        yield path


def _energy(file: Path, marker: str | None, volts: float | None, repeat: int | None) -> _Shown:
    """What a meter recorded of inferences."""
    from tinygen.energy import inferences, recording
    from tinygen.report import energy_tables

    found = inferences.energy(recording.read(file, volts, marker), repeat)
    return _Shown(plain(found), ((energy_tables.energy_table(found), energy_tables.energy_notes(found)),))


def _bench(
    project: Path, moved: Manifest, port: str | None, repeat: int | None, report: Report, meanwhile: Meanwhile
) -> _Shown:
    """What one board took."""
    from tinygen import bench as benching
    from tinygen import firmware, timing
    from tinygen.report import bench_tables, timing_tables

    on_line = report.line(f"building for {moved.board}")
    if firmware.counts_instructions(project) and repeat is None:
        count = benching.count(project, moved, on_line)
        return _Shown(plain(count), ((bench_tables.count_table(count), bench_tables.count_notes(count)),))
    measured = timing.time(
        project,
        moved,
        port,
        on_line,
        repeat or _REPEAT,
        lambda done, total: report.count(f"measuring {moved.board}", done, total),
        meanwhile,
    )
    notes = timing_tables.timing_notes(measured)
    return _Shown(plain(measured), ((timing_tables.timing_table(measured, moved), notes),))
