"""Where the linker put a library: from its map file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tinygen.errors import OutputError

# " .text.name  0x1000  0x20 path", or the name on a line of its own when it is long.
_PIECE = re.compile(r"^ (\.\S+|COMMON)?\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$")
_NAME_ALONE = re.compile(r"^ (\.\S+)$")
_NOT_LOADED = (".debug", ".comment", ".ARM.attributes")


@dataclass(frozen=True)
class Piece:
    """A section of one object file in the linked firmware."""

    address: int
    bytes: int

    def __contains__(self, address: int) -> bool:
        return self.address <= address < self.address + self.bytes


def library_pieces(path: Path, library: str) -> tuple[Piece, ...]:
    """The pieces that come from lib<library>.a, by address; what was dropped is not among them. Raises OutputError."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise OutputError(
            f"cannot read the linker's map {path}: {error.strerror}", "Build the firmware again."
        ) from None
    _, _, placed = text.partition("Linker script and memory map")
    pieces = []
    name = ""
    for line in placed.splitlines():
        alone = _NAME_ALONE.match(line)
        match = _PIECE.match(line)
        name = alone.group(1) if alone else match.group(1) or name if match else ""
        if match is None or f"lib{library}.a(" not in match.group(4) or name.startswith(_NOT_LOADED):
            continue
        address, size = int(match.group(2), 16), int(match.group(3), 16)
        pieces += [Piece(address, size)] if size else []
    return tuple(sorted(pieces, key=lambda piece: piece.address))
