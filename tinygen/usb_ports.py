"""Serial ports that are USB devices: which of them is the board's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serial.tools import list_ports

from tinygen.errors import NoAnswer

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class UsbPort:
    """A serial port of a USB device."""

    device: str
    """What opens it: "/dev/ttyACM0", "COM3"."""
    usb: str
    """Vendor and product, "2341:805a"."""
    serial_number: str
    """Empty where the device has none."""
    description: str

    def __str__(self) -> str:
        return f"{self.device} ({self.description}, USB {self.usb})"


Choose = Callable[[Sequence[UsbPort]], UsbPort]
"""Asks which of several ports is meant."""
Find = Callable[[], Sequence[UsbPort]]


def plugged_in() -> list[UsbPort]:
    """All that there are at the moment, by name."""
    return sorted(
        (
            UsbPort(port.device, f"{port.vid:04x}:{port.pid:04x}", port.serial_number or "", port.description or "")
            for port in list_ports.comports()
            if port.vid is not None and port.pid is not None
        ),
        key=lambda port: port.device,
    )


def candidates(ports: Sequence[UsbPort], usb: Sequence[str]) -> list[UsbPort]:
    """Those that may be the board's, which has one of these devices; without any, every one may."""
    return [port for port in ports if not usb or port.usb in usb]


def only_one(
    ports: Sequence[UsbPort], board: str, usb: Sequence[str], hint: str = "", choose: Choose | None = None
) -> UsbPort:
    """The board's port. `choose` is asked where there are several.

    Raises NoAnswer when there is none, with `hint`, and when there are several and nobody to ask.
    """
    found = candidates(ports, usb)
    if len(found) == 1:
        return found[0]
    if not found:
        others = "; there are " + ", ".join(map(str, ports)) if ports else "; there is no USB serial port at all"
        looked = f" (USB {' or '.join(usb)})" if usb else ""
        raise NoAnswer(
            f"no serial port of the board {board}{looked} is plugged in{others}",
            " ".join(filter(None, ("Plug it in, or name its port with --port.", hint))),
        )
    if choose is not None:
        return choose(found)
    listed = "\n".join(f"  - {port}" for port in found)
    raise NoAnswer(f"{len(found)} serial ports may be the one of {board}:\n{listed}", "Name it with --port.")


def returned(
    before: UsbPort | None, others: Sequence[UsbPort], usb: Sequence[str], seconds: float, find: Find = plugged_in
) -> UsbPort | None:
    """The port of a board that restarts, once it is there again, under whatever name; None when it does not come.

    `before` is the port that it had, and `others` those that there were besides. One with the same serial number is
    preferred, then the same name.
    """
    deadline = time.monotonic() + seconds
    while True:
        now = [port for port in candidates(find(), usb) if port not in others]
        if before is not None:
            same = [port for port in now if before.serial_number and port.serial_number == before.serial_number]
            now = same or [port for port in now if port.device == before.device] or now
        if len(now) == 1:
            return now[0]
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL_SECONDS)
