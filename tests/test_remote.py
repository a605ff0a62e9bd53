"""Boards on other machines: through pyserial's URLs, against its own RFC 2217 server."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
import toy_model
from fakes import FakeBoard
from serial import rfc2217

from tinygen import board as boards
from tinygen import firmware
from tinygen.errors import LinkError, NoAnswer


class Terminal:
    """A fake board behind a pseudo terminal, in a thread."""

    def __init__(self) -> None:
        self.board = FakeBoard()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.name = os.ttyname(self._slave)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 4096):
                self.board.write(data)
                while answer := self.board.read(4096):
                    os.write(self._master, answer)

    def close(self) -> None:
        os.close(self._slave)


class Quiet(serial.Serial):
    """A pseudo terminal has no modem lines, which RFC 2217 wants to know of."""

    cts = dsr = ri = cd = False

    def _update_dtr_state(self) -> None:
        pass

    def _update_rts_state(self) -> None:
        pass


class Server:
    """A serial port of this machine for one client, over TCP: as it is, or with RFC 2217's negotiation."""

    def __init__(self, name: str, negotiates: bool) -> None:
        self.clients = 0
        self._port = Quiet(name, 115_200, timeout=0.02)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._negotiates = negotiates
        self.url = f"{'rfc2217' if negotiates else 'socket'}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def write(self, data: bytes) -> None:
        """To the client, as the negotiation wants to."""
        assert self._connection is not None
        self._connection.sendall(data)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._connection, _ = self._listener.accept()
                self.clients += 1
                manager = rfc2217.PortManager(self._port, self) if self._negotiates else None
                threading.Thread(target=self._answers, args=(self._connection, manager), daemon=True).start()
                with contextlib.suppress(OSError):
                    while data := self._connection.recv(4096):
                        self._port.write(b"".join(manager.filter(data)) if manager else data)

    def _answers(self, connection: socket.socket, manager: rfc2217.PortManager | None) -> None:
        with contextlib.suppress(OSError, TypeError):
            while True:
                data = self._port.read(max(1, self._port.in_waiting))
                connection.sendall(b"".join(manager.escape(data)) if manager else data)

    def unplug(self) -> None:
        """The client is cut off, and nobody is served any more."""
        self._listener.close()
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning:serial")


@pytest.fixture(params=[True, False], ids=["rfc2217", "socket"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Terminal, Server]]:
    terminal = Terminal()
    yield terminal, Server(terminal.name, request.param)
    terminal.close()


@pytest.mark.parametrize("board", ["nucleo_f446re", "qemu-mps2-an386"])
def test_a_board_is_reached_through_a_url_and_never_flashed(
    server: tuple[Terminal, Server], board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = toy_model.write_project(tmp_path, board)
    monkeypatch.setattr(firmware, "flash", lambda *arguments: pytest.fail("it was flashed"))
    monkeypatch.setattr(firmware, "stop", lambda *arguments: pytest.fail("it was stopped"))
    data = toy_model.example(3)
    with boards.flashed(tmp_path, content, server[1].url) as peer:
        answer = peer.run([data], reset=True)
    assert list(answer.outputs) == [toy_model.layers(data)[1]]
    assert list(answer.layer_crcs) == toy_model.layer_crcs(data)
    assert server[1].clients == 1


def test_a_server_that_goes_away_is_an_error_and_not_waited_for_in_vain(
    server: tuple[Terminal, Server], tmp_path: Path
) -> None:
    content = toy_model.write_project(tmp_path, "nucleo_f446re")
    said: list[str] = []
    with (
        pytest.raises(LinkError, match=r"it did not come back in 0\.3 s"),
        boards.connected(tmp_path, content, server[1].url, 0.3, said.append) as peer,
    ):
        peer.run([toy_model.example()], reset=True)
        server[1].unplug()
        peer.run([toy_model.example()], reset=False)
    assert len(said) == 1 and "waiting up to 0.3 s" in said[0]


@pytest.mark.parametrize("url", ["rfc2217://127.0.0.1:1", "socket://127.0.0.1:1", "socket://nonsense", "what://ever"])
def test_a_url_where_nobody_is_is_an_error(url: str, tmp_path: Path) -> None:
    content = toy_model.write_project(tmp_path, "nucleo_f446re")
    with pytest.raises(NoAnswer, match="cannot open the serial port"), boards.connected(tmp_path, content, url):
        pass
