"""Clamping four int8 at a time by saturating unsigned numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Saturation:
    """clip(v, low, high) = ((usat(v - low, bits) +saturating room) + lowest) mod 256, with saturation to a byte.

    Where the clamp leaves a power of two of values, saturation to that many bits is enough.
    """

    bits: int
    room: int
    lowest: int

    @staticmethod
    def of(low: int, high: int) -> Saturation:
        """For a clamp within int8."""
        values = high - low + 1
        bits = values.bit_length() - 1
        if values == 1 << bits:
            return Saturation(bits, 0, low & 255)
        return Saturation(8, 256 - values, high + 1 & 255)


def in_each_byte(value: int) -> int:
    """A byte, four times in a word."""
    return value * 0x01010101
