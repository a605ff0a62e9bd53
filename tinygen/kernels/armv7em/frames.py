"""The stack frames of kernels that compute all filters over blocks of windows: words, as offsets from sp."""

from __future__ import annotations

from dataclasses import dataclass

TABLE = 48
"""Offset from sp of the table of runs, behind all words that a kernel may have."""


@dataclass(frozen=True)
class Frame:
    """What all of them have; further words lie between these and the table, or behind it."""

    addresses: int
    """In the table."""
    out: int = 0
    """Where the next result of the first lane goes."""
    end: int = 4
    """Where that of the first filter after all pairs will go."""
    data: int = 8
    """The stream."""
    limit: int = 12
    """Where the expansion of bytes ends, or a copy."""
    inner: int = 16
    """Where that of a part of them ends."""
    x: int = 20
    """A row of the image; may lie above it."""
    row: int = 24
    """Its number; negative above the image."""

    @property
    def table(self) -> tuple[int, ...]:
        """Where runs begin."""
        return tuple(range(TABLE, TABLE + 4 * self.addresses, 4))


@dataclass(frozen=True)
class RingFrame(Frame):
    """The image's row is the next one that enters the ring."""

    wanted: int = 28
    """Number of the row after the window's last one."""
    rows: int = 32
    """Rows of results to come."""
    positions: int = 36
    """Pixels of each lane to come."""

    span: int = 1
    """Rows of the ring."""

    @property
    def slots(self) -> tuple[int, ...]:
        """Their addresses, the oldest first."""
        first = self.table[-1] + 4
        return tuple(range(first, first + 4 * self.span, 4))

    @property
    def bytes(self) -> int:
        """All words."""
        return self.slots[-1] + 4


@dataclass(frozen=True)
class PatchesFrame(Frame):
    """The image's row is the next one to be copied; without copies the first under the next results."""

    band: int = 28
    """The band."""
    bands: int = 32
    """Rows, or groups of rows, of results to come."""
    left: int = 36
    """Blocks of the band to come."""
    base: int = 40
    """The first window of the block, or the table's next entry."""
    copies: int = 44
    """Rows to be copied into the band."""
    entries: int = TABLE + 4
    """The table of blocks."""

    @property
    def bytes(self) -> int:
        """All words."""
        return self.entries + 4


@dataclass(frozen=True)
class BorderFrame(Frame):
    """The image's row is the first one under the results."""

    rows: int = 28
    """Rows of results to come."""
    left: int = 32
    """Blocks of the row to come."""
    base: int = 36
    """The first window of the next block."""

    @property
    def bytes(self) -> int:
        """All words."""
        return self.table[-1] + 4
