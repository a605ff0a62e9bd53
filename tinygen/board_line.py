"""The line to the board of an output folder: opened, and opened again after it was lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tinygen import firmware
from tinygen.errors import LinkLost, NoAnswer, TinygenError
from tinygen.greeting import greet
from tinygen.link import Link, Patience, open_link
from tinygen.manifest import Manifest
from tinygen.session import Session

_BOOT_SECONDS = 5.0
_RESTART_SECONDS = 6.0
"""For a board whose port goes away with each reset."""

Say = Callable[[str], None]


class BoardLine:
    """One link at a time. open() before all else, close() at the end."""

    def __init__(
        self, find: Callable[[], str], open_port: Callable[[str], Link], manifest: Manifest, start_seconds: float
    ) -> None:
        """`find` says which port the board has at the moment, `open_port` opens it; see greet()."""
        self._find = find
        self._open_port = open_port
        self._manifest = manifest
        self._start_seconds = start_seconds
        self._link: Link | None = None

    def open(self) -> Session:
        """The conversation with the board, which has begun. Raises like greet()."""
        return self._greet(self._start_seconds)

    def again(self, lost: TinygenError, seconds: float, say: Say) -> Session:
        """The same after `lost`, if the board comes back within so many seconds.

        Raises `lost` where nothing is to be waited for, LinkLost when it does not come, WrongModel when another one
        does.
        """
        if not seconds:
            raise lost
        say(f"{lost.message}; waiting up to {seconds:g} s for the board to come back")
        try:
            return self._greet(seconds)
        except (LinkLost, NoAnswer) as last:
            raise LinkLost(
                f"{lost.message}; it did not come back in {seconds:g} s: {last.message}", last.remedy
            ) from last

    def close(self) -> None:
        """Let go of the port."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _greet(self, seconds: float) -> Session:
        self.close()
        self._link, session = greet(self._find, self._open_port, self._manifest, seconds)
        return session


def line_to(out: Path, manifest: Manifest, port: str | None) -> BoardLine:
    """The line to the board that runs the firmware of `out`."""
    baud = firmware.baud(out)
    patience = Patience.at(baud, _BOOT_SECONDS if firmware.starts_when_opened(out) else 0.0)

    def open_port(url: str) -> Link:
        link = open_link(url, baud, patience)
        link.name = f"{manifest.board} on {link.name}"
        return link

    return BoardLine(
        lambda: firmware.current_port(out, port),
        open_port,
        manifest,
        _RESTART_SECONDS if firmware.restarts(out) else 0.0,
    )
