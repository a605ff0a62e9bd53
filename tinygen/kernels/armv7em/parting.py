"""Interleaved channels, taken apart: two rows become words of each channel, row 2q below and row 2q + 1 above."""

from __future__ import annotations

from dataclasses import dataclass

_FARTHEST = 4095
"""The greatest offset of LDR, LDRSB and STR."""
_FARTHEST_AFTER = 255
"""The greatest number of bytes by which a load moves its pointer on."""
_STRAIGHT = 6
"""Columns that are taken apart without a loop."""


@dataclass(frozen=True)
class Groups:
    """Channels, up to four at a time.

    Where they do not come out even, the first group computes fewer of those that it takes: what the next one takes
    again is still there, even if outputs are written to its place.
    """

    channels: int
    channel_step: int
    """Bytes from a channel's words to the next channel's."""
    most: int = 4
    """Channels at a time."""

    @property
    def group(self) -> int:
        """Channels of a group."""
        return min(self.most, self.channels)

    @property
    def groups(self) -> int:
        """How many."""
        return -(-self.channels // self.group)

    @property
    def first(self) -> int:
        """Channels that the first group computes."""
        return self.channels - self.group * (self.groups - 1)


@dataclass(frozen=True)
class Parting:
    """How the columns of two rows are taken apart: `times` a run of `columns` in a loop, then the `rest`."""

    width: int
    groups: Groups
    column_step: int
    """Bytes from a word to that of the next column."""
    columns: int
    times: int
    rest: int

    @staticmethod
    def of(width: int, groups: Groups, column_step: int) -> Parting:
        """Few columns at once; of several numbers of them, the one that leaves the least rest."""
        most = max(1, min(_STRAIGHT, _FARTHEST // groups.channels))
        if width <= most:
            return Parting(width, groups, column_step, 0, 0, width)
        columns = min(range(most, most // 2, -1), key=lambda number: width % number)
        return Parting(width, groups, column_step, columns, width // columns, width % columns)

    @property
    def row_bytes(self) -> int:
        """Of the interleaved channels."""
        return self.width * self.groups.channels

    @property
    def walks(self) -> bool:
        """Whether each load moves its pointer on: in a loop, that saves moving it at its end."""
        return self.times > 0 and self.groups.group == 4 and self.groups.channels <= _FARTHEST_AFTER

    @property
    def walked(self) -> int:
        """Bytes by which the pointers have moved on at the end of a row."""
        return self.row_bytes if self.walks else self.times * self.columns * self.groups.channels

    @property
    def encodable(self) -> bool:
        """Whether the offsets fit into the instructions."""
        columns = max(self.columns, self.rest)
        stored = (self.groups.group - 1) * self.groups.channel_step + (columns - 1) * self.column_step
        return max(stored, columns * self.groups.channels) <= _FARTHEST
