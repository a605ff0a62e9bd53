"""tinygen bench --meter: a meter at the other end of a socket is listened to while a board runs."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_model

from tinygen.energy.meter import Meter
from tinygen.errors import LinkLost, NoAnswer

HEADING = b"half a row\ntime (s),current (A),voltage (V),D0\n"


def row(number: int, level: int) -> bytes:
    return f"{number * 0.001:.3f},{0.012 if level else 0.002},3.0,{level}\n".encode()


def pulses(count: int) -> bytes:
    """Inferences of four rows, with six before each, and a row that has only begun."""
    levels = [0] * 6 + [1] * 4
    rows = [row(number, levels[number % 10]) for number in range(10 * count)]
    return b"".join([*rows, row(10 * count, 0), b"9.9"])


@contextlib.contextmanager
def meter(said: bytes, stays: bool = True) -> Iterator[str]:
    """A URL at which it is said to the first one who connects, who is then left alone or cut off."""
    done = threading.Event()

    def serve() -> None:
        peer, _ = server.accept()
        with peer:
            done.wait(1)  # as one that starts again; what came before the port was open is lost
            peer.sendall(said)
            if stays:
                done.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            done.set()
            thread.join(10)


def test_whole_lines_are_kept_and_headings_once() -> None:
    heading = HEADING.splitlines(keepends=True)[1]
    with meter(HEADING + row(0, 0) + heading + row(1, 1) + b"9.9") as url:
        found = Meter(url, 115_200)
        with found.recording():
            pass
    assert found.rows == HEADING + row(0, 0) + row(1, 1)


def test_a_meter_that_goes_away_is_an_error() -> None:
    gone = pytest.raises(LinkLost, match=r"the meter on .* went away")
    with meter(HEADING + pulses(1), stays=False) as url, gone, Meter(url, 115_200).recording():
        pass


def test_a_meter_that_is_silent_or_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.energy.meter._FIRST_SECONDS", 0.2)
    silent = pytest.raises(NoAnswer, match="wrote no lines in 0 seconds at 9600 baud")
    with meter(b"no line") as url, silent, Meter(url, 9600).recording():
        pass
    absent = pytest.raises(NoAnswer, match="cannot open the meter's serial port /dev/nothing")
    with absent, Meter("/dev/nothing", 9600).recording():
        pass


def test_the_command_records_and_evaluates_what_a_meter_says(tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "recorded.csv"
    toy_model.write_project(out, "qemu-mps2-an386")
    command = [sys.executable, "-m", "tinygen", "bench", str(out), "--repeat", "3", "--energy", str(file), "--json"]

    def run() -> subprocess.CompletedProcess[str]:
        with meter(HEADING + pulses(3)) as url:
            given = [*command, "--meter", url]
            return subprocess.run(given, capture_output=True, text=True, check=False, timeout=300)

    done = run()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ticks"]["count"] == 3
    assert found["energy"]["joules"]["median"] == pytest.approx(4 * 0.001 * 0.012 * 3)
    kept = file.read_bytes()
    assert kept == (HEADING + pulses(3)).removesuffix(b"9.9")
    again = run()
    assert again.returncode == 1
    assert "is there already" in again.stdout and file.read_bytes() == kept
