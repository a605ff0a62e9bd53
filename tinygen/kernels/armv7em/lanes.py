"""Groups of four values of each lane, from any address or the zero point, to the words that `dot` wants."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.kernels.armv7em.expansion import MASK


@dataclass(frozen=True)
class Lanes:
    """Registers in which a group is expanded; r3 is where the words go, r12 holds the mask, if there is one."""

    pointers: tuple[str, ...]
    """Of each lane, into the bytes."""
    first: tuple[str, ...]
    """First words of the lanes."""
    second: tuple[str, ...]
    """Second words; at first the bytes themselves."""
    packed: bool
    """Whether for packed weights; else the words are values 0 and 2, then 1 and 3, as they are."""

    @property
    def words(self) -> tuple[tuple[str, str], ...]:
        """First and second word of each lane."""
        return tuple(zip(self.first, self.second, strict=True))

    @property
    def mask(self) -> int | None:
        """What r12 holds."""
        return MASK if self.packed else None

    @staticmethod
    def of(count: int, packed: bool) -> Lanes:
        """One to four lanes."""
        names = [f"r{index}" for index in range(4, 4 + 2 * count)]
        return Lanes(("r0", "r1", "r2", "lr")[:count], tuple(names[:count]), tuple(names[count:]), packed)


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
        first = zero_point
        second = 256 * zero_point + 127 - zero_point if packed else zero_point
        return Zero((zero_point & 0xFF) * 0x01010101, *((half & 0xFFFF) * 0x00010001 for half in (first, second)))
