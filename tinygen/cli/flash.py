"""tinygen flash."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.report.progress import Report
    from tinygen.usb_ports import UsbPort


@click.command()
@options.OUT
@options.PORT
@click.option("--stop", is_flag=True, help="End the emulator of an emulated board instead.")
@options.JSON
def flash(out: Path, port: str | None, stop: bool, as_json: bool) -> None:
    """Compile the firmware and put it on the board, through PlatformIO.

    An emulated board keeps running, like a real one, until --stop.

    \b
    tinygen flash out
    tinygen flash out --port /dev/ttyACM0
    tinygen flash out --stop
    """
    from tinygen import firmware, manifest

    models = manifest.load_all(out)
    if stop:
        said = firmware.stop(out)
        show_json({"stopped": said}) if as_json else show(said)
        return
    asks = _is_terminal() and not as_json
    with progress() as report:
        line = report.line(f"building and flashing {models[0].board}")
        used = firmware.flash(out, port, line, (lambda ports: _ask(ports, report)) if asks else None)
    size = firmware.firmware_size(out)
    if as_json:
        show_json({"board": models[0].board, "port": used, **plain(size)})
        return
    names = " and ".join(content.name for content in models)
    show(f"{names} {'runs' if len(models) == 1 else 'run'} on {models[0].board}, serial port {used}.")
    show(f"Firmware: {size.flash_bytes:,} bytes of flash, {size.ram_bytes:,} bytes of static RAM.")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask(ports: Sequence[UsbPort], report: Report) -> UsbPort:
    """Which of several serial ports is the board's."""
    with report.paused():
        for index, port in enumerate(ports, 1):
            click.echo(f"  {index}  {port}", err=True)
        chosen: int = click.prompt("Which port is the board's", type=click.IntRange(1, len(ports)), err=True)
    return ports[chosen - 1]
