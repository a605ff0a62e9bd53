"""A meter on a serial port that writes its recording as lines of text, read while a board runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import serial
from serial.threaded import ReaderThread

from tinygen.errors import LinkLost, NoAnswer

_FIRST_SECONDS = 10.0
"""Until there is a row: many meters start again when their port is opened."""
_AFTER_SECONDS = 0.5
"""What is recorded beyond the last inference."""
_PAUSE_SECONDS = 0.02
_BEGINS_ROW = tuple(bytes([character]) for character in b"0123456789+-.")


class Meter:
    """What a meter on a serial port, or at a pyserial URL, writes while it is listened to."""

    def __init__(self, port: str, baud: int) -> None:
        self._port = port
        self._baud = baud
        self._heard = _Heard()

    @property
    def rows(self) -> bytes:
        """Whole lines, each heading once; the first may be the end of one that had begun before."""
        lines = self._heard.data.splitlines(keepends=True)
        headings: set[bytes] = set()
        kept = bytearray()
        for line in map(bytes, lines):
            is_row = line[:1] in _BEGINS_ROW
            if line.endswith(b"\n") and (is_row or line not in headings):
                kept += line
            if not is_row:
                headings.add(line)
        return bytes(kept)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Listen from before the body until a little after it.

        Raises NoAnswer when the port cannot be opened or nothing comes from it, and LinkLost when it goes away.
        """
        try:
            opened = serial.serial_for_url(self._port, baudrate=self._baud, exclusive=True)
        except (OSError, ValueError) as error:
            raise NoAnswer(
                f"cannot open the meter's serial port {self._port}: {error}",
                "Is it plugged in, and does no other program use it?",
            ) from None
        with ReaderThread(opened, lambda: self._heard):
            self._await_rows()
            yield
            time.sleep(_AFTER_SECONDS)
            self._expect_connected()

    def _await_rows(self) -> None:
        until = time.monotonic() + _FIRST_SECONDS
        while self._heard.data.count(b"\n") < 2:
            self._expect_connected()
            if time.monotonic() > until:
                raise NoAnswer(
                    f"the meter on {self._port} wrote no lines in {_FIRST_SECONDS:.0f} seconds at {self._baud} baud",
                    "Let it write lines like time (s),current (A),voltage (V),D0, or say its speed with --meter-baud.",
                )
            time.sleep(_PAUSE_SECONDS)

    def _expect_connected(self) -> None:
        if self._heard.lost is not None:
            raise LinkLost(f"the meter on {self._port} went away: {self._heard.lost}", "Plug it in, and measure again.")


class _Heard:
    """What pyserial's thread calls, by the names that it has for that."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: Exception | None = None

    def connection_made(self, thread: ReaderThread) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = error
