"""How a real board is reached: facts of a board file's table [port]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinygen.resources import resource
from tinygen.toml_table import Table

_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_C_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PIN = re.compile(r"[A-Za-z0-9_]+")
_HEADER = re.compile(r"[A-Za-z0-9_]+\.h")


@dataclass(frozen=True)
class Port:
    """The serial port of a board, and the runner's sources that the board needs."""

    ticks: str
    """What counts the runner's ticks: a file ``ticks_<name>.cpp`` of the framework's port."""
    serial: str = "Serial"
    """The framework's object for the serial port."""
    header: str = ""
    """That declares it; empty where the framework's main header does."""
    usb: tuple[str, ...] = ()
    """Vendor and product of the USB device that has the port, "2341:805a", in any of its states; empty: any may be."""
    native_usb: bool = False
    """The processor itself is the USB device: the port goes away with each reset, and comes back."""
    resets_on_open: bool = False
    """Opening the port may restart the board."""
    uploads: bool = False
    """Firmware is sent over this port; else over a debug probe, or a USB device of another kind."""
    marker: str = ""
    """The framework's name of a pin that is high while the model runs, for a meter of energy; empty: none."""
    bootloader: str = ""
    """What to do by hand where flashing does not start, in a sentence."""


def read_port(table: Table, framework: str) -> Port:
    """A board's port to a framework. Raises the table's error for what makes no sense."""
    port = Port(
        ticks=table.choice("ticks", tick_sources(framework)),
        serial=table.text("serial", default="Serial", pattern=_C_NAME, form="a name in C"),
        header=table.text("header", default="", pattern=_HEADER, form="the name of a header"),
        usb=table.texts("usb", pattern=_USB, form='texts such as "2341:805a", in lower case', default=()),
        native_usb=table.flag("native_usb"),
        resets_on_open=table.flag("resets_on_open"),
        uploads=table.flag("uploads"),
        marker=table.text("marker", default="", pattern=_PIN, form='a pin of the framework, such as "PA8"'),
        bootloader=table.text("bootloader", default=""),
    )
    table.finish()
    return port


def tick_sources(framework: str) -> list[str]:
    """The sources of ticks that the runner's port to a framework has."""
    folder = resource("firmware", "ports", framework)
    return sorted(path.stem.removeprefix("ticks_") for path in folder.glob("ticks_*.cpp"))
