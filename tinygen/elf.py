"""What a linked firmware consists of: sections and symbols of a 32-bit little-endian ELF file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section as ELFSection
from elftools.elf.sections import Symbol as ELFSymbol
from elftools.elf.sections import SymbolTableSection

from tinygen.target import ARM, AVR, RISCV, XTENSA

_ARCHITECTURES = {"EM_ARM": ARM, "EM_RISCV": RISCV, "EM_XTENSA": XTENSA, "EM_AVR": AVR}
_KINDS = {"STT_NOTYPE": "", "STT_OBJECT": "object", "STT_FUNC": "function"}


@dataclass(frozen=True)
class Section:
    """A part of the file; sizes and addresses in bytes."""

    name: str
    address: int
    bytes: int
    in_flash: bool  # occupies flash: code, constants, initial values
    in_ram: bool  # occupies RAM while the firmware runs


@dataclass(frozen=True)
class Symbol:
    """A named function or object; a function's address is that of its first instruction, without the Thumb bit."""

    name: str
    address: int
    bytes: int
    kind: str  # "function", "object", or "" for labels, as linker scripts define them


@dataclass(frozen=True)
class Image:
    """The content of an ELF file."""

    architecture: str
    """Of tinygen.target.ARCHITECTURES; empty for others."""
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    flags: int = 0
    """Of the file's header: what they say depends on the architecture."""

    @cached_property
    def _by_name(self) -> dict[str, Symbol]:
        return {symbol.name: symbol for symbol in self.symbols}

    def symbol(self, name: str) -> Symbol:
        """The symbol of that name, the last where there are several. Raises ValueError when there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ValueError(f"no symbol {name}") from None

    @property
    def flash_bytes(self) -> int:
        """What the sections occupy in flash."""
        return sum(section.bytes for section in self.sections if section.in_flash)

    @property
    def ram_bytes(self) -> int:
        """What the sections occupy in RAM; the stack is not in it."""
        return sum(section.bytes for section in self.sections if section.in_ram)


def read(path: Path) -> Image:
    """Read an ELF file. Raises OSError, and ValueError for what is not one."""
    with path.open("rb") as stream:
        try:
            file = ELFFile(stream)
            if file.elfclass != 32 or not file.little_endian:
                raise ValueError("not a 32-bit little-endian ELF file")
            sections = tuple(_section(section) for section in file.iter_sections())
            tables = (table for table in file.iter_sections() if isinstance(table, SymbolTableSection))
            symbols = (_symbol(symbol) for table in tables for symbol in table.iter_symbols() if _is_named(symbol))
            return Image(_ARCHITECTURES.get(file["e_machine"], ""), sections, tuple(symbols), file["e_flags"])
        except ELFError as error:
            raise ValueError(f"not an ELF file, or a damaged one: {error}") from None


def _section(section: ELFSection) -> Section:
    flags = section["sh_flags"]
    occupies = bool(flags & SH_FLAGS.SHF_ALLOC)
    return Section(
        name=section.name,
        address=section["sh_addr"],
        bytes=section["sh_size"],
        in_flash=occupies and section["sh_type"] != "SHT_NOBITS",
        in_ram=occupies and bool(flags & SH_FLAGS.SHF_WRITE),
    )


def _is_named(symbol: ELFSymbol) -> bool:
    # "$t" and "$d" mark where code and data begin.
    return symbol["st_info"]["type"] in _KINDS and bool(symbol.name) and not symbol.name.startswith("$")


def _symbol(symbol: ELFSymbol) -> Symbol:
    kind = _KINDS[symbol["st_info"]["type"]]
    address = symbol["st_value"]
    return Symbol(symbol.name, address & ~1 if kind == "function" else address, symbol["st_size"], kind)
