"""A board file from what PlatformIO says about a board."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinygen import emit
from tinygen.board_port import Port
from tinygen.errors import BoardError
from tinygen.target import FLASH, RAM, Region

FRAMEWORK = "arduino"
"""The one that the runner has a port to."""


@dataclass(frozen=True)
class _Family:
    """Processors alike: by the beginning of their names, the core, and where flash and RAM begin."""

    pattern: str
    core: str
    flash: int
    ram: int


# From the data sheets; the first that matches counts. RAM is the one that frameworks place data in.
_FAMILIES = (
    _Family(r"stm32(f0)", "cortex-m0", 0x0800_0000, 0x2000_0000),
    _Family(r"stm32(c0|g0|l0|u0)", "cortex-m0plus", 0x0800_0000, 0x2000_0000),
    _Family(r"stm32(f1|f2|l1)", "cortex-m3", 0x0800_0000, 0x2000_0000),
    _Family(r"stm32(f3|f4|g4|l4|wb[135]|wl)", "cortex-m4", 0x0800_0000, 0x2000_0000),
    _Family(r"stm32f7", "cortex-m7", 0x0800_0000, 0x2000_0000),
    _Family(r"stm32h7", "cortex-m7", 0x0800_0000, 0x2400_0000),
    _Family(r"stm32(h5|l5|u3|u5|wba)", "cortex-m33", 0x0800_0000, 0x2000_0000),
    _Family(r"nrf51", "cortex-m0", 0, 0x2000_0000),
    _Family(r"nrf52", "cortex-m4", 0, 0x2000_0000),
    _Family(r"rp2040", "cortex-m0plus", 0x1000_0000, 0x2000_0000),
    _Family(r"rp235", "cortex-m33", 0x1000_0000, 0x2000_0000),
    _Family(r"(at)?samd[012]", "cortex-m0plus", 0, 0x2000_0000),
    _Family(r"(at)?sam[de]5", "cortex-m4", 0, 0x2000_0000),
    _Family(r"at91sam3x", "cortex-m3", 0x0008_0000, 0x2007_0000),
    _Family(r"imxrt10", "cortex-m7", 0x6000_0000, 0x2000_0000),
    _Family(r"mk20dx128", "cortex-m3", 0, 0x1FFF_E000),
    _Family(r"mk20dx256", "cortex-m3", 0, 0x1FFF_8000),
    _Family(r"mk6[46]fx", "cortex-m4", 0, 0x1FFF_0000),
    _Family(r"mkl26z64", "cortex-m0plus", 0, 0x1FFF_F800),
    _Family(r"(r7f)?ra?4m1", "cortex-m4", 0, 0x2000_0000),
    _Family(r"(r7f)?ra?6m[45]", "cortex-m33", 0, 0x2000_0000),
    _Family(r"gd32f[12]", "cortex-m3", 0x0800_0000, 0x2000_0000),
    _Family(r"gd32f[34]", "cortex-m4", 0x0800_0000, 0x2000_0000),
    _Family(r"gd32e50", "cortex-m33", 0x0800_0000, 0x2000_0000),
    _Family(r"esp32s2", "xtensa-lx7", 0x3F00_0000, 0x3FFB_0000),
    _Family(r"esp32s3", "xtensa-lx7", 0x3C00_0000, 0x3FC8_8000),
    _Family(r"esp32(c[56]|h2)", "rv32imc", 0x4200_0000, 0x4080_0000),
    _Family(r"esp32(c|h)", "rv32imc", 0x3C00_0000, 0x3FC8_0000),
    _Family(r"esp32(?![a-z])", "xtensa-lx6", 0x3F40_0000, 0x3FFB_0000),
    # RAM as ELF files have it, where the data's own addresses follow those of the flash.
    _Family(r"atmega(16[48]|32[48]|644)(a|p|pa|pb)?$|atmega(16|32)u4$", "avr-atmega328p", 0, 0x80_0100),
    _Family(r"atmega640$", "avr-atmega328p", 0, 0x80_0200),
    _Family(r"atmega1284p?$", "avr-atmega1284p", 0, 0x80_0100),
    _Family(r"atmega128[01]$", "avr-atmega1284p", 0, 0x80_0200),
    _Family(r"atmega256[01]$", "avr-atmega2560", 0, 0x80_0200),
)

# Protocols that send firmware over the board's serial port.
_SERIAL_PROTOCOLS = frozenset({"sam-ba", "esptool", "nrfutil", "arduino", "stk500v1", "stk500v2", "wiring"})
_CYCLE_COUNTERS = frozenset({"cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m85"})
_WITH_FPU = frozenset({"cortex-m4", "cortex-m7", "cortex-m33"})
# Of a Cortex-M4 that has none: it executes all that a Cortex-M3 does.
_NO_FPU = re.compile(r"nrf52(805|810|811|820)|mk20dx|(at)?sam4[lns]")
_AVR = "atmega"
_TEENSY_USB = ("16c0:0483", "16c0:0478")
"""Of its sketches, and of its boot loader: PlatformIO does not list them."""
_BY_HAND = "Write the file by hand: docs/boards.md."
_BAUD = 115_200
_LARGEST_STACK = 8_192
_LEAST_STACK = 1_024
_LEAST_SMALL_STACK = 256
"""Of a processor with 8 bits, whose frames are small, and whose RAM is, too."""


def board_text(identity: str, platform: str, facts: Mapping[str, Any], cores: frozenset[str]) -> str:
    """The TOML file of a board. `facts` is PlatformIO's JSON of the board, `platform` its platform, with version.

    `cores` are the names of those that there are. Raises BoardError for a board with another core, without the
    framework, or without its sizes.
    """
    name = " ".join(str(facts.get("name") or identity).split())
    frameworks = facts.get("frameworks")
    if not isinstance(frameworks, list) or FRAMEWORK not in frameworks:
        listed = ", ".join(map(str, frameworks)) if isinstance(frameworks, list) and frameworks else "none"
        raise BoardError(
            f"{identity} ({name}) has no framework {FRAMEWORK!r} in PlatformIO, but {listed}",
            f"tinygen's serial runner has a port to {FRAMEWORK!r} only. A model's library, out/lib/NAME, needs none.",
        )
    build, upload = _table(facts, "build"), _table(facts, "upload")
    mcu = str(build.get("mcu", "")).lower()
    family = next((each for each in _FAMILIES if re.match(each.pattern, mcu)), None)
    core = _core(identity, mcu, str(build.get("cpu", "")).lower(), family, cores)
    flash, ram = _size(identity, upload, "maximum_size"), _size(identity, upload, "maximum_ram_size")
    start = str(upload.get("offset_address") or upload.get("section_start") or "0")
    begin = (family.flash if family else 0, family.ram if family else 0x2000_0000)
    offset = int(start, 0) if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", start) else 0
    return emit.render(
        "project/board.toml.j2",
        name=name,
        identity=identity,
        platform=platform,
        core=core,
        clock_hz=_clock(identity, build),
        baud=_BAUD,
        stack_bytes=_stack(mcu, ram),
        regions=[
            Region(FLASH, offset if offset >= begin[0] else begin[0] + offset, flash, FLASH),
            Region(RAM, begin[1], ram),
        ],
        known_family=family is not None,
        with_fpu=core in _WITH_FPU,
        framework=FRAMEWORK,
        port=_port(mcu, core, build, upload),
    )


def _core(identity: str, mcu: str, cpu: str, family: _Family | None, cores: frozenset[str]) -> str:
    if cpu in cores:
        return "cortex-m3" if cpu == "cortex-m4" and _NO_FPU.match(mcu) else cpu
    if family is not None and not cpu:
        return family.core
    found = f"the core {cpu!r}" if cpu else f"the processor {mcu!r}"
    raise BoardError(
        f"{identity} has {found}, which tinygen knows nothing about",
        f"Cores are files in boards/cores: {', '.join(sorted(cores))}. Where one of them executes what this processor "
        "does, write the board's file by hand: docs/boards.md shows one.",
    )


def _stack(mcu: str, ram: int) -> int:
    least, part = (_LEAST_SMALL_STACK, 16) if mcu.startswith(_AVR) else (_LEAST_STACK, 8)
    return max(least, min(_LARGEST_STACK, ram // part))


def _port(mcu: str, core: str, build: Mapping[str, Any], upload: Mapping[str, Any]) -> Port:
    espressif, avr = mcu.startswith("esp32"), mcu.startswith(_AVR)
    protocol = str(upload.get("protocol", "esptool" if espressif else ""))
    teensy = str(build.get("core", "")).startswith("teensy")
    native = teensy or bool(upload.get("native_usb", upload.get("use_1200bps_touch")))
    adafruit = mcu.startswith("nrf52") and _table(build, "bsp").get("name") == "adafruit"
    return Port(
        ticks="esp" if espressif else "dwt" if core in _CYCLE_COUNTERS else "micros",
        header="Adafruit_TinyUSB.h" if adafruit else "",
        usb=tuple(dict.fromkeys(_devices(build.get("hwids")))) or (_TEENSY_USB if teensy else ()),
        native_usb=native,
        resets_on_open=(espressif or avr) and not native,
        uploads=not teensy and (native or protocol in _SERIAL_PROTOCOLS or bool(upload.get("require_upload_port"))),
    )


def _devices(hwids: object) -> list[str]:
    """ "2341:805a" for ["0x2341", "0x805A"]."""
    found = []
    for pair in hwids if isinstance(hwids, list) else ():
        if isinstance(pair, list) and len(pair) == 2 and all(re.fullmatch(r"0x[0-9a-fA-F]{1,4}", str(x)) for x in pair):
            found.append(":".join(f"{int(x, 16):04x}" for x in pair))
    return found


def _table(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, dict) else {}


def _size(identity: str, upload: Mapping[str, Any], key: str) -> int:
    value = upload.get(key)
    if not isinstance(value, int) or value <= 0:
        raise BoardError(f"PlatformIO does not say upload.{key} of {identity}", _BY_HAND)
    return value


def _clock(identity: str, build: Mapping[str, Any]) -> int:
    match = re.fullmatch(r"(\d+)U?L?", str(build.get("f_cpu", "")))
    if match is None or int(match.group(1)) == 0:
        raise BoardError(f"PlatformIO does not say build.f_cpu of {identity}", _BY_HAND)
    return int(match.group(1))
