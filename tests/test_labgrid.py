"""Places of a real labgrid coordinator, on loopback, with an emulated board behind its exporter."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy_model

from tinygen import board as boards
from tinygen import firmware, labgrid_place
from tinygen.errors import NoAnswer, ToolMissing, UsageError
from tinygen.manifest import Manifest

try:
    import labgrid
except ImportError:
    labgrid = None  # type: ignore[assignment]

needs_labgrid = pytest.mark.skipif(labgrid is None, reason="the extra labgrid is not installed")

EXPORTED = """
desk:
  board: {{cls: NetworkSerialPort, host: 127.0.0.1, port: {port}, speed: 115200, protocol: raw}}
  other: {{cls: NetworkService, address: 127.0.0.1, username: nobody}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(*command: object, folder: Path) -> Iterator[None]:
    with (folder / f"{Path(str(command[0])).name}.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Coordinator:
    """A coordinator, asked with labgrid's own client."""

    def __init__(self, address: str) -> None:
        self.address = address

    def client(self, *arguments: str) -> str:
        command = [program("client"), "-x", self.address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def acquired(self, place: str) -> bool:
        return "acquired: None" not in self.client("-p", place, "show")


def program(name: str) -> str:
    return str(Path(sys.executable).parent / f"labgrid-{name}")


def until(is_so: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            if is_so():
                return
        time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Coordinator, Path, Manifest]]:
    """An emulated board, exported, as the place desk; a place without a serial port, as the place bare."""
    folder = tmp_path_factory.mktemp("lab")
    out = folder / "out"
    content = toy_model.write_project(out, "qemu-mps2-an386")
    patch = pytest.MonkeyPatch()
    patch.setenv("TINYGEN_SERIAL", "tcp")
    try:
        url = firmware.flash(out)
        (folder / "exported.yaml").write_text(EXPORTED.format(port=url.rpartition(":")[2]))
        lab = Coordinator(f"127.0.0.1:{free_port()}")
        coordinator = (program("coordinator"), "-l", lab.address)
        exporter = (program("exporter"), "-c", lab.address, "-n", "here", "exported.yaml")
        with contextlib.ExitStack() as programs:
            programs.enter_context(running(*coordinator, folder=folder))
            # An exporter that finds no coordinator gives up.
            until(lambda: "NetworkSerialPort" not in lab.client("resources"), folder / "labgrid-coordinator.log")
            programs.enter_context(running(*exporter, folder=folder))
            until(lambda: "NetworkSerialPort" in lab.client("resources"), folder / "labgrid-exporter.log")
            for place, match in (("desk", "here/desk/NetworkSerialPort"), ("bare", "here/desk/NetworkService")):
                lab.client("-p", place, "create")
                lab.client("-p", place, "add-match", match)
            yield lab, out, content
    finally:
        firmware.stop(out)
        patch.undo()


@needs_labgrid
def test_a_place_is_acquired_used_and_given_back(
    lab: tuple[Coordinator, Path, Manifest], capfd: pytest.CaptureFixture[str]
) -> None:
    coordinator, out, content = lab
    data = toy_model.example(5)
    assert not coordinator.acquired("desk")
    with boards.flashed(out, content, f"labgrid://{coordinator.address}/desk") as peer:
        assert coordinator.acquired("desk")
        answer = peer.run([data], reset=True)
    assert list(answer.outputs) == [toy_model.layers(data)[1]]
    assert not coordinator.acquired("desk")
    assert capfd.readouterr().out == ""


@needs_labgrid
def test_a_place_that_the_user_holds_stays_acquired(
    lab: tuple[Coordinator, Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, out, content = lab
    monkeypatch.setenv("LG_COORDINATOR", coordinator.address)
    coordinator.client("-p", "desk", "acquire")
    try:
        with boards.connected(out, content, "labgrid://desk") as peer:
            assert peer.session.hello().name == "toy"
        assert coordinator.acquired("desk")
        monkeypatch.setenv("LG_USERNAME", "somebody-else")
        with (
            pytest.raises(NoAnswer, match="already acquired"),
            boards.connected(out, content, "labgrid://desk"),
        ):
            pass
    finally:
        monkeypatch.delenv("LG_USERNAME", raising=False)
        coordinator.client("-p", "desk", "release")


@needs_labgrid
@pytest.mark.parametrize(("place", "said"), [("nowhere", "nothing"), ("bare", "has no serial port: it has")])
def test_a_place_that_cannot_be_used_is_said_and_given_back(
    lab: tuple[Coordinator, Path, Manifest], place: str, said: str
) -> None:
    coordinator, out, content = lab
    url = f"labgrid://{coordinator.address}/{place}"
    with pytest.raises(NoAnswer, match=said), boards.connected(out, content, url):
        pass
    assert place == "nowhere" or not coordinator.acquired(place)


@needs_labgrid
def test_a_coordinator_that_is_not_there_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(NoAnswer, match=r"coordinator 127\.0\.0\.1:1: "),
        labgrid_place.resolved("labgrid://127.0.0.1:1/desk"),
    ):
        pass


def test_without_labgrid_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("labgrid", "labgrid.remote", "labgrid.remote.client"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolMissing, match="need labgrid"), labgrid_place.resolved("labgrid://desk"):
        pass


def test_other_ports_are_what_they_are() -> None:
    for port in (None, "/dev/ttyACM0", "rfc2217://lab:4000"):
        with labgrid_place.resolved(port) as url:
            assert url == port


def test_nothing_is_flashed_through_a_place(tmp_path: Path) -> None:
    toy_model.write_project(tmp_path, "nucleo_f446re")
    with pytest.raises(UsageError, match="nothing is flashed through labgrid://desk"):
        firmware.flash(tmp_path, "labgrid://desk")
