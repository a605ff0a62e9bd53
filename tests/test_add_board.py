"""Boards from PlatformIO's own descriptions: what is written is what they say, or a refusal in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy_model
from click.testing import CliRunner

from tinygen import platformio_boards
from tinygen.add_board import add_board
from tinygen.cli.boards import boards
from tinygen.errors import BoardError, OutputError, ToolFailed
from tinygen.platformio_boards import describe, from_listing
from tinygen.project import project_files
from tinygen.target import AVR, NEVER, list_cores, load_board, load_core

Facts = dict[str, Any]

MCUS = {
    "nano33ble": "nrf52840",
    "adafruit_feather_nrf52840": "nrf52840",
    "bluepill_f103c8": "stm32f103c8t6",
    "zero": "samd21g18a",
    "esp32dev": "esp32",
    "esp32-s3-devkitc-1": "esp32s3",
    "esp32-c3-devkitm-1": "esp32c3",
    "uno": "atmega328p",
    "mega2560": "atmega2560",
}


def facts_of(name: str) -> Facts:
    """A shipped board, as PlatformIO describes it."""
    board = load_board(name)
    assert board.port is not None
    cpu = {} if board.core.startswith(("xtensa", "rv", "avr")) else {"cpu": board.core}
    hwids = [[f"0x{half.upper()}" for half in usb.split(":")] for usb in board.port.usb]
    bsp = {"bsp": {"name": "adafruit"}} if board.port.header else {}
    return {
        "name": board.title,
        "frameworks": ["arduino", "zephyr"],
        "build": {"mcu": MCUS[name], "f_cpu": f"{board.clock_hz}L", "hwids": hwids, **cpu, **bsp},
        "upload": {
            "maximum_size": board.flash_bytes,
            "maximum_ram_size": board.ram_bytes,
            "use_1200bps_touch": board.port.native_usb,
            "require_upload_port": board.port.uploads,
            "offset_address": hex(board.regions[0].address),
        },
    }


def without(facts: Facts, table: str, key: str) -> Facts:
    return {**facts, table: {name: value for name, value in facts[table].items() if name != key}}


NANO = facts_of("nano33ble")


def installed(folder: Path, name: str, facts: object, platform: str = "some", version: str = "1.2.3") -> Path:
    """The file of a board in a platform of PlatformIO's."""
    path = folder / "platforms" / platform / "boards" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(facts if isinstance(facts, str) else json.dumps(facts))
    (path.parent.parent / "platform.json").write_text(json.dumps({"name": platform, "version": version}))
    return path


@pytest.mark.parametrize("name", MCUS)
def test_what_platformio_says_is_what_the_board_has(name: str, tmp_path: Path) -> None:
    shipped = load_board(name)
    path, board = add_board(str(installed(tmp_path, name, facts_of(name))), tmp_path / f"{name}.toml")
    assert load_board(path) == board
    assert (board.core, board.clock_hz, board.title) == (shipped.core, shipped.clock_hz, shipped.title)
    assert (board.flash_bytes, board.ram_bytes) == (shipped.flash_bytes, shipped.ram_bytes)
    assert [region.address >> 24 for region in board.regions] == [region.address >> 24 for region in shipped.regions]
    assert board.port is not None and shipped.port is not None
    for fact in ("ticks", "header", "usb", "native_usb", "resets_on_open", "uploads"):
        assert getattr(board.port, fact) == getattr(shipped.port, fact), fact
    assert (board.platform, board.platformio_board, board.tried) == ("some@1.2.3", name, NEVER)
    assert project_files(board, load_core(board.core), [toy_model.manifest(board.name)])["src/port/board.h"]


@pytest.mark.parametrize(
    ("mcu", "ram", "core", "address", "stack"),
    [
        ("atmega168", 1_024, "avr-atmega328p", 0x80_0100, 256),
        ("atmega328p", 2_048, "avr-atmega328p", 0x80_0100, 256),
        ("ATMEGA32U4", 2_560, "avr-atmega328p", 0x80_0100, 256),
        ("atmega1280", 8_192, "avr-atmega1284p", 0x80_0200, 512),
        ("atmega1284p", 16_384, "avr-atmega1284p", 0x80_0100, 1_024),
        ("atmega2561", 8_192, "avr-atmega2560", 0x80_0200, 512),
    ],
)
def test_processors_with_eight_bits(mcu: str, ram: int, core: str, address: int, stack: int, tmp_path: Path) -> None:
    native = mcu == "ATMEGA32U4"
    upload = {"maximum_size": 28_672, "maximum_ram_size": ram, "require_upload_port": True}
    upload |= {"protocol": "avr109", "use_1200bps_touch": True} if native else {"protocol": "arduino"}
    build = {"mcu": mcu, "f_cpu": "16000000L"}
    facts = {"name": "Mine", "frameworks": ["arduino"], "build": build, "upload": upload}
    _, board = add_board(str(installed(tmp_path, "mine", facts)), tmp_path / "mine.toml")
    assert (board.core, board.regions[1].address, board.stack_bytes) == (core, address, stack)
    assert board.port is not None
    assert (board.port.native_usb, board.port.resets_on_open, board.port.uploads) == (native, not native, True)
    assert load_core(core).architecture == AVR


@pytest.mark.parametrize(
    ("mcu", "cpu", "core", "flash", "ram"),
    [
        ("stm32g071rbt6", "cortex-m0plus", "cortex-m0plus", 0x0800_0000, 0x2000_0000),
        ("samd51j19a", "cortex-m4", "cortex-m4", 0, 0x2000_0000),
        ("nrf52811_xxaa", "cortex-m4", "cortex-m3", 0, 0x2000_0000),  # has no FPU
        ("mk20dx256", "cortex-m4", "cortex-m3", 0, 0x1FFF_8000),  # nor has this one
        ("mk66fx1m0", "cortex-m4", "cortex-m4", 0, 0x1FFF_0000),
        ("ra4m1", "cortex-m4", "cortex-m4", 0, 0x2000_0000),
        ("gd32f303cct6", "cortex-m4", "cortex-m4", 0x0800_0000, 0x2000_0000),
        ("esp32s2", "", "xtensa-lx7", 0x3F00_0000, 0x3FFB_0000),
        ("esp32c6", "", "rv32imc", 0x4200_0000, 0x4080_0000),
        ("xmc4700", "cortex-m4", "cortex-m4", 0, 0x2000_0000),  # of no known family: guessed
    ],
)
def test_processors_of_other_makers(mcu: str, cpu: str, core: str, flash: int, ram: int, tmp_path: Path) -> None:
    facts = {**NANO, "build": {"mcu": mcu, "f_cpu": "48000000L"} | ({"cpu": cpu} if cpu else {})}
    path, board = add_board(
        str(installed(tmp_path, "mine", without(facts, "upload", "offset_address"))), tmp_path / "mine.toml"
    )
    assert (board.core, *(region.address for region in board.regions)) == (core, flash, ram)
    text = path.read_text()
    assert ("guessed" in text) == (mcu == "xmc4700")
    assert ("without one, cortex-m3 does" in text) == ("fpu" in load_core(core).features)


def test_a_port_is_the_boards_own_where_platformio_says_so(tmp_path: Path) -> None:
    upload = {"maximum_size": 65_536, "maximum_ram_size": 8_192, "use_1200bps_touch": True, "native_usb": False}
    due = {**NANO, "upload": upload}
    _, board = add_board(str(installed(tmp_path / "due", "due", due)), tmp_path / "due.toml")
    assert board.port is not None and not board.port.native_usb
    teensy = {**NANO, "build": {"mcu": "mk20dx256", "cpu": "cortex-m4", "core": "teensy3", "f_cpu": "72000000L"}}
    _, board = add_board(str(installed(tmp_path / "teensy", "teensy31", teensy)), tmp_path / "teensy31.toml")
    shipped = load_board("teensy41").port
    assert board.port is not None and shipped is not None
    assert (board.port.usb, board.port.native_usb, board.port.uploads) == (shipped.usb, True, shipped.uploads)


def test_an_installed_board_is_found_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    installed(tmp_path, "nano33ble", facts_of("nano33ble"), "nordicnrf52", "10.11.0")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(boards, ["--add", "nano33ble"], catch_exceptions=False)
    assert "nano33ble.toml" in done.output
    assert load_board("./nano33ble.toml").platform == "nordicnrf52@10.11.0"
    again = CliRunner().invoke(boards, ["--add", "nano33ble"])
    assert isinstance(again.exception, OutputError)
    other = CliRunner().invoke(boards, ["--add", "nano33ble", "-o", "other.toml", "--json"])
    assert json.loads(other.output)["board"]["core"] == "cortex-m4"


def test_an_id_that_nobody_can_look_up_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    monkeypatch.setattr(platformio_boards, "REGISTRY", ("127.0.0.1", 9))
    with pytest.raises(ToolFailed, match=r"no installed platform .* cannot be reached"):
        describe("nucleo_l432kc")


def test_a_board_from_the_registrys_list(tmp_path: Path) -> None:
    row = {"id": "nucleo_l432kc", "name": "ST Nucleo L432KC", "platform": "ststm32", "mcu": "STM32L432KCU6"}
    row |= {"fcpu": 80_000_000, "ram": 65_536, "rom": 262_144, "frameworks": ["arduino"]}  # type: ignore[dict-item]
    found = from_listing("nucleo_l432kc", [{"id": "nucleo_l432"}, row])
    path = tmp_path / "nucleo_l432kc.json"
    path.write_text(json.dumps(found.facts))
    _, board = add_board(str(path), tmp_path / "b.toml", found.platform)
    assert (board.core, board.flash_bytes, board.platform) == ("cortex-m4", 262_144, "ststm32")
    with pytest.raises(BoardError, match="no board 'nucleo_l433'"):
        from_listing("nucleo_l433", [row])


TINY = {**NANO, "name": "Digispark", "build": {"mcu": "attiny85", "f_cpu": "16500000L"}}


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        (TINY, ["the processor 'attiny85'", "boards/cores", *list_cores()]),
        ({**NANO, "build": {**NANO["build"], "cpu": "cortex-m23"}}, ["the core 'cortex-m23'", "cortex-m33"]),
        ({**NANO, "frameworks": ["zephyr"]}, ["has no framework 'arduino'", "but zephyr"]),
        ({}, ["has no framework 'arduino'", "but none"]),
        (without(NANO, "upload", "maximum_size"), ["upload.maximum_size"]),
        (without(NANO, "build", "f_cpu"), ["build.f_cpu"]),
        ("[]", ["has no fields"]),
        ("{", ["cannot read"]),
    ],
)
def test_what_cannot_be_a_board_is_refused_in_words(tmp_path: Path, facts: object, parts: list[str]) -> None:
    path = installed(tmp_path, "mine", facts)
    with pytest.raises(BoardError) as caught:
        add_board(str(path), tmp_path / "mine.toml")
    assert all(part in str(caught.value) for part in parts)
    assert not (tmp_path / "mine.toml").exists()


def test_a_file_without_a_platform_wants_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(NANO))
    with pytest.raises(BoardError, match="does not say which platform"):
        add_board(str(path), tmp_path / "mine.toml")
    assert add_board(str(path), tmp_path / "mine.toml", "nordicnrf52@10.11.0")[1].platform == "nordicnrf52@10.11.0"


@pytest.mark.parametrize("name", ['a "quoted" name', "two\nlines = 1", "ünïcode \\ back", "{{ 1 }}"])
def test_any_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    path = installed(tmp_path, "mine", {**NANO, "name": name})
    assert add_board(str(path), tmp_path / "mine.toml")[1].title == " ".join(name.split())


@pytest.mark.parametrize("out", ["mine.txt", "No Name.toml"])
def test_a_file_that_cannot_be_a_boards_is_not_left(tmp_path: Path, out: str) -> None:
    path = installed(tmp_path, "mine", NANO)
    with pytest.raises(BoardError):
        add_board(str(path), tmp_path / out)
    assert not (tmp_path / out).exists()
