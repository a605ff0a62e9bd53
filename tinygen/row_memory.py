"""The memory of a group of rows: where line buffers and kernels' own memory lie, and how far under the group's output.

What is needed for the last time early, as the lines of the first layers, lies lowest: the output's last rows, which are
written late, may lie upon it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.access import Order, Spacing, spacing
from tinygen.memory import Buffer, aligned, plan_memory


@dataclass(frozen=True)
class Use:
    """What an event uses: memory by its names, and the bytes of the output that it writes, from and to."""

    names: tuple[str, ...]
    written: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class GroupMemory:
    """A plan of the memory."""

    bytes: int
    offsets: Mapping[str, int]
    overlap: Spacing
    """How it may overlap the output, as if it were an input."""

    @property
    def extent(self) -> int:
        """Bytes from the output's beginning to the memory's end."""
        return self.bytes + max(self.overlap.input_above, 0)


def group_memory(buffers: Sequence[Buffer], uses: Sequence[Use]) -> GroupMemory:
    """The plan that needs least together with the output; the buffers' time counts in stages."""
    plan = plan_memory(buffers)
    smallest = _found({slot.buffer.name: slot.offset for slot in plan.slots}, buffers, uses)
    last = {name: at for at, use in enumerate(uses) for name in use.names}
    stacked: dict[str, int] = {}
    for buffer in sorted(buffers, key=lambda buffer: (last.get(buffer.name, -1), -buffer.bytes, buffer.name)):
        stacked[buffer.name] = _lowest(
            buffer, [(other, stacked[other.name]) for other in buffers if other.name in stacked]
        )
    return min(smallest, _found(stacked, buffers, uses), key=lambda found: found.extent)


def _lowest(buffer: Buffer, others: Sequence[tuple[Buffer, int]]) -> int:
    """The first place beside those that are there at the same time."""
    offset = 0
    for other, start in sorted(others, key=lambda placed: placed[1]):
        together = other.first <= buffer.last and buffer.first <= other.last
        if together and start < offset + buffer.bytes and offset < start + other.bytes:
            offset = aligned(start + other.bytes)
    return offset


def _found(offsets: Mapping[str, int], buffers: Sequence[Buffer], uses: Sequence[Use]) -> GroupMemory:
    ends = {buffer.name: offsets[buffer.name] + buffer.bytes for buffer in buffers}
    used = np.array(
        [
            [min((offsets[n] for n in use.names), default=0), max((ends[n] for n in use.names), default=0)]
            for use in uses
        ]
    )
    written = np.array([use.written for use in uses])
    order = Order(used[:, 0], used[:, 1], written[:, 0], written[:, 1], buffered=False)
    return GroupMemory(aligned(max(ends.values(), default=0)), offsets, spacing(order))
