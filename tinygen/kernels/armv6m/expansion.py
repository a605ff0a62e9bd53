"""Weights that are a byte each in flash, and pairs of filters in RAM while they are used: for some filters at a time.

The filters come in blocks. The weights of a block are expanded in the scratch memory to the stream that `pairs`
describes; then all windows are computed for these filters, so that each window is gathered once for every block. Blocks
are equally large: where filters do not suffice, some are computed twice. The stream in flash:

    for each block
        for each four filters
            for each slot, a word of bytes (see `pairs`)
            the requantisation's constants of each (see `finishing`), M0 and M1 in one word if they have room there
            bytes from where their results begin to those of the next four, after the last ones of the next window
        bytes from where a block's results begin to those of the next
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array
from tinygen.kernels import streams
from tinygen.kernels.armv6m import pairs
from tinygen.kernels.armv6m.grouping import Groups
from tinygen.kernels.armv6m.pairs import TOGETHER
from tinygen.proofs.short_product import ShortProduct


@dataclass(frozen=True)
class Expansion:
    """How many filters are expanded at a time, and what they take."""

    filters: int
    slots: int
    constants: int
    """Words of a filter's requantisation."""
    short: bool
    """Whether the last two of them, M1 and M0, are one word in flash."""
    room: int
    """Bytes that a block may have in RAM, unless four filters alone take more."""

    @property
    def four_bytes(self) -> int:
        """Of four filters in RAM."""
        return 8 * self.slots + 4 * (TOGETHER * self.constants + 1)

    @property
    def blocks(self) -> int:
        """Of filters."""
        return -(-self._fours // max(self.room // self.four_bytes, 1))

    @property
    def fours(self) -> int:
        """Of a block."""
        return -(-self._fours // self.blocks)

    @property
    def bytes(self) -> int:
        """Of a block in RAM."""
        return self.fours * self.four_bytes

    @property
    def at_once(self) -> int:
        """Slots that are expanded in a turn of the loop."""
        return 2 - self.slots % 2

    @property
    def turns(self) -> int:
        """Of this loop, for four filters."""
        return self.slots // self.at_once

    def stream(self, groups: Groups, weights: Array, form: ShortProduct, bias: IntArray) -> npt.NDArray[np.uint32]:
        """In flash, for weights (filters, values)."""
        count = self.blocks * self.fours
        firsts = [max(self.filters - TOGETHER * (count - index), 0) for index in range(count)]
        parts: list[npt.NDArray[np.uint32]] = []
        for begin, following in pairwise([*range(0, count, self.fours), count]):
            block = firsts[begin:following]
            for first, after in pairwise([*block, block[0] + self.filters]):
                parts += pairs.four(groups, weights, form, bias, first, in_bytes=True, short=self.short)
                parts.append(streams.words(np.array([after - first])))
            parts.append(streams.words(np.array([firsts[following % count] - block[0]])))
        return np.concatenate(parts)

    @property
    def _fours(self) -> int:
        return -(-self.filters // TOGETHER)
