"""What a linked firmware consists of: sections and symbols of a 32-bit little-endian ELF file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
_NO_BITS, _SYMBOL_TABLE = 8, 2
_WRITABLE, _OCCUPIES = 1, 2
_KINDS = {1: "object", 2: "function"}


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

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

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
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x01\x01":
        raise ValueError("not a 32-bit little-endian ELF file")
    try:
        return _image(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a damaged ELF file: {error}") from None


def _image(data: bytes) -> Image:
    (offset,) = struct.unpack_from("<I", data, 0x20)
    size, count, names = struct.unpack_from("<HHH", data, 0x2E)
    headers = [_SECTION.unpack_from(data, offset + index * size) for index in range(count)]
    name_table = headers[names][4]
    sections = []
    symbols: list[Symbol] = []
    for name, kind, flags, address, start, length, link, *_ in headers:
        occupies = bool(flags & _OCCUPIES)
        sections.append(
            Section(
                name=_text(data, name_table + name),
                address=address,
                bytes=length,
                in_flash=occupies and kind != _NO_BITS,
                in_ram=occupies and bool(flags & _WRITABLE),
            )
        )
        if kind == _SYMBOL_TABLE:
            symbols += _symbols(data, start, length, headers[link][4])
    return Image(tuple(sections), tuple(symbols))


def _symbols(data: bytes, start: int, length: int, names: int) -> list[Symbol]:
    found = []
    for at in range(start, start + length, _SYMBOL.size):
        name, value, size, info, _, _ = _SYMBOL.unpack_from(data, at)
        kind = _KINDS.get(info & 15, "")
        text = _text(data, names + name)
        # "$t" and "$d" mark where code and data begin.
        if text and not text.startswith("$") and info & 15 <= 2:
            found.append(Symbol(text, value & ~1 if kind == "function" else value, size, kind))
    return found


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(0, at)].decode("utf-8", errors="replace")
