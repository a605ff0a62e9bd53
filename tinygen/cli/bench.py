"""tinygen bench."""

from __future__ import annotations

from pathlib import Path

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.report.plain import plain


@click.command()
@options.OUT
@click.option(
    "--on",
    metavar="BOARD",
    help="Another board with the same core; by default the one that OUT was built for.",
)
@options.PORT
@options.OF
@options.JSON
def bench(out: Path, on: str | None, port: str | None, of: str | None, as_json: bool) -> None:
    """Count what one invoke executes, layer by layer; on a real board, measure its ticks.

    An emulated board counts instructions, exactly. Its cycles are modelled: the source of the core's cost table and its
    assumptions are shown with them. An AVR in simavr counts cycles. Only a real board gives time.

    \b
    tinygen bench out
    tinygen bench out --on qemu-mps2-an386 --json
    """
    from tinygen import bench as benching
    from tinygen import firmware, manifest
    from tinygen.report import bench_tables

    content = manifest.load(out, of)
    with progress() as report, benching.for_board(out, content, on or content.board) as (project, moved):
        on_line = report.line(f"building for {moved.board}")
        if firmware.counts_instructions(project):
            count = benching.count(project, moved, on_line)
            shown = plain(count), bench_tables.count_table(count), bench_tables.count_notes(count)
        else:
            timing = benching.time(project, moved, port, on_line)
            shown = plain(timing), bench_tables.timing_table(timing, moved), bench_tables.timing_notes(timing)
    if as_json:
        show_json(shown[0])
        return
    show(shown[1])
    show(f"\n{shown[2]}")
