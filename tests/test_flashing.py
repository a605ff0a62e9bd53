"""Flashing a board that is not here: which port it has, what PlatformIO is asked, what is said when something lacks."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
import toy_model
from click.testing import CliRunner
from rich.console import Console

from tinygen import firmware, usb_ports
from tinygen.cli.flash import flash as flash_command
from tinygen.errors import DoesNotFit, NoAnswer, ToolFailed
from tinygen.platformio_storage import check_registry, missing_packages, tool
from tinygen.report import progress
from tinygen.usb_ports import UsbPort

NANO = UsbPort("/dev/ttyACM0", "2341:805a", "A1", "Nano 33 BLE")
OTHER_NANO = UsbPort("/dev/ttyACM1", "2341:005a", "B2", "Nano 33 BLE")
PROBE = UsbPort("/dev/ttyACM7", "0483:374b", "066C", "STM32 STLink")
CLONE = UsbPort("/dev/ttyUSB0", "1a86:7523", "", "USB Serial")


class Desk:
    """What is plugged in, and a PlatformIO that only writes down what it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.ports: list[UsbPort] = []
        self.after: list[list[UsbPort]] = []
        """What is there at each look after flashing; the last one stays."""
        self.asked: list[list[str]] = []
        monkeypatch.setattr(firmware, "plugged_in", self.look)
        monkeypatch.setattr(usb_ports, "plugged_in", self.look)
        monkeypatch.setattr(
            firmware, "returned", lambda before, others, usb, s: usb_ports.returned(before, others, usb, 0.3, self.look)
        )
        monkeypatch.setattr(firmware, "check_registry", lambda platform: None)
        monkeypatch.setattr(firmware, "_run_platformio", lambda project, name, arguments, line: self.run(arguments))

    def look(self) -> list[UsbPort]:
        if self.asked and self.after:
            self.ports = self.after.pop(0)
        return self.ports

    def run(self, arguments: list[str]) -> None:
        self.asked.append(arguments)

    def out(self, board: str) -> Path:
        toy_model.write_project(self.folder / board, board)
        return self.folder / board


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    return Desk(monkeypatch, tmp_path)


def test_the_port_is_found_by_its_device(desk: Desk) -> None:
    desk.ports = [CLONE, NANO, PROBE]
    assert firmware.flash(desk.out("nano33ble")) == NANO.device
    assert desk.asked == [["-t", "upload", "--upload-port", NANO.device]]
    assert firmware.serial_port(desk.out("nucleo_f446re")) == PROBE.device


def test_a_board_with_a_probe_is_not_flashed_over_its_port(desk: Desk) -> None:
    desk.ports = [CLONE, PROBE]
    assert firmware.flash(desk.out("nucleo_f446re")) == PROBE.device
    assert firmware.flash(desk.out("nucleo_f446re"), CLONE.device) == CLONE.device
    assert desk.asked == [["-t", "upload"]] * 2


@pytest.mark.parametrize("renamed", ["/dev/ttyACM0", "/dev/ttyACM5"])
def test_a_port_that_comes_back_under_another_name_is_the_same_board(desk: Desk, renamed: str) -> None:
    back = UsbPort(renamed, "2341:005a", NANO.serial_number, "")
    desk.ports = [NANO, OTHER_NANO]
    desk.after = [[OTHER_NANO], [], [OTHER_NANO, back]]
    assert firmware.flash(desk.out("nano33ble"), NANO.device) == renamed


def test_a_port_with_a_new_name_is_found_when_talked_to(desk: Desk) -> None:
    nano, probe = desk.out("nano33ble"), desk.out("nucleo_f446re")
    desk.ports = [OTHER_NANO, PROBE]
    assert (
        firmware.current_port(nano, OTHER_NANO.device) == firmware.current_port(nano, NANO.device) == OTHER_NANO.device
    )
    assert firmware.current_port(nano, "socket://127.0.0.1:1") == "socket://127.0.0.1:1"
    assert firmware.current_port(probe, "/dev/gone") == "/dev/gone"


def test_quirks_of_ports_are_read_from_the_project(desk: Desk) -> None:
    started = {
        name for name in ("esp32dev", "nano33ble", "nucleo_f446re") if firmware.starts_when_opened(desk.out(name))
    }
    restarted = {name for name in ("esp32dev", "nano33ble", "nucleo_f446re") if firmware.restarts(desk.out(name))}
    assert (started, restarted) == ({"esp32dev", "nano33ble"}, {"nano33ble"})


def test_a_board_in_its_boot_loader_has_no_port_before(desk: Desk) -> None:
    desk.after = [[], [NANO]]
    assert firmware.flash(desk.out("nano33ble")) == NANO.device
    assert desk.asked == [["-t", "upload"]]


def test_a_port_that_does_not_come_back_is_said_with_what_to_press(desk: Desk) -> None:
    desk.ports = [NANO]
    desk.after = [[CLONE]]
    with pytest.raises(NoAnswer, match=r"USB 2341:805a or 2341:005a.*there are /dev/ttyUSB0") as caught:
        firmware.flash(desk.out("nano33ble"))
    assert "twice, quickly" in caught.value.remedy


def test_a_board_that_is_flashed_over_its_port_needs_one_at_once(desk: Desk) -> None:
    with pytest.raises(NoAnswer, match="no USB serial port at all") as caught:
        firmware.flash(desk.out("esp32dev"))
    assert "Hold BOOT" in caught.value.remedy
    assert desk.asked == []


def test_any_port_may_be_that_of_a_board_without_usb(desk: Desk) -> None:
    desk.ports = [CLONE]
    assert firmware.flash(desk.out("bluepill_f103c8")) == CLONE.device


def test_several_ports_are_listed_when_nobody_can_be_asked(desk: Desk) -> None:
    desk.ports = [NANO, OTHER_NANO, CLONE]
    with pytest.raises(NoAnswer) as caught:
        firmware.flash(desk.out("nano33ble"))
    assert all(str(port) in caught.value.message for port in (NANO, OTHER_NANO))
    assert str(CLONE) not in caught.value.message
    assert desk.asked == []


def test_several_ports_are_asked_about(desk: Desk) -> None:
    desk.ports = [NANO, OTHER_NANO]
    assert firmware.flash(desk.out("nano33ble"), choose=lambda ports: ports[1]) == OTHER_NANO.device


def test_the_command_asks_on_a_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ports = [NANO, OTHER_NANO]
    out = desk.out("nano33ble")
    monkeypatch.setattr(firmware, "firmware_size", lambda out: firmware.FirmwareSize(1, 1))
    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygen.cli.flash._is_terminal", lambda: True)
        done = runner.invoke(flash_command, [str(out)], input="3\n2\n", catch_exceptions=False)
    assert f"serial port {OTHER_NANO.device}" in done.output
    refused = runner.invoke(flash_command, [str(out)], input="2\n")
    assert isinstance(refused.exception, NoAnswer)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str, str, str], None]]:
    """Puts a package into a PlatformIO folder of its own, which is without a proxy."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))

    def put(kind: str, name: str, version: str) -> None:
        folder = tmp_path / "core" / f"{kind}s" / f"{name}@{version}"
        folder.mkdir(parents=True)
        (folder / f"{kind}.json").write_text(json.dumps({"name": name, "version": version}))

    yield put


NOBODY = ("127.0.0.1", 9)


def test_a_platform_to_download_without_a_network_is_said_at_once(storage: Callable[[str, str, str], None]) -> None:
    started = time.monotonic()
    with pytest.raises(ToolFailed, match=r"has to download the platform ststm32@19\.6\.0, .* cannot be reached"):
        check_registry("ststm32@19.6.0", NOBODY)
    assert time.monotonic() - started < 50.0  # PlatformIO itself takes one to four minutes


def test_what_is_there_needs_no_network(storage: Callable[[str, str, str], None]) -> None:
    storage("platform", "ststm32", "19.5.0")
    storage("platform", "ststm32_more", "19.6.0")
    parts = ["the build engine tool-scons", "a framework", "a compiler"]
    assert missing_packages("ststm32@19.6.0") == ["the platform ststm32@19.6.0", *parts]
    storage("platform", "ststm32", "19.6.0")
    for index, (name, version) in enumerate(
        [
            ("tool-scons", "4.41101.0"),
            ("framework-arduinoststm32", "4.21200.0"),
            ("toolchain-gccarmnoneeabi", "1.120301.0"),
        ]
    ):
        assert missing_packages("ststm32@19.6.0") == parts[index:]
        storage("package", name, version)
    assert missing_packages("ststm32@19.6.0") == missing_packages("ststm32") == []
    check_registry("ststm32@19.6.0", NOBODY)


@pytest.mark.parametrize(
    ("said", "advised", "not_advised"),
    [
        ("Compiling main.cpp\nerror: no", "All it said", "boot loader"),
        ("Configuring upload protocol...\nerror: no", "boot loader: Hold BOOTSEL", "go online"),
        ("Tool Manager: Installing tool-x\nHTTPClientError:", "go online", "boot loader"),
    ],
)
def test_what_is_advised_goes_with_what_failed(
    said: str, advised: str, not_advised: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_model.write_project(tmp_path, "pico")
    monkeypatch.setattr(firmware, "plugged_in", list)
    monkeypatch.setattr(firmware, "check_registry", lambda platform: None)
    monkeypatch.setattr(firmware, "_run", lambda command, variables, log, on_line: log.write(said))
    with pytest.raises(ToolFailed) as caught:
        firmware.flash(tmp_path)
    assert said in caught.value.message
    assert advised in caught.value.remedy and not_advised not in caught.value.remedy


def test_code_that_a_board_has_no_room_for_is_said_without_the_linker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_model.write_project(tmp_path, "microbit")
    said = (
        "ld: firmware.elf section `.text' will not fit in region `FLASH'\nld: region `FLASH' overflowed by 15216 bytes"
    )
    monkeypatch.setattr(firmware, "_run", lambda command, variables, log, on_line: log.write(said))
    with pytest.raises(DoesNotFit) as caught:
        firmware.build(tmp_path)
    assert caught.value.message.endswith(
        "does not fit on microbit, with the layers' code:\n  - flash: 15,216 bytes too many"
    )
    assert "--optimize size" in caught.value.remedy and "tinygen-build.log" in caught.value.remedy


def test_a_registry_that_answers_is_not_complained_about(storage: Callable[[str, str, str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_registry("ststm32@19.6.0", server.getsockname())


def test_a_project_is_not_begun_without_its_platform(
    storage: Callable[[str, str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(platform: str) -> None:
        check_registry(platform, NOBODY)

    monkeypatch.setattr(firmware, "check_registry", refused)
    toy_model.write_project(tmp_path / "out", "nucleo_f446re")
    with pytest.raises(ToolFailed, match="ststm32"):
        firmware.build(tmp_path / "out")
    assert not (tmp_path / "out" / ".pio").exists()


def test_what_takes_long_is_shown_in_logs_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    with progress.progress_on(Console(file=shown, width=200)) as report:
        on_line = report.line("flashing")
        on_line("at once")
        monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.0)
        on_line("after a while")
    assert shown.getvalue().splitlines() == ["flashing …", "flashing: after a while"]


def test_a_program_that_says_nothing_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(firmware, "_SILENT_SECONDS", 0.1)
    said: list[str] = []
    program = "import time; print('begins', flush=True); time.sleep(0.5); print('ends')"
    with (tmp_path / "log").open("w") as log:
        assert firmware._run([sys.executable, "-c", program], {}, log, said.append) == 0
    assert (tmp_path / "log").read_text() == "begins\nends\n"
    # On a busy machine, the program takes long to begin, too.
    assert [line for line in said if "nothing new" not in line] == ["begins", "ends"]
    assert any("nothing new" in line for line in said[said.index("begins") : said.index("ends")])


def test_a_compilers_programs_are_platformios_where_the_path_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    assert tool("no-such-elf-objdump") == "no-such-elf-objdump"
    for name in ("no-such-elf-objdump.exe", "no-such-elf-objdump-more", "sh"):
        path = tmp_path / "packages" / "toolchain-some" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert Path(tool("no-such-elf-objdump")).name == "no-such-elf-objdump.exe"
    assert tool("sh") == "sh"
