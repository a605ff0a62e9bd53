"""What the UART of an emulated board is to this computer: a pseudo terminal, or a TCP port."""

from __future__ import annotations

import os
import select
import socket
import time

try:
    import tty
except ImportError:  # Windows
    tty = None

MOMENT_SECONDS = 0.05


def has_terminals() -> bool:
    """Whether this computer has pseudo terminals, and nobody wants TCP instead."""
    return tty is not None and os.environ.get("TINYGEN_SERIAL") != "tcp"


def free_port() -> int:
    """A TCP port of this computer that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pty:
    """A pseudo terminal for the board's UART, which the emulator keeps open on both sides.

    QEMU's own `-serial pty` looks only once a second whether somebody has opened it.
    """

    def __init__(self) -> None:
        self._board, self._host = os.openpty()
        tty.setraw(self._host)
        self.name = os.ttyname(self._host)
        self.arguments = ["-add-fd", f"fd={self._board},set=1"]
        self.arguments += ["-chardev", "serial,id=uart,path=/dev/fdset/1", "-serial", "chardev:uart"]
        self.inherited = (self._board, self._host)

    def ask(self, question: bytes) -> bytes:
        """Send bytes, and return what has come within a moment."""
        os.write(self._host, question)
        ready, _, _ = select.select([self._host], [], [], MOMENT_SECONDS)
        return os.read(self._host, 256) if ready else b""

    def close(self) -> None:
        """Leave the terminal to the emulator."""
        for descriptor in self.inherited:
            os.close(descriptor)


class Tcp:
    """The same over TCP, for systems without pseudo terminals."""

    def __init__(self) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self._connection: socket.socket | None = None
        self.name = f"socket://{self.host}:{self.port}"
        self.arguments = ["-serial", f"tcp:{self.host}:{self.port},server=on,wait=off,nodelay=on"]
        self.inherited: tuple[int, ...] = ()

    def ask(self, question: bytes) -> bytes:
        """Send bytes, and return what has come within a moment."""
        try:
            if self._connection is None:
                self._connection = socket.create_connection((self.host, self.port), MOMENT_SECONDS)
            self._connection.sendall(question)
            return self._connection.recv(256)
        except TimeoutError:
            return b""
        except OSError:
            time.sleep(0.01)
            return b""

    def close(self) -> None:
        """Leave the port to the next host: emulators serve one connection after the other."""
        if self._connection is not None:
            self._connection.close()
