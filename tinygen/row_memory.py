"""The memory of a group of rows: where line buffers and kernels' own memory lie, and how far under the group's output.

The output's last rows may lie upon what is not needed any more when they are written, as lines of the first layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.access import Order, Spacing, spacing
from tinygen.memory import Buffer, plan_memory


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


def group_memory(buffers: Sequence[Buffer], uses: Sequence[Use], effort: int) -> GroupMemory:
    """The plan of buffers whose time counts in stages, and what the events say of the output.

    `effort`: as `tinygen.packing.pack` has it.
    """
    plan = plan_memory(buffers, effort=effort)
    offsets = {slot.buffer.name: slot.offset for slot in plan.slots}
    ends = {slot.buffer.name: slot.end for slot in plan.slots}
    used = np.array(
        [
            (min(offsets[name] for name in use.names), max(ends[name] for name in use.names)) if use.names else (0, 0)
            for use in uses
        ]
    )
    written = np.array([use.written for use in uses])
    order = Order(used[:, 0], used[:, 1], written[:, 0], written[:, 1], buffered=False)
    return GroupMemory(plan.bytes, offsets, spacing(order))
