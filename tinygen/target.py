"""Cores and boards: facts from TOML files, checked when they are read.

A board is one file, ``boards/<name>.toml``, or any TOML file of the user's; a core is ``boards/cores/<name>.toml``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tinygen.board_port import Port, read_port
from tinygen.costs import CLASSES
from tinygen.errors import BoardError
from tinygen.resources import resource
from tinygen.toml_table import Table, known

FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "divide": "SDIV, UDIV",
        "dual_issue": "two instructions in a cycle, in order: functions in assembly are arranged for it",
        "dsp": "SMLAD, SMMLA, SXTB16, PKHBT, USAT16 and the other packed 8/16-bit instructions",
        "flash_space": "flash with addresses of its own, which only instructions of their own read: GCC's __flash",
        "fpu": "floats in hardware",
        "fpu64": "doubles in hardware",
        "int16": "an int of 16 bits",
        "loose_floats": "floats by a library that does not promise IEEE 754's results; a double is a float",
        "loops": "low-overhead loops: DLS, WLS, LE, and with mve DLSTP, WLSTP, LETP",
        "mla": "MLA, MLS: a multiply that adds",
        "mve": "128-bit vectors of integers and floats",
        "rvv": "vectors of 8, 16 and 32-bit integers, of at least 128 bits: RISC-V's V, or Zve32x with Zvl128b",
        "saturate": "SSAT, USAT",
        "thumb1": "nothing but Armv6-M: 16-bit instructions, most of them for the low registers r0 to r7 alone",
        "thumb2": "32-bit instructions: any register, shifted operands, LDRD, IT blocks, bit fields, wide immediates",
        "umull": "UMULL, SMULL, UMLAL, SMLAL: products of 64 bits",
        "unaligned": "LDR, LDRH, STR, STRH at any address (never LDRD, LDM, STRD, STM)",
    }
)
"""What a core file may claim, and kernels may require."""

FLASH_SPACE, INT16, LOOSE_FLOATS, DUAL_ISSUE = "flash_space", "int16", "loose_floats", "dual_issue"
"""Features that decide what is written, whatever the kernels."""

ARM, RISCV, XTENSA, AVR = ARCHITECTURES = ("arm", "riscv", "xtensa", "avr")
"""Instruction sets. Kernels in assembly, and figures of executed instructions, are of certain ones."""

FLASH, RAM = "flash", "ram"
"""Kinds of regions, and the names of those that every board has."""

EMULATED, COMPILED, HARDWARE, NEVER = TRIED = ("emulated", "compiled", "hardware", "never")
"""What was done with a board's firmware: run in an emulator, compiled for its core, run on the board, or nothing."""

# The PlatformIO platform that ships with tinygen: boards on it run in an emulator and need no download.
EMULATED_PLATFORM = "tinygen_qemu"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_REGION = re.compile(r"[a-z][a-z0-9_]*")
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MACHINE = re.compile(rf"{_PROGRAM.pattern}(,[a-z0-9-]+={_PROGRAM.pattern})*")  # with properties
_ADDRESS_LIMIT = 2**32


@dataclass(frozen=True)
class CostTable:
    """What is taken for the cycles of a core's instructions, and how far that can be trusted."""

    source: str
    assumptions: tuple[str, ...]
    cycles: Mapping[str, float]  # by the classes of tinygen.costs; empty: nothing is known


@dataclass(frozen=True)
class Core:
    """A processor core: what the compiler is told, and what kernels may rely on."""

    name: str
    title: str
    architecture: str
    """One of ARCHITECTURES."""
    toolchain: str  # prefix of gcc, size and objcopy, e.g. "arm-none-eabi-"
    flags: tuple[str, ...]  # for compiler and linker
    libc: tuple[str, ...]  # the same, of firmware that brings its own C library: with a framework, that decides
    features: frozenset[str]
    cost: CostTable


HOST = Core(
    "host", "the machine that tinygen runs on", "", "", (), (), frozenset(), CostTable("", (), MappingProxyType({}))
)
"""Where generated C is compiled to be compared, or called from Python."""


@dataclass(frozen=True)
class Region:
    """A piece of a board's address space."""

    name: str
    address: int
    bytes: int
    kind: str = RAM
    """FLASH or RAM: whether programs can write to it."""
    wait_states: int = 0
    """Cycles that an access takes more than in the fastest region; 0 where nothing is known."""


@dataclass(frozen=True)
class Emulator:
    """How a board is emulated; the drivers are files of the PlatformIO platform."""

    program: str
    machine: str
    cpu: str
    """The machine's processor, where there is a choice, with what it has; empty: the machine's own."""
    icount_shift: int  # an instruction takes 2**icount_shift nanoseconds of the machine's time
    uart: str
    uart_address: int
    uart_irq: int
    ticks: str
    ticks_address: int  # 0 for a counter of the core's own


def counts_what_it_runs(program: str) -> bool:
    """Whether an emulator tells executed instructions, through a plugin, as QEMU does; the others count cycles."""
    return program.startswith("qemu-system-")


@dataclass(frozen=True)
class Board:
    """A board: its core, its memory, and how firmware gets onto it and answers from it."""

    name: str
    title: str
    core: str
    clock_hz: int
    regions: tuple[Region, ...]  # "flash" and "ram" always; code and constants, statics and stack go there
    platform: str  # PlatformIO's platform, with a version where it comes from the registry
    platformio_board: str
    framework: str | None
    upload_protocol: str
    """PlatformIO's name of how firmware gets onto the board; empty: as PlatformIO says for it."""
    emulator: Emulator | None
    port: Port | None
    """Of a board with a framework."""
    tried: str
    """One of TRIED."""
    baud: int
    stack_bytes: int  # reserved for the stack at the end of RAM
    notes: str

    @property
    def flash_bytes(self) -> int:
        """Size of the flash that holds code and constants."""
        return self._region("flash").bytes

    @property
    def ram_bytes(self) -> int:
        """Size of the RAM that holds static data and the stack."""
        return self._region("ram").bytes

    def _region(self, name: str) -> Region:
        return next(region for region in self.regions if region.name == name)


def list_boards() -> list[str]:
    """Names of the boards that ship with tinygen, sorted."""
    return _names(resource("boards"))


def list_cores() -> list[str]:
    """Names of the cores that ship with tinygen, sorted."""
    return _names(resource("boards", "cores"))


def load_board(name_or_path: str | Path) -> Board:
    """The board of that name, or described by that TOML file.

    Raises BoardError for a name that is not known, and for a file that does not make sense.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        path = Path(name_or_path)
        if not path.is_file():
            raise BoardError(f"there is no board file {path}", known("boards", list_boards(), text))
    else:
        path = _find("board", resource("boards"), text)
    return _board(Table.read(path, BoardError), path)


def load_core(name: str) -> Core:
    """The core of that name.

    Raises BoardError for a name that is not known, and for a file that does not make sense.
    """
    path = _find("core", resource("boards", "cores"), name)
    table = Table.read(path, BoardError)
    core = Core(
        name=path.stem,
        title=table.text("title"),
        architecture=table.choice("architecture", ARCHITECTURES),
        toolchain=table.text("toolchain"),
        flags=table.texts("flags"),
        libc=table.texts("libc"),
        features=frozenset(table.texts("features", FEATURES)),
        cost=_cost(table.table("cost")),
    )
    table.finish()
    return core


def _cost(table: Table) -> CostTable:
    cost = CostTable(
        source=table.text("source"),
        assumptions=table.texts("assumptions"),
        cycles=table.numbers("cycles", CLASSES),
    )
    table.finish()
    return cost


def _board(table: Table, path: Path) -> Board:
    if not _NAME.fullmatch(path.stem):
        raise BoardError(
            f"{path}: a board is named after its file, and {path.stem!r} cannot be a name",
            "Use lower-case letters, digits, '.', '_' and '-'.",
        )
    platformio = table.table("platformio")
    platform = platformio.text("platform")
    emulated = table.optional_table("emulator")
    if (emulated is not None) != (platform == EMULATED_PLATFORM):
        raise BoardError(
            f"{path}: platformio.platform = {platform!r} "
            + ("has an [emulator] table" if emulated else "has no [emulator] table"),
            f"Boards on the platform {EMULATED_PLATFORM!r} have one, and no others.",
        )
    framework = platformio.text("framework", optional=True) or None
    port = table.optional_table("port")
    regions = _regions(table.table("regions"))
    ram = next(region.bytes for region in regions if region.name == "ram")
    board = Board(
        name=path.stem,
        title=table.text("title"),
        core=table.choice("core", list_cores()),
        clock_hz=table.integer("clock_hz", 1, 10**10),
        regions=regions,
        platform=platform,
        platformio_board=platformio.text("board"),
        framework=framework,
        upload_protocol=platformio.text("upload_protocol", optional=True),
        emulator=None if emulated is None else _emulator(emulated),
        port=None if port is None else read_port(port, framework or ""),
        tried=EMULATED if emulated else table.choice("tried", (COMPILED, HARDWARE, NEVER), default=NEVER),
        baud=table.integer("baud", 1_200, 10_000_000),
        stack_bytes=table.integer("stack_bytes", 256, ram),
        notes=table.text("notes", optional=True),
    )
    platformio.finish()
    table.finish()
    return board


def _regions(table: Table) -> tuple[Region, ...]:
    regions = []
    for name in sorted({FLASH, RAM} | table.keys()):
        if not _REGION.fullmatch(name):
            raise table.unusable(name, "a region's name consists of lower-case letters, digits and '_'")
        region = table.table(name)
        address = region.integer("address", 0, _ADDRESS_LIMIT - 1)
        size = region.integer("bytes", 1, _ADDRESS_LIMIT - address)
        kind = name if name in (FLASH, RAM) else region.choice("kind", (FLASH, RAM))
        waits = region.integer("wait_states", 0, 10_000, default=0)
        regions.append(Region(name, address, size, kind, waits))
        region.finish()
    table.finish()
    return tuple(regions)


def _emulator(table: Table) -> Emulator:
    emulator = Emulator(
        program=table.text("program", pattern=_PROGRAM),
        machine=table.text("machine", pattern=_MACHINE),
        cpu=table.text("cpu", default="", pattern=_MACHINE),
        icount_shift=table.integer("icount_shift", 0, 10),
        uart=table.choice("uart", _drivers("uart")),
        uart_address=table.integer("uart_address", 0, _ADDRESS_LIMIT - 1),
        uart_irq=table.integer("uart_irq", 0, 239),
        ticks=table.choice("ticks", _drivers("ticks")),
        ticks_address=table.integer("ticks_address", 0, _ADDRESS_LIMIT - 1, default=0),
    )
    table.finish()
    return emulator


def _drivers(kind: str) -> list[str]:
    """Drivers of the emulated boards' platform: the file ``uart_cmsdk.c`` is the driver "cmsdk"."""
    folder = resource("firmware", "platforms", EMULATED_PLATFORM, "core")
    return sorted(path.stem.removeprefix(f"{kind}_") for path in folder.glob(f"{kind}_*.c"))


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def _find(kind: str, folder: Path, name: str) -> Path:
    names = _names(folder)
    if name not in names:
        raise BoardError(f"unknown {kind} {name!r}", known(f"{kind}s", names, name))
    return folder / f"{name}.toml"
