"""Groups of four values of each lane, from any address or the zero point, to the words that `dot` wants."""

from __future__ import annotations

from dataclasses import dataclass

EIGHT = tuple(f"r{register}" for register in range(4, 12))
"""Registers of which words are copied or filled, where no lanes are in them."""


@dataclass(frozen=True)
class Lanes:
    """Registers in which a group is expanded; r3 is where the words go, r12 holds the mask."""

    pointers: tuple[str, ...]
    """Of each lane, into the bytes."""
    first: tuple[str, ...]
    """First words of the lanes."""
    second: tuple[str, ...]
    """Second words; at first the bytes themselves."""
    packed: bool
    """Whether for packed weights; else the words are 256 times values 0 and 2, then 1 and 3."""
    wide: bool = False
    """Whether for wide weights: the words are values 1 and 3, then 0 and 2, which takes no mask."""

    @property
    def words(self) -> tuple[tuple[str, str], ...]:
        """First and second word of each lane."""
        return tuple(zip(self.first, self.second, strict=True))

    @property
    def mask(self) -> int:
        """Of halfwords: what x0 is subtracted from by EOR, or the upper byte."""
        return 0x007F007F if self.packed else 0xFF00FF00

    @staticmethod
    def of(count: int, packed: bool, wide: bool = False) -> Lanes:
        """One to four lanes."""
        return Lanes(("r0", "r1", "r2", "lr")[:count], EIGHT[:count], EIGHT[count : 2 * count], packed, wide)


@dataclass(frozen=True)
class Zero:
    """What stands for taps outside the image: the input's zero point."""

    bytes: int
    """Four values."""
    first: int
    """Expanded."""
    second: int

    @staticmethod
    def of(zero_point: int, packed: bool) -> Zero:
        """For int8."""
        first = zero_point if packed else 256 * zero_point
        second = 256 * zero_point + 127 - zero_point if packed else 256 * zero_point
        return Zero((zero_point & 0xFF) * 0x01010101, *((half & 0xFFFF) * 0x00010001 for half in (first, second)))
