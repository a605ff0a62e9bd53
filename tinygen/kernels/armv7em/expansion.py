"""Activations, one or several lanes at a time, into the two words for each group of four that `packing` asks for.

A lane is a run of bytes at any address. Its last group ends with it: where the length is no multiple of four, the
group begins with values that the group before has, too, and the weights there are zero. So no byte is read twice the
wrong way, and none beyond the lane.

Registers: r0, r1, ... walk through the lanes; r3 through the words that are written; r4 to r11 hold the words of a
group, or of several, in the order of memory; r12 is the mask, and lr the end of the first lane's last turn.
`templates/armv7em/dot.j2` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.access import Order
from tinygen.kernels.armv7em.packing import SCALE

_VALUES = 8
_TURN = 4
"""Groups, of all lanes, that a loop's turn takes at least."""


class Lane(NamedTuple):
    """Registers for four values of a lane."""

    pointer: str
    first: str
    second: str
    """Also what the values are loaded into."""


class Store(NamedTuple):
    """Groups that are expanded together and stored by one instruction."""

    groups: tuple[tuple[Lane, ...], ...]
    load: str
    """"next" four bytes, "last" four, or a whole lane of 1, 2 or 3 bytes: "1", "2", "3"."""

    @property
    def registers(self) -> tuple[str, ...]:
        """In the order of memory."""
        return tuple(
            register
            for lanes in self.groups
            for register in (*(lane.first for lane in lanes), *(lane.second for lane in lanes))
        )


@dataclass(frozen=True)
class Expansion:
    """How so many lanes of `depth` bytes are expanded."""

    lanes: int
    depth: int
    packed: bool
    """Whether for packed weights; else the words are values 0 and 2, then 1 and 3, times the scale."""
    scale: int = SCALE
    """Of the sums: SCALE or one of DEEP_SCALES."""

    @property
    def shift(self) -> int:
        """Bits by which int16 are shifted to be times one of DEEP_SCALES; else 0."""
        return 0 if self.scale == SCALE else self.scale.bit_length() - 1

    @property
    def mask(self) -> int:
        """Of halfwords: what x0 is subtracted from by EOR, or the bits of values times the scale."""
        return 0x007F007F if self.packed else (0x10000 - self.scale) * 0x10001

    @property
    def groups(self) -> int:
        """Groups of four of a lane."""
        return -(-self.depth // 4)

    @property
    def turns(self) -> int:
        """Of the loop; none if there is no loop."""
        return 0 if self.depth // 4 <= 2 * _TURN else self.depth // 4 // _TURN

    @property
    def turn_bytes(self) -> int:
        """Of a lane that the loop expands in all turns."""
        return self.turns * _TURN * 4

    @property
    def turn(self) -> tuple[Store, ...]:
        """What a turn of the loop expands."""
        return self._stores(_TURN)

    @property
    def rest(self) -> tuple[Store, ...]:
        """What is left after the loop."""
        whole = self._stores(self.depth // 4 - self.turns * _TURN)
        if self.depth % 4 == 0:
            return whole
        return (*whole, self._store(1, "last" if self.depth > 4 else str(self.depth)))

    @property
    def order(self) -> Order:
        """What is read of lanes that follow one after the other, and which words are written, by each store."""
        stores = (*self.turn * self.turns, *self.rest)
        ends = np.array([len(store.groups) for store in stores], np.int64).cumsum()
        first = np.append(0, ends[:-1])
        at_end = np.array([store.load == "last" for store in stores])
        beyond = (self.lanes - 1) * self.depth
        return Order(
            np.where(at_end, self.depth - 4, 4 * first),
            beyond + np.minimum(4 * ends, self.depth),
            8 * self.lanes * first,
            8 * self.lanes * ends,
        )

    @property
    def left(self) -> int:
        """Bytes from where a lane's pointer ends up to the lane's end."""
        return self.depth % 4

    def _stores(self, groups: int) -> tuple[Store, ...]:
        most = _VALUES // (2 * self.lanes)
        counts = [most] * (groups // most) + ([groups % most] if groups % most else [])
        return tuple(self._store(count, "next") for count in counts)

    def _store(self, groups: int, load: str) -> Store:
        def lane(group: int, index: int) -> Lane:
            base = 4 + 2 * self.lanes * group + index
            return Lane(f"r{index}", f"r{base}", f"r{base + self.lanes}")

        return Store(tuple(tuple(lane(group, index) for index in range(self.lanes)) for group in range(groups)), load)
