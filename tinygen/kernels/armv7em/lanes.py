"""Groups of four values of each lane, from any address or the zero point, to the words that `dot` wants."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.kernels.armv7em.packing import SCALE

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
    """Whether for packed weights; else the words are values 0 and 2, then 1 and 3, times the scale."""
    wide: bool = False
    """Whether for wide weights: the words are values 1 and 3, then 0 and 2."""
    scale: int = SCALE
    """Of the sums: SCALE or one of DEEP_SCALES."""

    @property
    def words(self) -> tuple[tuple[str, str], ...]:
        """First and second word of each lane."""
        return tuple(zip(self.first, self.second, strict=True))

    @property
    def shift(self) -> int:
        """Bits by which int16 are shifted to be times one of DEEP_SCALES; else 0."""
        return 0 if self.scale == SCALE else self.scale.bit_length() - 1

    @property
    def mask(self) -> int:
        """Of halfwords: what x0 is subtracted from by EOR, or the bits of values times the scale."""
        return 0x007F007F if self.packed else (0x10000 - self.scale) * 0x10001

    @staticmethod
    def of(count: int, packed: bool, wide: bool = False, scale: int = SCALE) -> Lanes:
        """One to four lanes."""
        return Lanes(("r0", "r1", "r2", "lr")[:count], EIGHT[:count], EIGHT[count : 2 * count], packed, wide, scale)


@dataclass(frozen=True)
class Zero:
    """What stands for taps outside the image: the input's zero point."""

    bytes: int
    """Four values."""
    first: int
    """Expanded."""
    second: int

    @staticmethod
    def of(zero_point: int, packed: bool, scale: int = SCALE) -> Zero:
        """For int8."""
        first = zero_point if packed else scale * zero_point
        second = 256 * zero_point + 127 - zero_point if packed else scale * zero_point
        return Zero((zero_point & 0xFF) * 0x01010101, *((half & 0xFFFF) * 0x00010001 for half in (first, second)))
