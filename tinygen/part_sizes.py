"""What a part of a library takes that is not the model: of RAM, of tables, and about of code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PartSizes:
    """Bytes, by what they are for."""

    ram: Mapping[str, int]
    """Static memory."""
    tables: Mapping[str, int]
    """Constants."""
    code_bytes: int
    """About what compilers make of it at most."""

    @property
    def ram_bytes(self) -> int:
        """All static memory."""
        return sum(self.ram.values())

    @property
    def const_bytes(self) -> int:
        """All tables."""
        return sum(self.tables.values())

    @property
    def flash_bytes(self) -> int:
        """Tables and code."""
        return self.const_bytes + self.code_bytes

    def __add__(self, other: PartSizes) -> PartSizes:
        """Both; their names differ."""
        return PartSizes({**self.ram, **other.ram}, {**self.tables, **other.tables}, self.code_bytes + other.code_bytes)


NOTHING = PartSizes({}, {}, 0)
